// TLS for tls:// endpoints: the profile, and the handshake of a fresh connection. In builds without
// TLS no_tls.cpp stands for this file.
#include <utility>

#include <conpool/pool/detail/dialer.h>
#include <conpool/tls/detail/resumption.h>
#include <conpool/tls/handshake.h>
#include <conpool/tls/profile.h>

namespace conpool {
namespace {

// The endpoint's, or what one means that says nothing more.
result<tls::profile_ptr> profile_of(const endpoint& of) {
  if (of.profile() != nullptr) return of.profile();
  tls::profile_options options;
  options.verify_name = of.host().substr(0, of.host().find('%'));  // a zone is of this machine
  return tls::profile::make(std::move(options));
}

// Whether the system's roots, which an endpoint without a profile means, were reloaded since.
bool is_outdated(const tls::profile& last, const endpoint& of) noexcept {
  return of.profile() == nullptr &&
         last.options().trust->generation() != tls::trust_store::system_generation();
}

}  // namespace

const tls::connection_info* connection::tls() const noexcept {
  return tls::of(*this);
}

bool dialer::supports(const endpoint&) noexcept {
  return true;
}

void endpoint_facts::count_handshake(const pooled_connection& secured) noexcept {
  ++counts.handshakes;
  if (secured.tls()->resumed()) ++counts.resumed;
  if (secured.tls()->insecure()) ++counts.insecure;
}

// Within what is left of connection_timeout.
task<result<void>> dialer::shake_hands(pooled_connection& fresh, time_point deadline,
                                       tls::resumption& earlier) {
  if (profile_ == nullptr || is_outdated(*profile_, facts_->peer)) {
    auto now = profile_of(facts_->peer);
    if (!now) {
      const error& why = now.error();
      co_return fail(error(why.kind(), phase::handshake, why.system_errno())
                         .about(facts_->peer.text())
                         .with_detail(why.detail()));
    }
    profile_ = std::move(*now);
  }
  // Of its own: a reload may replace the endpoint's meanwhile.
  const tls::profile_ptr as = profile_;
  auto work = tls::connect(fresh, as, deadline, earlier);
  auto done = co_await work;
  if ((fresh.conditions() & stream::closing) != 0) {
    co_return fail(error(errc::shard_stopped, phase::handshake).about(facts_->peer.text()));
  }
  if (!done) co_return fail(std::move(done.error()));
  facts_->count_handshake(fresh);
  // What came right behind the handshake may be tickets, or a greeting for the first lease.
  const bool came = (fresh.conditions() & stream::has_data) != 0;
  const idle_input verdict = came ? fresh.take_idle_input(true) : idle_input::nothing;
  if (verdict == idle_input::nothing || verdict == idle_input::data) co_return done;
  co_return fail(error(errc::connect_failed, phase::handshake)
                     .about(facts_->peer.text())
                     .with_detail("the server ended it right behind the handshake"));
}

}  // namespace conpool

// TLS on a connection that began in the clear. In builds without TLS no_tls.cpp stands for this
// file.
#include <cerrno>
#include <optional>
#include <utility>

#include <conpool/pool/connection.h>
#include <conpool/pool/detail/endpoint_pool.h>
#include <conpool/tls/handshake.h>
#include <conpool/tls/profile.h>

namespace conpool {
namespace {

// Why it cannot begin; nothing has been sent.
std::optional<error> refusal(const connection& clear, bool has_name) {
  const std::uint32_t what = clear.conditions();
  const auto refuse = [&clear](errc why, const char* detail) {
    return error(why, phase::handshake).about(clear.peer().text()).with_detail(detail);
  };
  if ((what & stream::closing) != 0 || clear.closed()) {
    return error(errc::connection_closed, phase::handshake).about(clear.peer().text());
  }
  if (clear.has_codec()) return refuse(errc::invalid_argument, "it has TLS already");
  if ((what & (stream::reading | stream::writing)) != 0) {
    return refuse(errc::invalid_argument, "a read or write is under way");
  }
  if (clear.leases() > 1) return refuse(errc::invalid_argument, "it has other leases");
  if (!has_name) {
    return refuse(errc::invalid_argument,
                  "a Unix socket has no name to verify; give a profile that says what to verify");
  }
  return std::nullopt;
}

// A server does not speak before TLS has begun. What came behind its answer and is kept until after
// the handshake would be taken for something it said in secret (CVE-2011-0411).
std::optional<error> bytes_behind(const connection& clear) {
  ring& kernel = clear.home().ring();
  // A receive that is posted may have them already.
  if (kernel.completions_pending()) kernel.harvest();
  if ((clear.conditions() & stream::closing) != 0) {
    return error(errc::connection_closed, phase::handshake).about(clear.peer().text());
  }
  constexpr std::uint32_t received = stream::has_data | stream::read_ahead;
  const int there = kernel.peek(clear.fd());
  if ((clear.conditions() & received) == 0 && there <= 0) return std::nullopt;
  return error(errc::unsolicited_data, phase::handshake)
      .about(clear.peer().text())
      .with_detail("bytes in the clear wait behind the server's answer; TLS was not begun");
}

result<tls::profile_ptr> verified_by_name(const endpoint& of) {
  tls::profile_options options;
  options.verify_name = of.host().substr(0, of.host().find('%'));  // a zone is of this machine
  return tls::profile::make(std::move(options));
}

}  // namespace

task<result<void>> connection::upgrade(tls::profile_ptr as) {
  const bool has_name = as != nullptr || peer().transport() != transport::unix_socket;
  if (auto why = refusal(*this, has_name)) co_return fail(std::move(*why));
  if (auto why = bytes_behind(*this)) co_return fail(std::move(*why));
  if (as == nullptr) {
    auto made = verified_by_name(peer());
    if (!made) co_return fail(std::move(made.error()));
    as = std::move(*made);
  }
  auto& self = static_cast<pooled_connection&>(*this);
  // The handshake's last write is answered by whatever follows; what the user wrote is his.
  const bool owed = (conditions() & stream::wrote_last) != 0;
  const time_point deadline = home().now() + self.owner->facts().config().connection_timeout;
  auto work = tls::connect(*this, std::move(as), deadline);
  auto done = co_await work;
  // on_connect's is counted by the dial that it is a part of.
  if (self.stage != connection_stage::connecting) self.owner->upgraded(self, done.has_value());
  if (!done) {
    mark(discarded);
  } else if (!owed) {
    clear(stream::wrote_last);
  }
  co_return done;
}

}  // namespace conpool

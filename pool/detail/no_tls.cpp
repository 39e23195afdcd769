// What tls_dial.cpp has, for builds without TLS.
#include <memory>

#include <conpool/pool/detail/dialer.h>

namespace conpool {

const tls::connection_info* connection::tls() const noexcept {
  return nullptr;
}

task<result<void>> connection::upgrade(std::shared_ptr<const tls::profile>) {
  co_return fail(error(errc::unsupported, phase::handshake)
                     .about(peer().text())
                     .with_detail("this build of conpool has no TLS (-Dtls=disabled)"));
}

bool dialer::supports(const endpoint& to) noexcept {
  return to.transport() != transport::tls;
}

void endpoint_facts::count_handshake(const pooled_connection&) noexcept {}

task<result<void>> dialer::shake_hands(pooled_connection&, time_point, tls::resumption&) {
  co_return fail(error(errc::unsupported, phase::handshake)
                     .about(facts_->peer.text())
                     .with_detail("this build of conpool has no TLS (-Dtls=disabled)"));
}

}  // namespace conpool

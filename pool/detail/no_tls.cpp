// What tls_dial.cpp has, for builds without TLS.
#include <conpool/pool/detail/dialer.h>

namespace conpool {

const tls::connection_info* connection::tls() const noexcept {
  return nullptr;
}

bool dialer::supports(const endpoint& to) noexcept {
  return to.transport() != transport::tls;
}

void dialer::count_handshake(const pooled_connection&) noexcept {}

task<result<void>> dialer::shake_hands(pooled_connection&, time_point, tls::resumption&) {
  co_return fail(error(errc::unsupported, phase::handshake)
                     .about(facts_->peer.text())
                     .with_detail("this build of conpool has no TLS (-Dtls=disabled)"));
}

}  // namespace conpool

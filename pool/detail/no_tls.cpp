// What secure.cpp has, for builds without TLS.
#include <conpool/pool/detail/endpoint_pool.h>

namespace conpool {

const tls::connection_info* connection::tls() const noexcept {
  return nullptr;
}

bool endpoint_pool::supports(const endpoint& to) noexcept {
  return to.transport() != transport::tls;
}

task<result<void>> endpoint_pool::secure(connection&, time_point) {
  co_return fail(error(errc::unsupported, phase::handshake)
                     .about(endpoint_.text())
                     .with_detail("this build of conpool has no TLS (-Dtls=disabled)"));
}

}  // namespace conpool

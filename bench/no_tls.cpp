// Stands in for tls.cpp and server_identity.cpp in builds without TLS, and refuses everything.
#include <bench/tls.h>

namespace conpool::bench {
namespace {

error not_here() {
  return error(errc::unsupported, phase::configure).with_detail("this build has no TLS");
}

}  // namespace

bool has_tls() noexcept {
  return false;
}

server_identity make_server_identity() {
  return {};
}

result<endpoint> verified_by(const endpoint&, const std::string&, bool) {
  return fail(not_here());
}

result<endpoint> trusting(const endpoint&, const std::string&) {
  return fail(not_here());
}

result<tls_acceptor> tls_acceptor::make(const server_identity&) {
  return fail(not_here());
}

task<result<void>> tls_acceptor::accept(stream&) const {
  co_return fail(not_here());
}

}  // namespace conpool::bench

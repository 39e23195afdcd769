#include <bench/tls.h>

#include <chrono>
#include <utility>

#include <conpool/runtime/shard.h>
#include <conpool/tls/handshake.h>
#include <conpool/tls/profile.h>

namespace conpool::bench {
namespace {

result<endpoint> under(const endpoint& where, tls::profile_options options) {
  if (!options.insecure) options.verify_name = where.host();
  auto profile = tls::profile::make(std::move(options));
  if (!profile) return fail(std::move(profile.error()));
  return where.with_profile(std::move(*profile));
}

}  // namespace

bool has_tls() noexcept {
  return true;
}

result<endpoint> verified_by(const endpoint& where, const std::string& ca_path, bool insecure) {
  tls::profile_options options;
  options.insecure = insecure;
  if (!insecure && !ca_path.empty()) {
    auto trust = tls::trust_store::from_file(ca_path);
    if (!trust) return fail(std::move(trust.error()));
    options.trust = std::move(*trust);
  }
  return under(where, std::move(options));
}

result<endpoint> trusting(const endpoint& where, const std::string& certificate_pem) {
  auto trust = tls::trust_store::from_pem(certificate_pem);
  if (!trust) return fail(std::move(trust.error()));
  tls::profile_options options;
  options.trust = std::move(*trust);
  return under(where, std::move(options));
}

result<tls_acceptor> tls_acceptor::make(const server_identity& own) {
  tls::server_options options;
  options.certificate_chain_pem = own.chain_pem;
  options.private_key_pem = own.key_pem;
  auto profile = tls::server_profile::make(*shard::current(), std::move(options));
  if (!profile) return fail(std::move(profile.error()));
  tls_acceptor made;
  made.profile_ = std::move(*profile);
  return made;
}

task<result<void>> tls_acceptor::accept(stream& raw) const {
  return tls::accept(raw, profile_, raw.home().now() + std::chrono::seconds(30));
}

}  // namespace conpool::bench

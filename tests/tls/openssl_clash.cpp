// A program that links OpenSSL in front of BoringSSL, as one may that uses a library built on it:
// functions with the same names are OpenSSL's then, all others BoringSSL's.
//
// Prints what each way to begin with TLS answers. symbol_check_test.cpp runs it.
#include <cstdio>
#include <memory>

#include <conpool/tls/detail/shard_resources.h>
#include <conpool/tls/detail/symbol_check.h>
#include <conpool/tls/profile.h>
#include <conpool/tls/server_profile.h>
#include <conpool/tls/trust_store.h>

namespace {

template <typename T>
void print(const char* what, const conpool::result<T>& answer) {
  std::printf("%s: %s\n", what, answer ? "works" : answer.error().message().c_str());
}

}  // namespace

int main() {
  namespace tls = conpool::tls;
  print("symbol_check", tls::symbol_check());
  print("trust_store", tls::trust_store::system());
  print("trust_store", tls::trust_store::from_pem("no certificate"));
  tls::profile_options options;
  options.insecure = true;
  const auto profile = tls::profile::make(options);
  print("profile", profile);
  tls::shard_resources resources;
  print("resources", resources.config_for(profile ? *profile : nullptr));
  print("server", tls::server_profile::make(resources, {}));
}

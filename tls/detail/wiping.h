// Overwrites secrets that are not needed any more: whoever reads freed memory finds none. Internal
// to tls/.
//
// BoringSSL wipes what it frees by itself. The PEM of a private key is ours: a server's is wiped as
// soon as it was parsed, a profile's with the profile, since each shard parses it anew.
#pragma once

#include <optional>
#include <string>

#include <conpool/tls/detail/boringssl.h>

namespace conpool::tls {

inline void wipe(std::string& secret) noexcept {
  OPENSSL_cleanse(secret.data(), secret.size());
  secret.clear();
}

// Those of profile_options and server_options. A file that holds the key and the chain is often
// given for both.
template <typename Options>
void wipe_keys(Options& options) noexcept {
  wipe(options.private_key_pem);
  if (options.certificate_chain_pem.contains("PRIVATE KEY")) wipe(options.certificate_chain_pem);
  if constexpr (requires { options.ticket_key; }) {
    if (options.ticket_key) OPENSSL_cleanse(options.ticket_key->data(), options.ticket_key->size());
    options.ticket_key.reset();
  }
}

// Options that were moved on have nothing left to wipe.
template <typename Options>
class keys_wiped_at_end {
 public:
  explicit keys_wiped_at_end(Options& options) noexcept : options_(&options) {}
  ~keys_wiped_at_end() { wipe_keys(*options_); }
  keys_wiped_at_end(const keys_wiped_at_end&) = delete;
  keys_wiped_at_end& operator=(const keys_wiped_at_end&) = delete;

 private:
  Options* options_;
};

}  // namespace conpool::tls

// A certificate chain and its private key, parsed from PEM. Internal to tls/.
//
// They are parsed once to check a configuration, and again for each shard, since BoringSSL keeps
// locks and blinding values in a key.
#pragma once

#include <string_view>
#include <vector>

#include <conpool/runtime/error.h>
#include <conpool/tls/detail/boringssl_pointers.h>

namespace conpool::tls {

struct credentials {
  std::vector<boringssl_ptr<crypto_buffer_st>> chain;
  boringssl_ptr<evp_pkey_st> key;
};

// Errors: invalid_config about the field, if one of them cannot be parsed or the key is not that of
// the first certificate; out_of_memory. `pool` may be null: equal certificates then share nothing.
result<credentials> parse_credentials(std::string_view chain_pem, std::string_view key_pem,
                                      crypto_buffer_pool_st* pool);
// Gives them to an SSL_CTX. Errors: invalid_config.
result<void> use_credentials(ssl_ctx_st* context, const credentials& own);

}  // namespace conpool::tls

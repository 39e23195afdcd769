// A certificate chain and its private key, as PEM says them. Internal to tls/.
//
// Parsed once to validate a configuration, and again for each shard: the library keeps locks and
// blinding values in a key.
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

// Errors: invalid_config: one that cannot be parsed, or a key that is not the first certificate's.
result<credentials> parse_credentials(std::string_view chain_pem, std::string_view key_pem,
                                      crypto_buffer_pool_st* pool);
// Gives them to a context. Errors: invalid_config.
result<void> use_credentials(ssl_ctx_st* context, const credentials& own);

}  // namespace conpool::tls

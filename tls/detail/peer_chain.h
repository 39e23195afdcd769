// The certificates that a peer sent, its own first. Internal to tls/.
#pragma once

#include <vector>

#include <conpool/tls/detail/boringssl.h>

namespace conpool::tls {

// The pointers are valid as long as the session; there are none if the peer sent none.
inline std::vector<crypto_buffer_st*> peer_chain(const SSL* session) {
  std::vector<crypto_buffer_st*> chain;
  if (const STACK_OF(CRYPTO_BUFFER)* sent = SSL_get0_peer_certificates(session)) {
    for (std::size_t at = 0; at < sk_CRYPTO_BUFFER_num(sent); ++at) {
      chain.push_back(sk_CRYPTO_BUFFER_value(sent, at));
    }
  }
  return chain;
}

}  // namespace conpool::tls

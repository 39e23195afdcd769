// Is this chain of certificates good, for this name, now? Internal to tls/.
//
// Both sides' verify callbacks ask it when they do not know the answer yet. It checks all of it: to
// a trusted root, for the purpose, for the name, not revoked, and by our own policy, which is
// stricter than BoringSSL's. That takes 90 to 390 us, mostly for signatures.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <conpool/runtime/error.h>
#include <conpool/tls/detail/boringssl_pointers.h>
#include <conpool/tls/detail/peer_name.h>
#include <conpool/tls/profile.h>

namespace conpool::tls {

struct chain_question {
  x509_store_st* roots;   // null: any certificate will do, and only the pins count
  const peer_name* name;  // null: any name, for a client's certificate
  bool of_server;         // the purpose
  weak_certificates weak;
  std::span<const pin> pins;
  std::int64_t now_s;
};

struct chain_answer {
  errc why{};  // 0 if it is good
  std::string reason{};
  std::uint8_t alert = 0;
  // When the first certificate of the verified chain ends.
  std::int64_t ends_s = 0;

  bool good() const noexcept { return why == errc{}; }
};

// Leaves nothing in BoringSSL's error queue.
chain_answer verify_chain(std::span<crypto_buffer_st* const> chain, const chain_question& asked);

}  // namespace conpool::tls

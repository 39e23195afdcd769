// The exchange that request_pooled and floor_request_bare_ring make: 64 bytes, and the same bytes
// back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace conpool::micro {

using message = std::array<char, 64>;

// No two messages of a connection are equal, so that an old answer is not taken for a new one.
inline void fill(message& to, std::uint64_t sequence) noexcept {
  for (std::size_t at = 0; at < to.size(); at += sizeof sequence) {
    std::memcpy(to.data() + at, &sequence, sizeof sequence);
  }
}

// How many requests come before the measurement, so that frames, buffers and the kernel's sockets
// are warm.
inline std::int64_t warm_up_requests(std::size_t connections) noexcept {
  return static_cast<std::int64_t>(20 * connections);
}

}  // namespace conpool::micro

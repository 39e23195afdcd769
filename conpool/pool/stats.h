// Counts that a pool keeps: for each endpoint, and summed up.
//
//   for (const endpoint_stats& one : pool.all_stats()) {
//     fmt::print("{}: {} active, {} idle, hit ratio {:.3f}\n", one.endpoint, one.active, one.idle,
//                one.hit_ratio());
//   }
//
// Plain values, copied when asked for; they may travel to other threads. At every moment
// created = connecting + idle + active + closing + closed, the sum of closed_by.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace conpool {

// Why a connection was closed; each is counted apart.
enum class close_reason : std::uint8_t {
  connect_failed,   // it never stood: resolve, connect or handshake failed
  peer_closed,      // the peer ended it while it was idle, or in its last lease
  peer_reset,       // the peer or the network reset it
  unexpected_data,  // bytes came while it was idle
  unread_data,      // it came back with bytes left to read
  unanswered,       // it came back after a write without a read: an answer may be on its way
  busy,             // it came back with a read or write under way
  interrupted,      // a read or write was ended by its deadline or a cancellation
  io_error,         // any other error of a read or write
  discarded,        // the user asked for it
  idle_timeout,     // unused for max_idle_time
  lifetime,         // older than max_connection_lifetime
  over_idle_limit,  // max_idle_per_endpoint were idle already
  cleared,          // clear()
  pool_closed,      // close(), or the pool or its shard ended
};
inline constexpr std::size_t close_reasons = 15;

const char* to_string(close_reason why) noexcept;

struct pool_counts {
  // Now.
  std::uint32_t active = 0;  // leased
  std::uint32_t idle = 0;
  std::uint32_t connecting = 0;
  std::uint32_t closing = 0;  // the kernel still has something of theirs
  std::uint32_t waiting = 0;  // callers in the queue

  // Ever.
  std::uint64_t hits = 0;     // acquires served by a connection that existed already: an idle one,
                              // or one handed over by its last holder
  std::uint64_t misses = 0;   // acquires served by a connection they had to wait for
  std::uint64_t reused = 0;   // acquires served by a connection that had been lent before
  std::uint64_t created = 0;  // connections begun, also those that failed to connect
  std::array<std::uint64_t, close_reasons> closed_by{};
  std::uint64_t acquire_timeouts = 0;
  std::uint64_t acquires_cancelled = 0;
  std::uint64_t queue_full = 0;
  std::uint64_t resolve_failures = 0;  // connects that failed to resolve, in time or at all
  std::uint64_t connect_failures = 0;  // connects refused, unreachable and the like
  std::uint64_t connect_timeouts = 0;

  std::uint64_t closed() const noexcept {
    std::uint64_t sum = 0;
    for (const std::uint64_t count : closed_by) sum += count;
    return sum;
  }
  std::uint64_t closed(close_reason why) const noexcept {
    return closed_by[static_cast<std::size_t>(why)];
  }
  // hits over all acquires that were served; 0 if none was.
  double hit_ratio() const noexcept {
    const std::uint64_t served = hits + misses;
    return served == 0 ? 0.0 : static_cast<double>(hits) / static_cast<double>(served);
  }

  pool_counts& operator+=(const pool_counts& other) noexcept;
};

struct endpoint_stats : pool_counts {
  std::string endpoint;    // its canonical text
  std::string last_error;  // of the last failed connect, empty if none failed
};

struct pool_stats : pool_counts {
  std::size_t endpoints = 0;  // for several shards: the sum of theirs

  using pool_counts::operator+=;
  pool_stats& operator+=(const pool_stats& other) noexcept {
    pool_counts::operator+=(other);
    endpoints += other.endpoints;
    return *this;
  }
};

}  // namespace conpool

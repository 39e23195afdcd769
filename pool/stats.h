// The counts that a pool keeps, for each endpoint and summed up.
//
//   for (const endpoint_stats& one : backends.all_stats()) {
//     std::printf("%s: %u active, %u idle, hit ratio %.3f\n", one.endpoint.c_str(), one.active,
//                 one.idle, one.hit_ratio());
//   }
//
// They are plain values, copied when asked for, and may travel to other threads. At every moment
// created = connecting + idle + active + closing + closed, where closed is the sum of closed_by.
//
// An endpoint that was not used for max_endpoint_idle_time is forgotten; its counts stay in the
// pool's totals.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include <conpool/runtime/detail/export.h>

namespace conpool {

// Why a connection was closed. Each reason has a count of its own.
enum class close_reason : std::uint8_t {
  connect_failed,   // it never stood: resolve, connect, handshake or on_connect failed
  peer_closed,      // the peer ended it while it was idle, or in its last lease
  peer_reset,       // the peer or the network reset it
  unexpected_data,  // bytes came while it was idle
  unread_data,      // it came back with bytes left to read, also by a buffered_reader
  unanswered,       // it came back after a write without a read, or with answers owed: an answer
                    // may be on its way
  busy,             // it came back with a read or write under way
  interrupted,      // a read or write was ended by its deadline or a cancellation
  io_error,         // any other error of a read or write
  discarded,        // the user asked for it
  idle_timeout,     // unused for max_idle_time
  lifetime,         // older than max_connection_lifetime
  uses,             // lent max_connection_uses times
  over_idle_limit,  // max_idle_per_endpoint were idle already
  over_limit,       // max_connections_per_endpoint was lowered below what was open
  trimmed,          // more were idle than the smoothed peak of need
  evicted,          // its slot or descriptor was needed for another endpoint, or a fresh connection
  ping_failed,      // the protocol's ping failed or took too long
  vetoed,           // the protocol did not want it: is_healthy, on_acquire or on_release
  cleaning_failed,  // the protocol's on_release, a coroutine, took too long or threw
  retired,          // the protocol took it out of service, or its run() ended
  detached,         // handed over: the descriptor lives on outside of the pool
  cleared,          // clear()
  forced,           // it was still leased at the deadline of drain()
  pool_closed,      // close(), or the pool or its shard ended
};
inline constexpr std::size_t close_reasons = 25;

CONPOOL_API const char* to_string(close_reason why) noexcept;

struct CONPOOL_API pool_counts {
  // Now.
  std::uint32_t active = 0;  // leased, handed to a waiter, or being checked or cleaned by the pool
  std::uint32_t idle = 0;
  std::uint32_t connecting = 0;
  std::uint32_t closing = 0;   // on their way out: the kernel still holds an operation of theirs
  std::uint32_t waiting = 0;   // callers in the queue
  std::uint32_t leases = 0;    // in shared mode: leases now, over all connections
  std::uint32_t retiring = 0;  // of the active ones: take no new leases, do not count for the cap

  // Ever.
  std::uint64_t hits = 0;    // acquires served by a connection that existed already: an idle one,
                             // or one handed over by its last holder
  std::uint64_t misses = 0;  // acquires served by a connection they had to wait for
  std::uint64_t reused = 0;  // acquires served by a connection that had been lent before
  std::uint64_t created =
      0;  // connections begun, also those that failed to connect, and adopted ones
  std::array<std::uint64_t, close_reasons> closed_by{};
  std::uint64_t acquire_timeouts = 0;
  std::uint64_t acquires_cancelled = 0;
  std::uint64_t queue_full = 0;
  std::uint64_t failed_fast = 0;         // acquires that an open breaker refused or ended
  std::uint64_t resolve_failures = 0;    // connects that failed to resolve, in time or at all
  std::uint64_t connect_failures = 0;    // connects refused, unreachable and the like
  std::uint64_t connect_timeouts = 0;    // of the connect or the TLS handshake
  std::uint64_t handshakes = 0;          // of TLS, completed
  std::uint64_t handshakes_failed = 0;   // these connects are among the failures or timeouts, too
  std::uint64_t resumed = 0;             // of the handshakes: continued an earlier session
  std::uint64_t resumptions_failed = 0;  // sessions offered in vain; a full handshake followed
  std::uint64_t insecure = 0;            // of the handshakes: accepted any certificate
  std::uint64_t breaker_opened = 0;
  std::uint64_t connects_spared = 0;  // connects not begun because who asked had gone meanwhile
  std::uint64_t probes = 0;           // idle connections peeked at
  std::uint64_t pings = 0;            // idle connections pinged by their protocol
  std::uint64_t pushes = 0;           // times an idle connection's data was kept by its protocol
  std::uint64_t leaks = 0;            // leases held longer than leak_threshold

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
  // Connects for callers, by rounds, since a new connection was lent last.
  std::uint32_t failed_in_a_row = 0;
  bool breaker_open = false;  // nothing stands, and callers fail at once
};

struct pool_stats : pool_counts {
  std::size_t endpoints = 0;  // now; for several shards: the sum of theirs
  // Of the observer: events it was not told because it fell behind, and exceptions it threw.
  std::uint64_t events_dropped = 0;
  std::uint64_t observer_exceptions = 0;

  using pool_counts::operator+=;
  pool_stats& operator+=(const pool_stats& other) noexcept {
    pool_counts::operator+=(other);
    endpoints += other.endpoints;
    events_dropped += other.events_dropped;
    observer_exceptions += other.observer_exceptions;
    return *this;
  }
};

}  // namespace conpool

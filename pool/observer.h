// Tells what happens in a pool as data: one observer for a pool, one event at a time.
//
//   backends.observe([&](const pool_event& event) {
//     if (event.kind == pool_event_kind::closed) log(event.peer.text(), to_string(event.reason));
//   });
//
// Events are kept in order. The shard's ready queue delivers them after they have happened and
// outside of the pool's own work, as a rule in the same turn. So an observer may acquire, release,
// clear or throw without harm; an exception is dropped and counted
// (pool_stats::observer_exceptions). An observer that falls more than 4,096 events behind misses
// the rest; these are counted, too (events_dropped).
//
// An observer is called as long as anything of the pool is left, even when the pool was destroyed
// and leases are still out. Whatever it refers to must live as long; `observe({})` ends it earlier.
//
// A pool with an observer reports each lend and return, which adds some 50 ns to a hit.
#pragma once

#include <cstdint>
#include <functional>
#include <source_location>

#include <conpool/pool/endpoint.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/error.h>

namespace conpool {

enum class pool_event_kind : std::uint8_t {
  created,         // a connect begins
  connected,       // it stands (the protocol's on_connect included), or was adopted
  connect_failed,  // `why`
  lent,            // `where`: the acquire
  returned,        // `held` and `where`, with the leak detector on
  closed,          // `reason`
  waiter_queued,
  waiter_timed_out,  // `why`
  waiter_cancelled,  // `why`
  queue_full,
  breaker_opened,  // `why`: the last failure
  breaker_closed,
  ping_failed,
  push_kept,           // an idle connection's data was taken by its protocol
  leak_suspected,      // `held`, `where`: longer than leak_threshold, told once for a lease
  leak_returned,       // `held`, `where`: a suspected one came back after all
  endpoint_forgotten,  // unused for max_endpoint_idle_time
};

CONPOOL_API const char* to_string(pool_event_kind kind) noexcept;

// Valid during the call; copy what is to be kept.
struct pool_event {
  pool_event_kind kind;
  const endpoint& peer;
  std::uint64_t connection = 0;  // its id, 0 where there is none
  close_reason reason{};
  duration held{0};
  const error* why = nullptr;
  std::source_location where{};
};

using pool_observer = std::move_only_function<void(const pool_event&)>;

}  // namespace conpool

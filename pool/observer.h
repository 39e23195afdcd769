// What happens in a pool, told as data: one observer for a pool, an event at a time.
//
//   backends.observe([&](const pool_event& event) {
//     if (event.kind == pool_event_kind::closed) log(event.peer.text(), to_string(event.reason));
//   });
//
// Events are kept in order and told by the shard's ready queue, after what they tell of has
// happened and outside of the pool's own work, in the same turn as a rule. So the observer may
// acquire, release, clear or throw without harm; an exception is counted and dropped
// (pool_stats::observer_exceptions). An observer that is slower than what happens misses events
// beyond `pending_events_max` at a time; they are counted (events_dropped).
//
// It is told as long as something of the pool is there, also when the pool was destroyed and leases
// are still out: what it refers to has to live as long, or end it with `observe({})` before.
//
// A pool with an observer tells each lend and return, so its hits take some 50 ns more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <source_location>

#include <conpool/pool/endpoint.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/ready_queue.h>
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

const char* to_string(pool_event_kind kind) noexcept;

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

class pool_core;

// The queue between a pool and its observer. Internal; a part of pool_core.
class event_queue : private ready_node {
 public:
  static constexpr std::size_t pending_events_max = 4096;

  struct record {
    pool_event_kind kind{};
    std::optional<endpoint> peer;
    std::uint64_t connection = 0;
    close_reason reason{};
    duration held{0};
    std::optional<error> why;
    std::source_location where{};
  };

  explicit event_queue(pool_core& core) noexcept;

  bool observed() const noexcept { return static_cast<bool>(observer_); }
  void set(pool_observer observer);
  void tell(record event) noexcept;

  std::uint64_t dropped() const noexcept { return dropped_; }
  std::uint64_t exceptions() const noexcept { return exceptions_; }

 private:
  static void deliver(ready_node& node) noexcept;
  void deliver_all() noexcept;

  pool_core* core_;
  pool_observer observer_;
  std::deque<record> pending_;
  std::uint64_t generation_ = 0;  // of observers: a new one does not hear what came before it
  std::uint64_t dropped_ = 0;
  std::uint64_t exceptions_ = 0;
  bool queued_ = false;
};

}  // namespace conpool

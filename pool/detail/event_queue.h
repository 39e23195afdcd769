// The queue between a pool and its observer (observer.h).
//
// Events are kept in order and told from the shard's ready queue, outside of the pool's own work.
// So an observer may call back into the pool, throw, or replace itself; what comes beyond
// `pending_events_max` is dropped and counted. A part of pool_facts, used on its shard only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <source_location>

#include <conpool/pool/detail/counted.h>
#include <conpool/pool/endpoint.h>
#include <conpool/pool/observer.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/ready_queue.h>
#include <conpool/runtime/error.h>

namespace conpool {

class shard;

class event_queue : private ready_node {
 public:
  static constexpr std::size_t pending_events_max = 4096;

  // An event that owns what pool_event only refers to.
  struct record {
    pool_event_kind kind{};
    std::optional<endpoint> peer;
    std::uint64_t connection = 0;
    close_reason reason{};
    duration held{0};
    std::optional<error> why;
    std::source_location where{};
  };

  // `keep` is kept alive while events wait to be told.
  event_queue(reference_counted& keep, shard& home) noexcept;

  bool observed() const noexcept { return static_cast<bool>(observer_); }
  void set(pool_observer observer);
  void tell(record event) noexcept;

  std::uint64_t dropped() const noexcept { return dropped_; }
  std::uint64_t exceptions() const noexcept { return exceptions_; }

 private:
  static void deliver(ready_node& node) noexcept;
  void deliver_all() noexcept;

  reference_counted* keep_;
  shard* home_;
  pool_observer observer_;
  std::deque<record> pending_;
  std::uint64_t generation_ = 0;  // of observers: a new one does not hear what came before it
  std::uint64_t dropped_ = 0;
  std::uint64_t exceptions_ = 0;
  bool queued_ = false;
};

}  // namespace conpool

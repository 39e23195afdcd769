// What the parts of the library share on a shard: its time, ring, timers and queues.
//
// The base of shard, which owns the turn; users meet only that. An awaiter arms its deadline and
// starts its operation here, a pool adds the hook through which it is told that the shard stops.
//
//   home.timers().arm(*this, home.now() + 5s);
//   home.ring().receive(*this, fd, memory);
//   home.ready().push(*this);                // runs within this turn
//
// Everything here is for the shard's owner, the thread that turns it; debug builds assert it where
// a mistake is likely. attached() and is_owner() may be asked on any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>

#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/context.h>
#include <conpool/runtime/detail/intrusive_list.h>
#include <conpool/runtime/detail/random.h>
#include <conpool/runtime/detail/ready_queue.h>
#include <conpool/runtime/detail/ring.h>
#include <conpool/runtime/detail/stop_hook.h>
#include <conpool/runtime/detail/timers.h>

namespace conpool {

class shard_core {
 public:
  shard_core(const shard_core&) = delete;
  shard_core& operator=(const shard_core&) = delete;

  // The time of this turn. Monotonic; read from the clock once a turn.
  time_point now() const noexcept { return now_; }
  // The clock as it is, for those to whom now() is too coarse because they measure within a turn.
  time_point read_clock() noexcept { return clock_->now(); }

  // The number of the turn that runs, or of the last one.
  std::uint64_t turn() const noexcept { return turn_; }

  conpool::ring& ring() noexcept { return *ring_; }
  const conpool::ring& ring() const noexcept { return *ring_; }
  timer_wheel& timers() noexcept { return timers_; }
  ready_queue& ready() noexcept { return ready_; }
  // Runs the node in the next turn, not in this one.
  void run_next_turn(ready_node& node) noexcept { next_turn_.push(node); }
  random_source& random() noexcept { return random_; }

  // Above the contexts of all scopes; stop() cancels it.
  context& root_context() noexcept { return root_context_; }
  bool stopping() const noexcept { return stopping_; }
  void add_stop_hook(stop_hook& hook) noexcept { stop_hooks_.push_back(hook); }
  // Once its function was called it is off the list, and this does nothing.
  void remove_stop_hook(stop_hook& hook) noexcept {
    if (hook.is_linked()) stop_hooks_.remove(hook);
  }
  // Counts the tasks that run: while there are any, the shard has not stopped.
  void task_started() noexcept { ++tasks_running_; }
  void task_ended() noexcept { --tasks_running_; }

  bool attached() const noexcept { return owner() != std::thread::id{}; }
  bool is_owner() const noexcept { return owner() == std::this_thread::get_id(); }
  void assert_owner() const noexcept {
    CONPOOL_ASSERT(is_owner(), "a shard, or something of it, was used on another thread");
  }

 private:
  friend class shard;

  shard_core(clock_source& clock, std::uint64_t seed) noexcept
      : clock_(&clock), now_(clock.now()), timers_(now_), random_(seed) {}
  ~shard_core() = default;

  // Each is off the list before it is called, since it may end others on the list.
  void run_stop_hooks() noexcept {
    while (!stop_hooks_.empty()) {
      stop_hook& hook = stop_hooks_.pop_front();
      hook.on_stop(hook);
    }
  }

  // relaxed: who it is matters only to the thread that asks whether it is the one.
  std::thread::id owner() const noexcept { return owner_.load(std::memory_order_relaxed); }

  clock_source* clock_;
  std::unique_ptr<conpool::ring> ring_;
  std::atomic<std::thread::id> owner_ = std::thread::id{};
  time_point now_;
  std::uint64_t turn_ = 0;
  ready_queue ready_;
  ready_queue next_turn_;
  timer_wheel timers_;
  random_source random_;
  bool stopping_ = false;
  std::size_t tasks_running_ = 0;
  context root_context_;
  intrusive_list<stop_hook, list_hook<stop_hook>> stop_hooks_;
};

}  // namespace conpool

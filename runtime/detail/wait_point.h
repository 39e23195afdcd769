// A suspended task: the one mechanism behind everything that waits on a shard.
//
// An awaiter derives from wait_point, so it lives in the frame of the task that waits. While it is
// parked it may be interrupted once, by its deadline or by its context. Whoever has the result
// calls wake(). After an interrupt the awaiter itself decides when to wake: one that waits for the
// kernel asks for a cancel, and wakes when the operation has really ended.
//
//   parked --deadline or cancel--> interrupt(why)   at most once
//   parked --wake()-------------> on the ready queue, then resumed by the turn
//
// Parking and waking allocate nothing. A wait point is used on its shard's thread only.
#pragma once

#include <concepts>
#include <coroutine>

#include <conpool/runtime/detail/context.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/detail/ready_queue.h>
#include <conpool/runtime/detail/timers.h>

namespace conpool {

class shard;

// Returns the context of a coroutine; null for coroutine types that carry none.
template <typename Promise>
context* context_of(std::coroutine_handle<Promise> handle) noexcept {
  if constexpr (requires {
                  { handle.promise().task_context() } -> std::convertible_to<context*>;
                }) {
    return handle.promise().task_context();
  } else {
    return nullptr;
  }
}

class CONPOOL_API wait_point : public ready_node, private timer_node, private cancel_node {
 public:
  using interrupt_fn = void (*)(wait_point&, errc why) noexcept;

  bool parked() const noexcept { return handle_ != nullptr; }
  bool interrupted() const noexcept { return interrupted_ != errc{}; }
  errc interrupted_by() const noexcept { return interrupted_; }

 protected:
  // `timed_out` is the reason that `interrupt` is told when the deadline passes.
  wait_point(shard& home, interrupt_fn interrupt, errc timed_out) noexcept
      : ready_node(&wait_point::resume),
        timer_node(&wait_point::deadline_passed),
        cancel_node(&wait_point::context_cancelled),
        home_(&home),
        interrupt_(interrupt),
        timed_out_(timed_out) {}

  shard& home() const noexcept { return *home_; }

  // Suspends until wake(). Returns false, with interrupted() set, if the context is cancelled
  // already; then nothing was armed, and the caller should not suspend.
  bool park(std::coroutine_handle<> handle, context* where, time_point deadline) noexcept;
  bool park(std::coroutine_handle<> handle, context* where) noexcept;

  // Puts the task on the ready queue and disarms deadline and cancellation.
  void wake() noexcept;
  // Says that the deadline has passed, for awaiters whose deadline somebody else watches.
  void expire() noexcept { deadline_passed(*this); }
  // Only disarms both, for an awaiter that runs a function of its own instead of the task.
  void disarm() noexcept;
  void resume_now() noexcept {
    const std::coroutine_handle<> handle = handle_;
    handle_ = nullptr;
    handle.resume();
  }

 private:
  static void resume(ready_node& node) noexcept { static_cast<wait_point&>(node).resume_now(); }
  static void deadline_passed(timer_node& node) noexcept;
  static void context_cancelled(cancel_node& node, errc why) noexcept;

  std::coroutine_handle<> handle_;
  shard* home_;
  interrupt_fn interrupt_;
  errc timed_out_;
  errc interrupted_{};
};

}  // namespace conpool

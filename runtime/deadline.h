// with_timeout(): runs a task under a deadline of its own.
//
//   auto work = fetch(lease);
//   auto page = co_await with_timeout(home, 250ms, std::move(work));
//
// When the time is over, everything that the task waits for ends with errc::deadline_exceeded. The
// task itself still runs to its end, because cancelling is a request; what comes out of the
// co_await is whatever the task returned or threw. The deadline starts with the co_await. It
// allocates nothing, and it is used on the shard's thread only.
#pragma once

#include <conpool/runtime/detail/context.h>
#include <conpool/runtime/detail/timers.h>
#include <conpool/runtime/shard.h>
#include <conpool/runtime/task.h>

namespace conpool {

template <typename T>
class [[nodiscard]] timeout_awaiter : private timer_node {
 public:
  timeout_awaiter(shard& home, duration time, task<T> work) noexcept
      : timer_node(&timeout_awaiter::fired), home_(&home), time_(time), work_(std::move(work)) {}

  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    inner_.attach(context_of(parent));
    home_->timers().arm(*this, saturating_add(home_->now(), time_));
    work_.handle().promise().start_from(parent, &inner_);
    return work_.handle();
  }
  [[nodiscard]] T await_resume() {
    home_->timers().cancel(*this);
    inner_.detach();
    return work_.handle().promise().take();
  }

 private:
  static void fired(timer_node& node) noexcept {
    static_cast<timeout_awaiter&>(node).inner_.cancel(errc::deadline_exceeded);
  }

  shard* home_;
  duration time_;
  context inner_;
  task<T> work_;
};

template <typename T>
timeout_awaiter<T> with_timeout(shard& home, duration time, task<T> work) noexcept {
  return timeout_awaiter<T>(home, time, std::move(work));
}

}  // namespace conpool

// A one-shot event on a shard: tasks wait for it until somebody sets it.
//
//   event ready(home);
//   auto woken = co_await ready.wait();   // result<void>: set, or why the wait ended early
//   ready.set();                          // elsewhere: wakes all waiters, in the order they came
//
// An event must outlive the waits for it. It is used on its shard's thread only and allocates
// nothing. A wait ends early when the caller's context is cancelled: errc::cancelled,
// deadline_exceeded or shard_stopped. It has no deadline of its own; use with_timeout() for one.
#pragma once

#include <conpool/runtime/detail/intrusive_list.h>
#include <conpool/runtime/detail/wait_point.h>
#include <conpool/runtime/shard.h>

namespace conpool {

class event {
 public:
  explicit event(shard& home) noexcept : home_(&home) {}
  event(const event&) = delete;
  event& operator=(const event&) = delete;

  bool is_set() const noexcept { return set_; }
  // Stays set: later waits do not suspend.
  void set() noexcept {
    set_ = true;
    while (!waiting_.empty()) waiting_.pop_front().wake_from_event();
  }

  class awaiter : public wait_point, public list_hook<event> {
   public:
    explicit awaiter(event& source) noexcept
        : wait_point(*source.home_, &awaiter::interrupt, errc{}), source_(&source) {}
    bool await_ready() const noexcept { return source_->set_; }
    template <typename Promise>
    bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
      if (!park(handle, context_of(handle))) return false;
      source_->waiting_.push_back(*this);
      return true;
    }
    [[nodiscard]] result<void> await_resume() const noexcept {
      if (interrupted()) return fail(error(interrupted_by()));
      return {};
    }

   private:
    friend class event;
    void wake_from_event() noexcept { wake(); }
    static void interrupt(wait_point& waiting, errc) noexcept {
      auto& self = static_cast<awaiter&>(waiting);
      waiter_list::unlink(self);
      self.wake();
    }
    event* source_;
  };
  awaiter wait() noexcept { return awaiter(*this); }

 private:
  using waiter_list = intrusive_list<awaiter, list_hook<event>>;
  shard* home_;
  waiter_list waiting_;
  bool set_ = false;
};

}  // namespace conpool

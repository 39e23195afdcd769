// A one-shot event on a shard: tasks wait for it, somebody sets it.
//
//   event ready(home);
//   ... auto woken = co_await ready.wait();   // result<void>: ok, or why the wait was ended
//   ready.set();                              // wakes all, in the order they came
//
// Owned by whoever outlives the waits; used on its shard's thread only; allocates nothing. Waits
// end with the caller's context; they have no deadline of their own (use with_timeout).
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
    result<void> await_resume() const noexcept {
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

#include <conpool/runtime/detail/wait_point.h>

#include <conpool/runtime/shard.h>

namespace conpool {

bool wait_point::park(std::coroutine_handle<> handle, context* where,
                      time_point deadline) noexcept {
  if (!park(handle, where)) return false;
  home_->timers().arm(*this, deadline);
  return true;
}

bool wait_point::park(std::coroutine_handle<> handle, context* where) noexcept {
  CONPOOL_ASSERT(handle_ == nullptr, "a wait point is parked once at a time");
  home_->assert_owner();
  if (home_->ring().forked()) [[unlikely]] {
    interrupted_ = errc::forked;
    return false;
  }
  if (where != nullptr) {
    if (where->cancelled()) {
      interrupted_ = where->why();
      return false;
    }
    where->subscribe(*this);
  }
  handle_ = handle;
  return true;
}

void wait_point::disarm() noexcept {
  home_->timers().cancel(*this);
  context::unsubscribe(*this);
}

void wait_point::wake() noexcept {
  CONPOOL_ASSERT(handle_ != nullptr, "only what is parked can be woken");
  disarm();
  home_->ready().push(*this);
}

void wait_point::deadline_passed(timer_node& node) noexcept {
  auto& self = static_cast<wait_point&>(node);
  context::unsubscribe(self);  // interrupted once, by whichever comes first
  self.interrupted_ = self.timed_out_;
  self.interrupt_(self, self.timed_out_);
}

void wait_point::context_cancelled(cancel_node& node, errc why) noexcept {
  auto& self = static_cast<wait_point&>(node);
  self.home_->timers().cancel(self);
  self.interrupted_ = why;
  self.interrupt_(self, why);
}

}  // namespace conpool

#include <conpool/pool/acquire.h>

#include <algorithm>

namespace conpool {

acquire_awaiter::acquire_awaiter(endpoint_pool& from, const acquire_options& options,
                                 const std::source_location& where) noexcept
    : from_(&from),
      where_(where),
      timeout_(options.timeout),
      state_(options.fresh ? state::wants_new : state::direct),
      priority_(options.priority),
      fresh_(options.fresh),
      try_only_(options.try_only) {
  if (options.deadline == time_point::max()) return;
  if (timeout_ == duration::zero()) timeout_ = from.acquire_timeout();
  // A deadline that has passed still takes an idle connection, as any timeout would.
  const duration left = options.deadline - from.home().now();
  timeout_ = std::max(duration(1), std::min(timeout_, left));
}

void acquire_awaiter::destroy() noexcept {
  if (state_ == state::waited) {
    waiter_.~acquire_waiter();
  } else if (state_ == state::refused) {
    refused_.~error();
  }
}

bool acquire_waiter::begin(std::coroutine_handle<> handle, context* where, duration timeout,
                           bool try_only) noexcept {
  failure_ = from_->refusal(try_only);
  if (failure_) return false;
  if (timeout == duration::zero()) timeout = from_->acquire_timeout();
  if (!park(handle, where, saturating_add(home().now(), timeout))) {
    failure_ = from_->ended_early(interrupted_by());
    return false;
  }
  from_->join_queue(*this);
  return true;
}

result<lease> acquire_waiter::take() noexcept {
  if (connection_ != nullptr) return lease(*connection_);
  return fail(std::move(*failure_));
}

void acquire_waiter::schedule() noexcept {
  if (std::exchange(scheduled_, true)) return;
  home().ready().push(*this);
}

// The deadline and the context stay armed: until the task runs it may still give up.
void acquire_waiter::hand(connection& reserved, bool existed) noexcept {
  CONPOOL_ASSERT(connection_ == nullptr && !failure_, "a waiter is served once");
  connection_ = &reserved;
  existed_ = existed;
  schedule();
}

void acquire_waiter::fail_with(error why) noexcept {
  failure_ = std::move(why);
  disarm();
  schedule();
}

void acquire_waiter::deliver(ready_node& node) noexcept {
  auto& self = static_cast<acquire_waiter&>(node);
  self.scheduled_ = false;
  if (self.connection_ != nullptr) {
    // The last look before it is lent. Reaping may take the connection away again, and then this
    // waiter is back at the head of the queue.
    ring& kernel = self.home().ring();
    if (self.from_->watched() && kernel.completions_pending()) kernel.harvest();
    if (self.connection_ != nullptr && self.from_->still_good(*self.connection_)) {
      self.from_->lend_reserved(self, *self.connection_);
    }
  }
  if (self.connection_ == nullptr && !self.failure_) return;
  self.disarm();
  self.resume_now();
}

void acquire_waiter::interrupt(wait_point& waiting, errc why) noexcept {
  auto& self = static_cast<acquire_waiter&>(waiting);
  if (connection* const reserved = self.connection_) {
    self.from_->take_back(self, *reserved);
  } else if (self.waiter_hook::is_linked()) {
    self.from_->leave_queue(self);
  }
  self.fail_with(self.from_->ended_early(why));
}

}  // namespace conpool

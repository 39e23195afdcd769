#include <conpool/pool/acquire.h>

namespace conpool {

void lease::give_back(connection& lent) noexcept {
  lent.owner_->give_back(lent);
}

void acquire_awaiter::destroy() noexcept {
  if (state_ == state::waited) {
    waiter_.~acquire_waiter();
  } else {
    refused_.~error();
  }
}

bool acquire_waiter::begin(std::coroutine_handle<> handle, context* where,
                           duration timeout) noexcept {
  failure_ = from_->refusal();
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
void acquire_waiter::hand(connection& reserved) noexcept {
  CONPOOL_ASSERT(connection_ == nullptr && !failure_, "a waiter is served once");
  connection_ = &reserved;
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
    if (self.connection_ != nullptr) self.from_->lend_reserved(*self.connection_);
  }
  if (self.connection_ == nullptr && !self.failure_) return;
  self.disarm();
  self.resume_now();
}

void acquire_waiter::interrupt(wait_point& waiting, errc why) noexcept {
  auto& self = static_cast<acquire_waiter&>(waiting);
  if (connection* const reserved = std::exchange(self.connection_, nullptr)) {
    self.from_->take_back(*reserved);
  } else if (self.waiter_hook::is_linked()) {
    self.from_->leave_queue(self);
  }
  self.fail_with(self.from_->ended_early(why));
}

}  // namespace conpool

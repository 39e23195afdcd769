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
  if (timeout_ == duration::zero()) timeout_ = from.facts().config().acquire_timeout;
  // A deadline that has passed still takes an idle connection, as any timeout would.
  const duration left = options.deadline - from.facts().now();
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
  if (timeout == duration::zero()) timeout = from_->facts().config().acquire_timeout;
  if (!park(handle, where, saturating_add(home().now(), timeout))) {
    failure_ = from_->give_up(*this, nullptr, interrupted_by());
    return false;
  }
  from_->join_queue(*this);
  return true;
}

result<lease> acquire_waiter::take() noexcept {
  if (connection_ != nullptr) return lease(*connection_);
  return fail(std::move(*failure_));
}

void acquire_waiter::deliver(ready_node& node) noexcept {
  auto& self = static_cast<acquire_waiter&>(node);
  self.scheduled_ = false;
  if (self.connection_ != nullptr) {
    // The last look before it is lent. Reaping may take the connection away again, and then this
    // waiter is back at the head of the queue.
    self.from_->look_at_completions();
    // It may also have been handed another one; then it is on the ready queue again.
    if (self.scheduled_) return;
    if (self.connection_ != nullptr) self.from_->deliver(self, *self.connection_);
  }
  // A hook may have ended this wait, which is on the ready queue then.
  if (self.scheduled_ || (self.connection_ == nullptr && !self.failure_)) return;
  self.disarm();
  self.resume_now();
}

void acquire_waiter::interrupt(wait_point& waiting, errc why) noexcept {
  auto& self = static_cast<acquire_waiter&>(waiting);
  self.fail_with(self.from_->give_up(self, self.connection_, why));
}

}  // namespace conpool

// The connect of a stream.
#include <conpool/runtime/stream.h>

#include <cerrno>

namespace conpool {

bool stream::connect_awaiter::begin(std::coroutine_handle<> handle, context* where) noexcept {
  stream& source = *source_;
  if ((source.conditions_ & closing) != 0 || !park(handle, where, deadline_)) {
    code_ = -ECANCELED;
    return false;
  }
  source.connector_ = this;
  ++source.operations_;
  source.home_->ring().connect(*this, source.fd_, address_, length_);
  return true;
}

void stream::connect_awaiter::connected(operation& op) noexcept {
  auto& self = static_cast<connect_awaiter&>(op);
  stream& source = *self.source_;
  self.code_ = op.returned();
  source.connector_ = nullptr;
  if ((source.conditions_ & closing) != 0) {
    self.source_ = nullptr;
    self.code_ = -ECANCELED;
  }
  if (self.code_ < 0 && self.code_ != -ECANCELED) source.fail_with(self.code_);
  self.wake();
  source.operation_ended();
}

void stream::connect_awaiter::interrupt(wait_point& waiting, errc) noexcept {
  auto& self = static_cast<connect_awaiter&>(waiting);
  self.source_->home_->ring().cancel(self);
}

result<void> stream::connect_awaiter::await_resume() {
  if (code_ == 0) return {};
  errc why = errc::connect_failed;
  // The kernel may end an operation that nobody asked it to end.
  if (code_ == -ECANCELED && source_ == nullptr) why = errc::connection_closed;
  if (code_ == -ECANCELED && interrupted()) why = interrupted_by();
  // When the kernel gives up after its SYN retries, the caller sees the same error as at a
  // deadline.
  if (code_ == -ETIMEDOUT) why = errc::connect_timeout;
  const int system_errno = code_ == -ECANCELED ? 0 : -code_;
  if (source_ == nullptr) return fail(error(why, phase::connect, system_errno));
  return fail(source_->describe(why, phase::connect, system_errno));
}

}  // namespace conpool

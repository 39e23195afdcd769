// How a stream writes.
#include <conpool/runtime/stream.h>

#include <cerrno>
#include <string>
#include <utility>

namespace conpool {

bool stream::write_awaiter::begin(std::coroutine_handle<> handle, context* where) noexcept {
  stream& sink = *source_;
  if ((sink.conditions_ & (writing | closing)) != 0) {
    misused_ = (sink.conditions_ & writing) != 0;
    code_ = -ECANCELED;
    return false;
  }
  if (!park(handle, where)) {
    // Nothing was sent, but the caller's exchange is broken off.
    sink.mark(stream::broken_off);
    code_ = -ECANCELED;
    return false;
  }
  deadline_ = saturating_add(home().now(), timeout_);
  sink.watch_deadline(deadline_);
  sink.mark(writing);
  sink.mark(unanswered);
  sink.writer_ = this;
  ++sink.operations_;
  if (sink.coded_) [[unlikely]] {
    sink.coded_->encoded = 0;
    send_encoded();
  } else {
    sink.home_->ring().send(*this, sink.fd_, from_);
  }
  return true;
}

void stream::write_awaiter::sent(operation& op) noexcept {
  auto& self = static_cast<write_awaiter&>(op);
  stream& sink = *self.source_;
  const int code = op.returned();
  if (sink.coded_) [[unlikely]] {
    self.encoded_sent(code);
    return;
  }
  if (code > 0) {
    self.done_ += static_cast<std::size_t>(code);
    sink.bytes_sent_ += static_cast<std::size_t>(code);
    if (self.done_ < self.from_.size() && !self.wait_point::interrupted() &&
        (sink.conditions_ & closing) == 0) {
      sink.home_->ring().send(self, sink.fd_, self.from_.subspan(self.done_));
      return;
    }
    self.finish(self.done_ < self.from_.size() ? -ECANCELED : 0);
  } else {
    if (code != -ECANCELED) sink.fail_with(code == 0 ? -EPIPE : code);
    self.finish(code == 0 ? -EPIPE : code);
  }
  sink.operation_ended();
}

void stream::write_awaiter::finish(int code) noexcept {
  code_ = code;
  source_->clear(writing);
  source_->writer_ = nullptr;
  if (code == -ECANCELED || (code != 0 && wait_point::interrupted())) {
    source_->mark(stream::broken_off);
  }
  if (code != 0 && done_ > 0) source_->mark(stream::torn);
  if ((source_->conditions_ & closing) != 0) source_ = nullptr;
  wake();
}

void stream::write_awaiter::interrupt(wait_point& waiting, errc) noexcept {
  auto& self = static_cast<write_awaiter&>(waiting);
  self.source_->home_->ring().cancel(self);
}

result<void> stream::write_awaiter::await_resume() {
  if (done_ == from_.size() && code_ == 0) return {};
  if (code_ == codec_failed) [[unlikely]]
    return fail(codec_failure(source_, phase::write));
  errc why = classify(-code_);
  if (misused_) why = errc::invalid_argument;
  if (code_ == -ECANCELED && wait_point::interrupted()) why = interrupted_by();
  const int system_errno = code_ == -ECANCELED ? 0 : -code_;
  if (source_ == nullptr) return fail(error(why, phase::write, system_errno));
  error made = source_->describe(why, phase::write, system_errno);
  if (misused_) return fail(std::move(made).with_detail("another write is under way"));
  return fail(std::move(made).with_detail("after " + std::to_string(done_) + " of " +
                                          std::to_string(from_.size()) + " bytes"));
}

}  // namespace conpool

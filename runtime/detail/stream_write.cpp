// How a stream writes.
#include <conpool/runtime/stream.h>

#include <sys/uio.h>

#include <cerrno>
#include <climits>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

namespace conpool {

static_assert(sizeof(const_buffer) == sizeof(iovec) && alignof(const_buffer) == alignof(iovec) &&
                  std::is_standard_layout_v<const_buffer>,
              "the kernel reads an array of buffers as iovecs");

bool stream::write_awaiter::begin(std::coroutine_handle<> handle, context* where) noexcept {
  stream& sink = *source_;
  if ((sink.conditions_ & (writing | closing)) != 0) {
    misused_ = (sink.conditions_ & writing) != 0;
    code_ = -ECANCELED;
    return false;
  }
  if (!park(handle, where)) {
    // Nothing was sent, but the caller's exchange is broken off.
    sink.mark(stream::interrupted);
    code_ = -ECANCELED;
    return false;
  }
  deadline_ = saturating_add(home().now(), timeout_);
  sink.watch_deadline(deadline_);
  sink.mark(writing);
  sink.mark(wrote_last);
  sink.writer_ = this;
  ++sink.operations_;
  if (sink.coded_) [[unlikely]] {
    sink.coded_->encoded = 0;
    send_encoded();
  } else {
    send_more();
  }
  return true;
}

// Several pieces leave together, as many as a send may have. The rest of one of which only a part
// was taken goes by itself, and so does one that is too large.
void stream::write_awaiter::send_more() noexcept {
  ring& kernel = source_->home_->ring();
  if (!behind_.empty() && done_ == 0) {
    const const_buffer* const first = behind_.data() - 1;
    std::size_t count = 1;
    for (std::size_t bytes = from_.size(); count <= behind_.size() && count < IOV_MAX; ++count) {
      bytes += first[count].size();
      if (bytes > ring::send_max) break;
    }
    if (count > 1) {
      msghdr& message = static_cast<gather_awaiter*>(this)->message_;
      message.msg_iov = reinterpret_cast<iovec*>(const_cast<const_buffer*>(first));  // only read
      message.msg_iovlen = count;
      kernel.send_gathered(*this, source_->fd_, message);
      return;
    }
  }
  kernel.send(*this, source_->fd_, from_.subspan(done_));
}

void stream::write_awaiter::advance(std::size_t sent) noexcept {
  done_ += sent;
  while (done_ >= from_.size() && !behind_.empty()) {
    done_ -= from_.size();
    passed_ += from_.size();
    from_ = behind_.front().bytes();
    behind_ = behind_.subspan(1);
  }
}

std::size_t stream::write_awaiter::bytes_in_all() const noexcept {
  std::size_t sum = passed_ + from_.size();
  for (const const_buffer& piece : behind_) sum += piece.size();
  return sum;
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
    self.advance(static_cast<std::size_t>(code));
    sink.bytes_sent_ += static_cast<std::size_t>(code);
    if (!self.over() && self.may_go_on()) {
      self.send_more();
      return;
    }
    self.finish(self.over() ? 0 : -ECANCELED);
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
    source_->mark(stream::interrupted);
  }
  if (code != 0 && passed_ + done_ > 0) source_->mark(stream::torn);
  if ((source_->conditions_ & closing) != 0) source_ = nullptr;
  if (part_of_ != nullptr) {
    part_of_->write_over();
  } else {
    wake();
  }
}

void stream::write_awaiter::interrupt(wait_point& waiting, errc) noexcept {
  static_cast<write_awaiter&>(waiting).stop();
}

void stream::write_awaiter::stop() noexcept {
  source_->home_->ring().cancel(*this);
}

result<void> stream::write_awaiter::await_resume() {
  if (over() && code_ == 0) return {};
  if (code_ == codec_failed) [[unlikely]]
    return fail(codec_failure(source_, phase::write));
  errc why = classify(-code_);
  if (misused_) why = errc::invalid_argument;
  if (code_ == -ECANCELED && wait_point::interrupted()) why = interrupted_by();
  const int system_errno = code_ == -ECANCELED ? 0 : -code_;
  if (source_ == nullptr) return fail(error(why, phase::write, system_errno));
  error made = source_->describe(why, phase::write, system_errno);
  if (misused_) return fail(std::move(made).with_detail("another write is under way"));
  return fail(std::move(made).with_detail("after " + std::to_string(passed_ + done_) + " of " +
                                          std::to_string(bytes_in_all()) + " bytes"));
}

}  // namespace conpool

// How a stream reads: first what the posted receive brought, then straight from the socket.
#include <conpool/runtime/stream.h>

#include <cerrno>
#include <string>
#include <utility>

namespace conpool {

bool stream::read_awaiter::await_ready() noexcept {
  stream& source = *source_;
  if ((source.conditions_ & (reading | closing)) != 0) {
    misused_ = (source.conditions_ & reading) != 0;
    code_ = -ECANCELED;
    return true;
  }
  if (takes_nothing_) [[unlikely]]
    return is_readable();
  if ((source.conditions_ & read_ahead) != 0 && !fills_ahead_) [[unlikely]]
    take_ahead();
  if (source.coded_) [[unlikely]]
    return decode_ready();
  if ((source.conditions_ & has_data) != 0) {
    filled_ += source.take_unread(into_.subspan(filled_));
  }
  if (filled_ < minimum_ && filled_ < into_.size()) {
    if ((source.conditions_ & (ended | failed)) == 0 ||
        ((source.conditions_ & ended) == 0 && !source.read_failed_)) {
      return false;
    }
    at_end_ = (source.conditions_ & ended) != 0;
    code_ = at_end_ ? 0 : -source.failure_;
    return true;
  }
  // The bytes are there; when the inline budget is spent, other tasks go first all the same.
  ready_queue* const queue = ready_queue::current();
  return queue == nullptr || queue->spend_inline_budget();
}

// What a buffered_reader has left comes first.
void stream::read_awaiter::take_ahead() noexcept {
  filled_ = source_->ahead_.take(into_);
  if (source_->ahead_.empty()) source_->clear(read_ahead);
}

// For a wait that takes nothing: bytes, the end or a failure are there.
bool stream::read_awaiter::is_readable() const noexcept {
  stream& source = *source_;
  if ((source.conditions_ & (ended | failed | read_ahead)) != 0) return true;
  return source.coded_ ? source.has_plain_for_reader() : (source.conditions_ & has_data) != 0;
}

// Whether an end without bytes leaves somebody's message in the middle. A reader to whom nothing
// was owed, because nothing was asked or said on this lease, has only waited in vain.
bool stream::read_awaiter::breaks_off() const noexcept {
  if (takes_nothing_) return false;
  return filled_ > 0 || source_->bytes_sent_ > 0 || source_->bytes_received_ > 0 ||
         (source_->conditions_ & (wrote_last | writing)) != 0;
}

bool stream::read_awaiter::begin(std::coroutine_handle<> handle, context* where) noexcept {
  stream& source = *source_;
  if (!park(handle, where)) {
    if (breaks_off()) source.mark(stream::interrupted);
    code_ = -ECANCELED;
    return false;
  }
  deadline_ = saturating_add(home().now(), timeout_);
  source.watch_deadline(deadline_);
  source.mark(reading);
  source.reader_ = this;
  if (!takes_nothing_ && has_enough()) {
    finish(0);
  } else if (!source.receive_posted()) {
    receive_more();
  }
  return true;
}

void stream::read_awaiter::receive_more() noexcept {
  if (source_->coded_ || takes_nothing_) [[unlikely]] {
    source_->post_again();
    return;
  }
  ++source_->operations_;
  source_->home_->ring().receive(*this, source_->fd_, into_.subspan(filled_));
  source_->receive_place_ = source_->home_->ring().prepared();
}

void stream::read_awaiter::received(operation& op) noexcept {
  auto& self = static_cast<read_awaiter&>(op);
  stream& source = *self.source_;
  const int code = op.returned();
  source.receive_place_ = no_receive;
  if (code > 0) {
    const auto count = static_cast<std::size_t>(code);
    self.filled_ += count;
    source.bytes_received_ += count;
    source.clear(wrote_last);
    if (op.socket_nonempty()) {
      source.mark(more_data);
    } else {
      source.clear(more_data);
    }
    if (self.filled_ < self.minimum_ && !self.wait_point::interrupted() && !op.cancel_requested() &&
        (source.conditions_ & closing) == 0) {
      --source.operations_;
      self.receive_more();
      return;
    }
    self.finish(self.filled_ < self.minimum_ ? -ECANCELED : 0);
  } else if (code == 0) {
    if ((source.conditions_ & closing) == 0) self.at_end_ = true;
    source.mark(ended);
    self.finish(self.at_end_ ? 0 : -ECANCELED);
  } else {
    if (code != -ECANCELED) {
      source.fail_with(code);
      source.read_failed_ = true;
    }
    self.finish(code);
  }
  source.operation_ended();
}

// The stream may be freed before the task runs, so after this only the awaiter is looked at.
void stream::read_awaiter::finish(int code) noexcept {
  code_ = code;
  source_->clear(reading);
  source_->reader_ = nullptr;
  // The kernel may end an operation that nobody asked it to end; the message is cut all the same.
  // And it may have been done before it heard of the cancel; then nothing is cut.
  const bool cut = code == -ECANCELED || (code != 0 && wait_point::interrupted());
  if (cut && breaks_off()) {
    source_->mark(stream::interrupted);
  }
  if ((source_->conditions_ & closing) != 0) source_ = nullptr;
  if (part_of_ != nullptr) {
    part_of_->read_over();
  } else {
    wake();
  }
}

void stream::read_awaiter::interrupt(wait_point& waiting, errc) noexcept {
  static_cast<read_awaiter&>(waiting).stop();
}

void stream::read_awaiter::stop() noexcept {
  if (operation::in_flight()) {
    // The kernel may be writing into the caller's memory: wait for its answer.
    source_->home_->ring().cancel(*this);
  } else {
    // The posted receive stays: it has no memory of the caller's.
    finish(-ECANCELED);
  }
}

result<std::size_t> stream::read_awaiter::await_resume() {
  if (code_ == 0 && takes_nothing_) return std::size_t{0};
  if (!takes_nothing_ && has_enough()) return filled_;
  if (at_end_ && ends_in_zero_) return std::size_t{0};
  if (code_ == codec_failed) [[unlikely]]
    return fail(codec_failure(source_, phase::read));
  errc why = code_ == 0 ? errc::connection_closed : classify(-code_);
  if (misused_) why = errc::invalid_argument;
  if (code_ == -ECANCELED && wait_point::interrupted()) why = interrupted_by();
  const int system_errno = code_ == -ECANCELED ? 0 : -code_;
  if (source_ == nullptr) return fail(error(why, phase::read, system_errno));
  error made = source_->describe(why, phase::read, system_errno);
  if (misused_) return fail(std::move(made).with_detail("another read is under way"));
  if (filled_ > 0) {
    return fail(std::move(made).with_detail("after " + std::to_string(filled_) + " of " +
                                            std::to_string(minimum_) + " bytes"));
  }
  return fail(std::move(made));
}

}  // namespace conpool

#include <conpool/runtime/stream.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace conpool {
namespace {

// What a failed read or write means to its caller.
errc classify(int system_errno) noexcept {
  switch (system_errno) {
    case ECONNRESET:
    case EPIPE:
    case ETIMEDOUT:  // retransmission, keepalive or TCP_USER_TIMEOUT gave up
    case EHOSTUNREACH:
    case ENETUNREACH:
      return errc::connection_reset;
    case ENOMEM:
    case ENOBUFS:
      return errc::out_of_memory;
    case ECANCELED:
    case EBADF:
      return errc::connection_closed;
    default:
      return errc::io_failed;
  }
}

}  // namespace

stream::stream(shard& home, int fd, const std::string* name, const io_timeouts* timeouts,
               event_fn on_unread, event_fn on_closed)
    : operation(&stream::posted_receive_done),
      timer_node(&stream::look_at_deadlines),
      home_(&home),
      name_(name),
      timeouts_(timeouts),
      on_unread_(on_unread),
      on_closed_(on_closed),
      fd_(fd) {
  open_streams::of(home).add(*this);
}

stream::~stream() {
  CONPOOL_ASSERT(fd_ < 0 && operations_ == 0, "a stream was freed before it was closed");
}

error stream::describe(errc why, phase where, int system_errno) const {
  error made(why, where, system_errno);
  if (name_ == nullptr) return made;
  return std::move(made).about(*name_);
}

void stream::post_receive() noexcept {
  CONPOOL_ASSERT((conditions_ & (has_data | reading | closing)) == 0, "no receive can be posted");
  post_again();
}

void stream::post_again() noexcept {
  ++operations_;
  home_->ring().receive_posted(*this, fd_);
}

void stream::begin_probe() noexcept {
  CONPOOL_ASSERT((conditions_ & (has_data | reading | closing)) == 0, "no probe can be sent");
  ++operations_;
  mark(probing);
  home_->ring().peek(*this, fd_);
}

void stream::probe_done(int code) noexcept {
  clear(probing);
  if ((conditions_ & closing) != 0) {
    operation_ended();
    return;
  }
  if (code > 0) mark(more_data);
  if (code == 0) mark(ended);
  if (code < 0 && code != -EAGAIN && code != -EINTR) fail_with(code);
  --operations_;
  on_unread_(*this);  // may free this
}

void stream::posted_receive_done(operation& op) noexcept {
  auto& self = static_cast<stream&>(op);
  const int code = op.returned();
  if ((self.conditions_ & probing) != 0) [[unlikely]] {
    self.probe_done(code);
    return;
  }
  if (code > 0) {
    if (op.socket_nonempty()) {
      self.mark(more_data);
    } else {
      self.clear(more_data);
    }
    self.hold_buffer();
  } else if (code == 0) {
    self.mark(ended);
  } else if (code != -ENOBUFS && (self.conditions_ & (closing | detaching)) == 0) {
    self.fail_with(code);
    self.read_failed_ = true;
  }
  if ((self.conditions_ & detaching) != 0 && (self.conditions_ & closing) == 0) {
    --self.operations_;
    std::exchange(self.detacher_, nullptr)->wake();
    return;
  }
  if (self.codec_ != nullptr && self.reader_ != nullptr) [[unlikely]] {
    self.serve_coded_reader(code);
  } else if (read_awaiter* const reader = self.reader_) {
    // Straight into the reader's memory; only what it has no room for keeps the buffer.
    if (code > 0) reader->filled_ += self.take_unread(reader->into_.subspan(reader->filled_));
    if (code == 0 && (self.conditions_ & closing) == 0) reader->at_end_ = true;
    if ((self.conditions_ & closing) != 0) {
      reader->finish(-ECANCELED);
    } else if (code == 0 || (code < 0 && code != -ENOBUFS) || reader->filled_ >= reader->minimum_) {
      reader->finish(code < 0 ? code : 0);
    } else {
      reader->receive_more();
    }
  } else if ((self.conditions_ & closing) == 0) {
    // -ENOBUFS without a reader: something arrived, the owner has to look what it is. It may close
    // this, which frees it: the operation no longer counts, and nothing is touched afterwards.
    if (code == -ENOBUFS && self.codec_) self.mark(more_data);
    --self.operations_;
    self.on_unread_(self);
    return;
  }
  self.operation_ended();
}

void stream::hold_buffer() noexcept {
  held_buffer_ = operation::buffer_id();
  const auto received = home_->ring().buffer(held_buffer_, static_cast<std::size_t>(returned()));
  data_ = received.data();
  size_ = static_cast<std::uint32_t>(received.size());
  mark(has_data);
}

std::size_t stream::take_unread(std::span<std::byte> into) noexcept {
  const std::size_t count = std::min<std::size_t>(into.size(), size_);
  if (count > 0) std::memcpy(into.data(), data_, count);
  data_ += count;
  size_ -= static_cast<std::uint32_t>(count);
  bytes_received_ += count;
  clear(wrote_last);
  if (size_ == 0) drop_unread();
  return count;
}

void stream::drop_unread() noexcept {
  if ((conditions_ & has_data) == 0) return;
  clear(has_data);
  release_held();
}

void stream::release_held() noexcept {
  if (std::exchange(data_, nullptr) == nullptr) return;
  size_ = 0;
  if (held_buffer_ == spilled) {
    codec_->spill_.reset();
  } else {
    home_->ring().recycle_buffer(held_buffer_);
  }
}

void stream::fail_with(int code) noexcept {
  mark(failed);
  if (failure_ == 0) failure_ = -code;
}

void stream::begin_close() noexcept {
  if ((conditions_ & closing) != 0) return;
  if (codec_) [[unlikely]]
    say_farewell();
  // Without the shutdown no FIN leaves while the kernel still holds an operation on the socket; and
  // closing the descriptor would not end the operation. So: shut down, cancel, wait, close.
  // A connect has no FIN to send, and a shutdown would only make the kernel start it anew.
  if (operations_ != 0 && connector_ == nullptr) home_->ring().shutdown(fd_);
  end_operations();
}

void stream::begin_reset() noexcept {
  if ((conditions_ & closing) != 0) return;
  home_->ring().reset_on_close(fd_);
  end_operations();
}

void stream::end_operations() noexcept {
  home_->assert_owner();
  mark(closing);
  drop_unread();
  if (operations_ == 0) {
    finish_close();
    return;
  }
  if (operation::in_flight()) home_->ring().cancel(*this);
  if (reader_ != nullptr) home_->ring().cancel(*reader_);
  if (writer_ != nullptr) home_->ring().cancel(*writer_);
  if (connector_ != nullptr) home_->ring().cancel(*connector_);
  if (detacher_ != nullptr) std::exchange(detacher_, nullptr)->lost();
}

void stream::operation_ended() noexcept {
  CONPOOL_ASSERT(operations_ > 0, "more operations ended than were started");
  if (--operations_ == 0 && (conditions_ & closing) != 0) finish_close();
}

void stream::watch_deadline(time_point deadline) noexcept {
  if (timer_node::armed() && looks_at_ <= deadline) [[likely]]
    return;
  looks_at_ = deadline;
  home_->timers().arm(*this, deadline);
}

void stream::look_at_deadlines(timer_node& node) noexcept {
  auto& self = static_cast<stream&>(node);
  const time_point now = self.home_->now();
  if (self.reader_ != nullptr && !self.reader_->wait_point::interrupted()) {
    if (self.reader_->deadline_ <= now) {
      self.reader_->expire();
    } else {
      self.watch_deadline(self.reader_->deadline_);
    }
  }
  if (self.writer_ != nullptr && !self.writer_->wait_point::interrupted()) {
    if (self.writer_->deadline_ <= now) {
      self.writer_->expire();
    } else {
      self.watch_deadline(self.writer_->deadline_);
    }
  }
}

void stream::finish_close() noexcept {
  drop_unread();  // the posted receive may have brought bytes after the cancel was asked for
  home_->timers().cancel(*this);
  codec_.reset();
  home_->ring().close(fd_);
  fd_ = -1;
  open_streams::remove(*this);
  on_closed_(*this);  // may free this
}

// --- detach

stream::detach_awaiter stream::detach() noexcept {
  return detach_awaiter(*this);
}

bool stream::detach_awaiter::await_ready() noexcept {
  const std::uint32_t what = source_->conditions_;
  if ((what & closing) != 0 || source_->closed()) {
    refused_ = errc::connection_closed;
  } else if ((what & (reading | writing | probing | detaching)) != 0) {
    refused_ = errc::invalid_argument;
  } else if (source_->codec_) {
    refused_ = errc::unsupported;
  } else if ((what & failed) != 0) {
    refused_ = classify(source_->failure_);
  }
  return refused_ != errc{} || !source_->receive_posted();
}

void stream::detach_awaiter::await_suspend(std::coroutine_handle<> handle) noexcept {
  [[maybe_unused]] const bool parked = park(handle, nullptr);
  source_->mark(detaching);
  source_->detacher_ = this;
  source_->home_->ring().cancel(*source_);
}

// The stream was closed meanwhile, and may be freed before the task runs.
void stream::detach_awaiter::lost() noexcept {
  source_ = nullptr;
  refused_ = errc::connection_closed;
  wake();
}

result<detached> stream::detach_awaiter::await_resume() {
  if (source_ == nullptr) return fail(error(refused_, phase::none));
  // Between the receive's end and this somebody may have begun to close it.
  if (refused_ == errc{} && (source_->conditions_ & closing) != 0) {
    refused_ = errc::connection_closed;
  }
  if (refused_ == errc::invalid_argument) {
    return fail(
        source_->describe(refused_, phase::none, 0).with_detail("a read or write is under way"));
  }
  if (refused_ == errc::unsupported) {
    return fail(source_->describe(refused_, phase::none, 0)
                    .with_detail("a descriptor does not carry the state of TLS"));
  }
  if (refused_ != errc{}) return fail(source_->describe(refused_, phase::none, source_->failure_));
  return source_->take_descriptor();
}

detached stream::take_descriptor() {
  std::vector<std::byte> unread(data_, data_ + size_);
  drop_unread();
  mark(closing);  // nothing can be done with it any more
  home_->timers().cancel(*this);
  detached out(std::exchange(fd_, -1), std::move(unread));
  open_streams::remove(*this);
  on_closed_(*this);  // may free this
  return out;
}

// --- read

bool stream::read_awaiter::await_ready() noexcept {
  stream& source = *source_;
  if ((source.conditions_ & (reading | closing)) != 0) {
    misused_ = (source.conditions_ & reading) != 0;
    code_ = -ECANCELED;
    return true;
  }
  if (source.codec_) [[unlikely]]
    return decode_ready();
  if ((source.conditions_ & has_data) != 0) filled_ = source.take_unread(into_);
  if (filled_ < minimum_ && filled_ < into_.size()) {
    if ((source.conditions_ & (ended | failed)) == 0 ||
        ((source.conditions_ & ended) == 0 && !source.read_failed_)) {
      return false;
    }
    at_end_ = (source.conditions_ & ended) != 0;
    code_ = at_end_ ? 0 : -source.failure_;
    return true;
  }
  // Bytes were there; now and then give the others their turn all the same.
  ready_queue* const queue = ready_queue::current();
  return queue == nullptr || queue->spend_inline_budget();
}

bool stream::read_awaiter::begin(std::coroutine_handle<> handle, context* where) noexcept {
  stream& source = *source_;
  if (!park(handle, where)) {
    source.mark(stream::interrupted);
    code_ = -ECANCELED;
    return false;
  }
  deadline_ = saturating_add(home().now(), timeout_);
  source.watch_deadline(deadline_);
  source.mark(reading);
  source.reader_ = this;
  if (filled_ >= minimum_ || filled_ == into_.size()) {
    finish(0);
  } else if (!source.receive_posted()) {
    receive_more();
  }
  return true;
}

void stream::read_awaiter::receive_more() noexcept {
  if (source_->codec_) [[unlikely]] {
    source_->post_again();
    return;
  }
  ++source_->operations_;
  source_->home_->ring().receive(*this, source_->fd_, into_.subspan(filled_));
}

void stream::read_awaiter::received(operation& op) noexcept {
  auto& self = static_cast<read_awaiter&>(op);
  stream& source = *self.source_;
  const int code = op.returned();
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
    if (self.filled_ < self.minimum_ && !self.wait_point::interrupted() &&
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

// The stream may be freed before the task runs: after this only the awaiter is looked at.
void stream::read_awaiter::finish(int code) noexcept {
  code_ = code;
  source_->clear(reading);
  source_->reader_ = nullptr;
  // The kernel may end an operation that nobody asked it to: the message is cut all the same.
  if (code == -ECANCELED || wait_point::interrupted()) source_->mark(stream::interrupted);
  if ((source_->conditions_ & closing) != 0) source_ = nullptr;
  wake();
}

void stream::read_awaiter::interrupt(wait_point& waiting, errc) noexcept {
  auto& self = static_cast<read_awaiter&>(waiting);
  if (self.operation::in_flight()) {
    // The kernel may be writing into the caller's memory: wait for its answer.
    self.source_->home_->ring().cancel(self);
  } else {
    // The posted receive stays: it has no memory of the caller's.
    self.finish(-ECANCELED);
  }
}

result<std::size_t> stream::read_awaiter::await_resume() {
  if (filled_ >= minimum_ || filled_ == into_.size()) return filled_;
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

// --- write

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
  if (sink.codec_) [[unlikely]] {
    sink.codec_->encoded_ = 0;
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
  if (sink.codec_) [[unlikely]] {
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
    source_->mark(stream::interrupted);
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

// --- connect

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
  // The kernel may end what nobody asked it to end.
  if (code_ == -ECANCELED && source_ == nullptr) why = errc::connection_closed;
  if (code_ == -ECANCELED && interrupted()) why = interrupted_by();
  // The kernel's own give-up after its SYN retries reads the same to a caller as ours.
  if (code_ == -ETIMEDOUT) why = errc::connect_timeout;
  const int system_errno = code_ == -ECANCELED ? 0 : -code_;
  if (source_ == nullptr) return fail(error(why, phase::connect, system_errno));
  return fail(source_->describe(why, phase::connect, system_errno));
}

}  // namespace conpool

#include <conpool/runtime/stream.h>

#include <cerrno>
#include <utility>

#include <conpool/runtime/detail/fork_state.h>
#include <poll.h>

namespace conpool {

stream::stream(shard& home, int fd, const std::string* name, const io_timeouts* timeouts,
               event_fn on_unread, event_fn on_closed)
    : stream_state(home, fd, name),
      operation(&stream::posted_receive_done),
      timer_node(&stream::look_at_deadlines),
      timeouts_(timeouts),
      on_unread_(on_unread),
      on_closed_(on_closed) {
  open_streams::of(home).add(*this);
}

stream::~stream() {
  CONPOOL_ASSERT_ENDED(fd_ < 0 && operations_ == 0, "a stream was freed before it was closed");
}

void stream::post_receive() noexcept {
  CONPOOL_ASSERT((conditions_ & (has_data | reading | closing)) == 0, "no receive can be posted");
  post_again();
}

void stream::post_again() noexcept {
  ++operations_;
  home_->ring().receive_posted(*this, fd_);
  receive_place_ = home_->ring().prepared();
}

void stream::watch_end() noexcept {
  CONPOOL_ASSERT((conditions_ & has_data) != 0 && (conditions_ & (reading | closing)) == 0 &&
                     !receive_posted(),
                 "nothing is unread, or somebody reads");
  ++operations_;
  mark(end_watch);
  home_->ring().poll(*this, fd_, POLLRDHUP);
}

void stream::stop_end_watch() noexcept {
  if ((conditions_ & end_watch) != 0) home_->ring().cancel(*this);
}

void stream::end_watch_done(int code) noexcept {
  clear(end_watch);
  if ((conditions_ & closing) != 0) {
    if (reader_ != nullptr) reader_->finish(-ECANCELED);
    operation_ended();
    return;
  }
  --operations_;
  if ((conditions_ & detaching) != 0) {
    std::exchange(detacher_, nullptr)->wake();
  } else if (reader_ != nullptr) {
    reader_->receive_more();
  } else {
    // Once the watch was stopped, its bytes and its end are a reader's to find.
    if (code > 0 && !operation::cancel_requested()) mark(ended);
    on_unread_(*this);  // may free this
  }
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
  self.receive_place_ = no_receive;
  if ((self.conditions_ & (probing | end_watch)) != 0) [[unlikely]] {
    if ((self.conditions_ & probing) != 0) {
      self.probe_done(code);
    } else {
      self.end_watch_done(code);
    }
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
  if (self.coded_ != nullptr && self.reader_ != nullptr) [[unlikely]] {
    self.serve_coded_reader(code);
  } else if (read_awaiter* const reader = self.reader_) {
    // The bytes go straight into the reader's memory; only what it has no room for keeps the
    // buffer.
    if (code > 0) reader->filled_ += self.take_unread(reader->into_.subspan(reader->filled_));
    if (code == 0 && (self.conditions_ & closing) == 0) reader->at_end_ = true;
    if ((self.conditions_ & closing) != 0) {
      reader->finish(-ECANCELED);
    } else if (code == 0 || (code < 0 && code != -ENOBUFS) || reader->filled_ >= reader->minimum_) {
      // Without a buffer the bytes are in the socket still, where a reader that takes nothing may
      // leave them.
      const bool left = code == -ENOBUFS;
      if (left) self.mark(more_data);
      reader->finish(code < 0 && !left ? code : 0);
    } else {
      reader->receive_more();
    }
  } else if ((self.conditions_ & closing) == 0) {
    // After -ENOBUFS without a reader something has arrived, and the owner has to look at what it
    // is. The owner may close the stream, which frees it: so the operation no longer counts, and
    // nothing is touched afterwards.
    if (code == -ENOBUFS && self.coded_) self.mark(more_data);
    --self.operations_;
    self.on_unread_(self);
    return;
  }
  self.operation_ended();
}

void stream::hold_buffer() noexcept {
  const std::uint16_t id = operation::buffer_id();
  held_.hold(id, home_->ring().buffer(id, static_cast<std::size_t>(returned())));
  mark(has_data);
}

std::size_t stream::take_unread(std::span<std::byte> into) noexcept {
  const std::size_t count = held_.take(into);
  bytes_received_ += count;
  clear(wrote_last);
  if (held_.empty()) drop_unread();
  return count;
}

void stream::drop_unread() noexcept {
  if ((conditions_ & has_data) == 0) return;
  clear(has_data);
  release_held();
}

void stream::release_held() noexcept {
  if (!held_.release()) return;
  if (held_.buffer() == held_bytes::own_memory) {
    coded_->spill.reset();
  } else {
    home_->ring().recycle_buffer(held_.buffer());
  }
}

}  // namespace conpool

// How a stream ends, by close or reset, and how its reads and writes end by their deadlines.
#include <conpool/runtime/stream.h>

#include <conpool/runtime/detail/fork_state.h>

#include <utility>

namespace conpool {

void stream::begin_close() noexcept {
  if ((conditions_ & closing) != 0) return;
  if (home_->ring().forked()) [[unlikely]]
    return end_operations();
  if (coded_) [[unlikely]]
    say_farewell();
  // Without the shutdown no FIN leaves while the kernel still holds an operation on the socket, and
  // closing the descriptor would not end the operation. So the order is: shut down, cancel, wait,
  // close. A connect has no FIN to send, and a shutdown would only make the kernel start it anew.
  // And once this process has forked, closing alone would not send the FIN while the child lives.
  const bool shared = detail::forked_parent.load(std::memory_order_relaxed);
  if ((operations_ != 0 || shared) && connector_ == nullptr) home_->ring().shutdown(fd_);
  end_operations();
}

void stream::begin_reset() noexcept {
  if ((conditions_ & closing) != 0) return;
  if (!home_->ring().forked()) home_->ring().reset_on_close(fd_);
  end_operations();
}

void stream::end_operations() noexcept {
  home_->assert_owner();
  mark(closing);
  drop_unread();
  if (home_->ring().forked()) [[unlikely]] {
    // In a child of fork() nothing of it is in flight; the connection is the parent's.
    home_->ring().cancel(*this);
    if (detacher_ != nullptr) std::exchange(detacher_, nullptr)->lost();
    reader_ = nullptr;
    writer_ = nullptr;
    connector_ = nullptr;
    operations_ = 0;
  }
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

// close(2) of a connection costs the kernel some microseconds, and when a server goes, thousands of
// them end in one turn. What is above the turn's budget waits for the next.
void stream::finish_close() noexcept {
  if (open_streams::may_close_now(*this)) close_descriptor();
}

void stream::close_descriptor() noexcept {
  drop_unread();  // the posted receive may have brought bytes after the cancel was asked for
  home_->timers().cancel(*this);
  coded_.reset();
  home_->ring().close(fd_);
  fd_ = -1;
  open_streams::remove(*this);
  on_closed_(*this);  // may free this
}

}  // namespace conpool

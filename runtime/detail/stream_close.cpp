// How a stream ends, by close or reset, and how its reads and writes end by their deadlines.
#include <conpool/runtime/stream.h>

#include <utility>

namespace conpool {

void stream::begin_close() noexcept {
  if ((conditions_ & closing) != 0) return;
  if (coded_) [[unlikely]]
    say_farewell();
  // Without the shutdown no FIN leaves while the kernel still holds an operation on the socket, and
  // closing the descriptor would not end the operation. So the order is: shut down, cancel, wait,
  // close. A connect has no FIN to send, and a shutdown would only make the kernel start it anew.
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
  coded_.reset();
  home_->ring().close(fd_);
  fd_ = -1;
  open_streams::remove(*this);
  on_closed_(*this);  // may free this
}

}  // namespace conpool

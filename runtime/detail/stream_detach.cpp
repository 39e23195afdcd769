// How a stream gives its descriptor away.
#include <conpool/runtime/stream.h>

#include <utility>
#include <vector>

namespace conpool {

stream::detach_awaiter stream::detach() noexcept {
  return detach_awaiter(*this);
}

bool stream::detach_awaiter::await_ready() noexcept {
  const std::uint32_t what = source_->conditions_;
  if ((what & closing) != 0 || source_->closed()) {
    refused_ = errc::connection_closed;
  } else if (source_->home_->ring().forked()) {
    refused_ = errc::forked;
  } else if ((what & (reading | writing | probing | detaching)) != 0) {
    refused_ = errc::invalid_argument;
  } else if (source_->coded_) {
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

// The stream was closed meanwhile and may be freed before the task runs.
void stream::detach_awaiter::lost() noexcept {
  source_ = nullptr;
  refused_ = errc::connection_closed;
  wake();
}

result<detached> stream::detach_awaiter::await_resume() {
  if (source_ == nullptr) return fail(error(refused_, phase::none));
  // Since the receive ended, somebody may have begun to close the stream.
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
  const std::span<const std::byte> held = held_.bytes();
  const auto ahead = std::as_bytes(std::span(ahead_.view()));
  std::vector<std::byte> unread(ahead.begin(), ahead.end());
  unread.insert(unread.end(), held.begin(), held.end());
  drop_unread();
  mark(closing);  // from here on nothing can be done with the stream
  home_->timers().cancel(*this);
  detached out(std::exchange(fd_, -1), std::move(unread));
  open_streams::remove(*this);
  on_closed_(*this);  // may free this
  return out;
}

}  // namespace conpool

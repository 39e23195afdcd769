// A connection that left the library: its descriptor, and what had been received on it already.
//
//   auto out = co_await lease.detach();
//   if (!out) co_return;
//   consume(out->unread());                    // comes before whatever recv(2) returns next
//   hand_to_another_library(out->release());   // theirs from here
//
// Move-only; closes the descriptor unless it was released. A blocking socket with the pool's
// options; no operation is in flight on it. May travel to any thread.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace conpool {

class detached {
 public:
  detached(int fd, std::vector<std::byte> unread) noexcept : fd_(fd), unread_(std::move(unread)) {}
  detached(detached&& other) noexcept : fd_(other.release()), unread_(std::move(other.unread_)) {}
  detached& operator=(detached&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(unread_, other.unread_);
    return *this;
  }
  // Not through a ring: it belongs to none any more.
  ~detached() {
    if (fd_ >= 0) ::close(fd_);
  }

  int fd() const noexcept { return fd_; }
  // The descriptor, no longer this object's.
  int release() noexcept { return std::exchange(fd_, -1); }
  std::span<const std::byte> unread() const noexcept { return unread_; }

 private:
  int fd_;
  std::vector<std::byte> unread_;
};

}  // namespace conpool

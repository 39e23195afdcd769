// A connection that left the library: its descriptor, and the bytes that were received on it but
// not read.
//
//   auto out = co_await lease.detach();
//   if (!out) co_return;
//   consume(out->unread());                    // comes before whatever recv(2) returns next
//   hand_to_another_library(out->release());   // the descriptor is theirs from here
//
// The object is move-only and closes the descriptor unless it was released. The socket is a
// blocking one with the pool's options, and no operation is in flight on it. It may be used on any
// thread, by one thread at a time.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <conpool/runtime/detail/requirements.h>

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
  // The close goes through no ring, because the descriptor belongs to none any more.
  ~detached() {
    if (fd_ >= 0) ::close(fd_);
  }

  int fd() const noexcept { return fd_; }
  // Returns the descriptor, which the caller owns from here; -1 if it was released before.
  int release() noexcept { return std::exchange(fd_, -1); }
  std::span<const std::byte> unread() const noexcept { return unread_; }

 private:
  int fd_;
  std::vector<std::byte> unread_;
};

}  // namespace conpool

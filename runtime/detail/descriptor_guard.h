// Closes a descriptor unless it is released first: for code between getting one and giving it an
// owner, where an allocation may throw.
//
//   descriptor_guard opened(kernel.open_socket(AF_INET));
//   body_ = new body(home, opened.get());          // closes it if this throws
//   opened.release();
//
// It may be used on any thread. A negative number is no descriptor, and is left alone.
#pragma once

#include <utility>

#include <conpool/runtime/detail/socket_calls.h>

namespace conpool {

class descriptor_guard {
 public:
  explicit descriptor_guard(int fd) noexcept : fd_(fd) {}
  ~descriptor_guard() {
    if (fd_ >= 0) socket_calls::close(fd_);
  }
  descriptor_guard(const descriptor_guard&) = delete;
  descriptor_guard& operator=(const descriptor_guard&) = delete;

  int get() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace conpool

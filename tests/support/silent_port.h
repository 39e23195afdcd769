// A loopback port where nothing listens. It is bound, so that nobody else takes it. With a backlog
// it listens but never accepts, and once it is filled it is a black hole.
#pragma once

#include <gtest/gtest.h>

#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include <conpool/runtime/address.h>

namespace conpool::test {

class silent_port {
 public:
  explicit silent_port(int backlog = -1) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const socket_address any = socket_address::ip("127.0.0.1", 0).value();
    EXPECT_EQ(::bind(fd_, any.data(), any.size()), 0);
    if (backlog >= 0) {
      EXPECT_EQ(::listen(fd_, backlog), 0);
    }
    sockaddr_storage at{};
    socklen_t length = sizeof at;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &length);
    address_ = socket_address::from(reinterpret_cast<sockaddr*>(&at), length).value();
  }
  ~silent_port() {
    for (const int fd : fillers_) ::close(fd);
    ::close(fd_);
  }
  silent_port(const silent_port&) = delete;
  silent_port& operator=(const silent_port&) = delete;

  // Fills the accept queue, so that further connects get no answer: a black hole on loopback.
  void fill() {
    for (int i = 0; i < 4; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      static_cast<void>(::connect(fd, address_.data(), address_.size()));
      fillers_.push_back(fd);
    }
  }
  std::string text() const { return "tcp://" + address_.to_string(); }

 private:
  int fd_ = -1;
  socket_address address_;
  std::vector<int> fillers_;
};

}  // namespace conpool::test

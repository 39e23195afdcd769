// Sockets of the kernel without the library: the other end of what a test looks at.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <utility>

namespace conpool::test {

// A descriptor that closes itself.
class unique_fd {
 public:
  explicit unique_fd(int fd = -1) noexcept : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept : fd_(other.release()) {}
  unique_fd& operator=(unique_fd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  ~unique_fd() { reset(); }

  int get() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }
  // close(2) sends a reset instead of an orderly end.
  void reset_connection() noexcept {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    reset();
  }

 private:
  int fd_;
};

struct socket_pair {
  unique_fd near;
  unique_fd far;
};

// A listening TCP socket on loopback and where it listens.
struct raw_listener {
  unique_fd fd;
  sockaddr_in address{};
};

inline raw_listener listen_on_loopback(int backlog) {
  raw_listener made;
  made.fd.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  made.address.sin_family = AF_INET;
  made.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof made.address;
  auto* const generic = reinterpret_cast<sockaddr*>(&made.address);
  EXPECT_EQ(::bind(made.fd.get(), generic, length), 0);
  EXPECT_EQ(::listen(made.fd.get(), backlog), 0);
  EXPECT_EQ(::getsockname(made.fd.get(), generic, &length), 0);
  return made;
}

inline socket_pair connect_to(const raw_listener& door) {
  socket_pair made;
  made.near.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(made.near.get(), reinterpret_cast<const sockaddr*>(&door.address),
                      sizeof door.address),
            0);
  made.far.reset(::accept4(door.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
  EXPECT_GE(made.far.get(), 0);
  return made;
}

// Two connected TCP sockets on loopback.
inline socket_pair tcp_pair() {
  const raw_listener door = listen_on_loopback(8);
  return connect_to(door);
}

// Two connected Unix sockets.
inline socket_pair unix_pair() {
  int fds[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  socket_pair made;
  made.near.reset(fds[0]);
  made.far.reset(fds[1]);
  return made;
}

inline void send_all(const unique_fd& to, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(to.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    ASSERT_GT(sent, 0);
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

// What has arrived, without waiting: the bytes, or "" if there are none.
inline std::string receive_now(const unique_fd& from, std::size_t bytes_max = 65536) {
  std::string got(bytes_max, '\0');
  const ssize_t count = ::recv(from.get(), got.data(), got.size(), MSG_DONTWAIT);
  got.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return got;
}

}  // namespace conpool::test

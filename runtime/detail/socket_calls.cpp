#include <conpool/runtime/detail/socket_calls.h>

#include <cerrno>
#include <cstdint>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace conpool {
namespace {

int code(int returned) noexcept {
  return returned < 0 ? -errno : returned;
}

}  // namespace

// The socket blocks on purpose: on a non-blocking one io_uring answers EAGAIN instead of waiting.
int socket_calls::open_socket(int family) noexcept {
  return code(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

int socket_calls::set_option(int fd, int level, int name, int value) noexcept {
  return code(::setsockopt(fd, level, name, &value, sizeof value));
}

int socket_calls::bind(int fd, const sockaddr* address, socklen_t length) noexcept {
  return code(::bind(fd, address, length));
}

int socket_calls::listen(int fd, int backlog) noexcept {
  return code(::listen(fd, backlog));
}

int socket_calls::local_address(int fd, sockaddr_storage& address, socklen_t& length) noexcept {
  length = sizeof address;
  return code(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length));
}

int socket_calls::peer_address(int fd, sockaddr_storage& address, socklen_t& length) noexcept {
  length = sizeof address;
  return code(::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length));
}

int socket_calls::set_blocking(int fd) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  return code(::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK));
}

int socket_calls::shutdown(int fd) noexcept {
  return code(::shutdown(fd, SHUT_RDWR));
}

int socket_calls::reset_on_close(int fd) noexcept {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  return code(::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
}

int socket_calls::peek(int fd) noexcept {
  char byte;
  return code(static_cast<int>(::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT)));
}

int socket_calls::send_now(int fd, std::span<const std::byte> bytes) noexcept {
  return code(
      static_cast<int>(::send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL)));
}

int socket_calls::receive_now(int fd, std::span<std::byte> memory) noexcept {
  return code(static_cast<int>(::recv(fd, memory.data(), memory.size(), MSG_DONTWAIT)));
}

// Linux frees the descriptor even when close(2) reports EINTR, so there is nothing to retry.
void socket_calls::close(int fd) noexcept {
  ::close(fd);
}

int socket_calls::open_event() noexcept {
  return code(::eventfd(0, EFD_CLOEXEC));
}

void socket_calls::signal_event(int event_fd) noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(event_fd, &one, sizeof one);
}

}  // namespace conpool

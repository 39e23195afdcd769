// The socket calls that never wait: plain system calls, behind the same door as the ring.
//
// The base of ring, so that code asks one object for everything it wants of the kernel, and a
// simulated network can answer for both. It has no state. close(), open_event() and signal_event()
// may be called on any thread, everything else on the ring's.
//
// Each returns a count, a descriptor or 0, and a negative errno value if it fails.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <span>

#include <conpool/runtime/detail/export.h>

namespace conpool {

class socket_calls {
 public:
  int open_socket(int family) noexcept;  // SOCK_STREAM, close-on-exec
  int set_option(int fd, int level, int name, int value) noexcept;
  int bind(int fd, const sockaddr* address, socklen_t length) noexcept;
  int listen(int fd, int backlog) noexcept;
  int local_address(int fd, sockaddr_storage& address, socklen_t& length) noexcept;
  int peer_address(int fd, sockaddr_storage& address, socklen_t& length) noexcept;
  int set_blocking(int fd) noexcept;    // takes O_NONBLOCK off
  int shutdown(int fd) noexcept;        // both directions
  int reset_on_close(int fd) noexcept;  // SO_LINGER 0: close(2) sends a RST
  // What waits in the receive queue: bytes (at least 1), 0 at the end of the stream, -EAGAIN if
  // nothing does. recv(2) with MSG_PEEK | MSG_DONTWAIT.
  int peek(int fd) noexcept;
  // What can be sent or received without waiting: a count (0 received: the end of the stream),
  // -EAGAIN if that is nothing, or the socket's error. For the rare bytes that cannot wait for a
  // turn: the last ones of a connection, and those that found no receive buffer.
  int send_now(int fd, std::span<const std::byte> bytes) noexcept;
  int receive_now(int fd, std::span<std::byte> memory) noexcept;
  static void close(int fd) noexcept;  // any thread

  // Wake-ups from threads without a ring: an eventfd(2), whose read the owner keeps in flight.
  static int open_event() noexcept;  // a descriptor, or -errno; any thread
  CONPOOL_API static void signal_event(int event_fd) noexcept;  // any thread

 protected:
  socket_calls() = default;
  ~socket_calls() = default;
};

}  // namespace conpool

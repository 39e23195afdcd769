// A stream socket that a task owns: what servers accept, and clients without a pool connect.
//
//   auto peer = co_await connect_socket(home, address, {}, 3s);
//   if (!peer) co_return;
//   auto sent = co_await (*peer)->write("PING\r\n");
//
// Move-only; the destructor begins to close and returns at once, without waiting for the kernel.
// Used on its shard's thread only; it may outlive its shard, and is closed then.
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include <conpool/runtime/address.h>
#include <conpool/runtime/stream.h>
#include <conpool/runtime/task.h>

namespace conpool {

// Options of a TCP socket; without effect on Unix sockets. A trivial struct: safe in a co_await.
struct socket_options {
  bool nodelay = true;     // TCP_NODELAY
  bool keepalive = false;  // SO_KEEPALIVE, with the three below
  std::chrono::seconds keepalive_idle{30};
  std::chrono::seconds keepalive_interval{5};
  unsigned keepalive_probes = 3;
  // TCP_USER_TIMEOUT: unacknowledged bytes fail the connection after this; 0 leaves the default.
  std::chrono::milliseconds user_timeout{0};
  io_timeouts timeouts{};
};

// Sets them on a socket of `family`. Returns 0 or the first negative errno.
int apply_socket_options(ring& kernel, int fd, int family, const socket_options& options) noexcept;

class socket {
 public:
  // Takes over a connected descriptor. `name` is what errors say it is about.
  socket(shard& home, int fd, std::string name, const io_timeouts& timeouts = {});
  socket(socket&& other) noexcept : body_(std::exchange(other.body_, nullptr)) {}
  socket& operator=(socket&& other) noexcept {
    if (this != &other) {
      close();
      body_ = std::exchange(other.body_, nullptr);
    }
    return *this;
  }
  ~socket() { close(); }

  stream* operator->() const noexcept;
  stream& operator*() const noexcept { return *operator->(); }
  explicit operator bool() const noexcept { return body_ != nullptr; }
  // Begins to close; whatever waits on it ends with connection_closed. Idempotent.
  void close() noexcept;
  // The same with a reset instead of an orderly end.
  void reset() noexcept;

 private:
  struct body;
  static void let_go(body& owned) noexcept;
  body* body_;
};

// Connects to one address. Errors: connect_failed, connect_timeout after `timeout`, too_many_files,
// cancelled and the like, each about the address.
task<result<socket>> connect_socket(shard& home, socket_address to, socket_options options,
                                    duration timeout);

}  // namespace conpool

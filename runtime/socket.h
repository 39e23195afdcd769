// A stream socket that a task owns: what a server accepts, and what a client without a pool
// connects.
//
//   auto peer = co_await connect_socket(home, address, {}, 3s);
//   if (!peer) co_return;
//   auto sent = co_await (*peer)->write("PING\r\n");
//
// It is move-only. The destructor begins to close and returns at once, without waiting for the
// kernel. A socket is used on its shard's thread only. It may outlive its shard, which closes it
// when it stops.
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include <conpool/runtime/address.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/stream.h>
#include <conpool/runtime/task.h>

namespace conpool {

// The options of a TCP socket; they have no effect on Unix sockets. The struct is trivial, so it is
// safe to write in a co_await.
struct socket_options {
  bool nodelay = true;     // TCP_NODELAY
  bool keepalive = false;  // SO_KEEPALIVE, with the three below
  std::chrono::seconds keepalive_idle{30};
  std::chrono::seconds keepalive_interval{5};
  unsigned keepalive_probes = 3;
  // TCP_USER_TIMEOUT: the connection fails when bytes stay unacknowledged for this long. 0 leaves
  // the system's default.
  std::chrono::milliseconds user_timeout{0};
  io_timeouts timeouts{};
};

// For the parts of the library: sets the options on a socket of `family`. Returns 0, or the
// negative errno of the first that failed.
int apply_socket_options(ring& kernel, int fd, int family, const socket_options& options) noexcept;

class CONPOOL_API socket {
 public:
  // Takes over a connected descriptor, and closes it in the end, also if this throws
  // (std::bad_alloc). `name` is the subject of errors.
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
  // Begins to close; whatever waits on the socket ends with connection_closed. A second call does
  // nothing. The socket is empty afterwards.
  void close() noexcept;
  // Does the same with a reset instead of an orderly end.
  void reset() noexcept;

 private:
  struct body;
  static void let_go(body& owned) noexcept;
  body* body_;
};

// Connects to one address. Errors: connect_failed, connect_timeout after `timeout`, too_many_files,
// and the context's (cancelled, deadline_exceeded, shard_stopped). The address is the subject of
// each.
CONPOOL_API task<result<socket>> connect_socket(shard& home, socket_address to,
                                                socket_options options, duration timeout);

}  // namespace conpool

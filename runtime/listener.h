// A listening socket on a shard, for servers and for tests of clients.
//
//   auto address = socket_address::ip("127.0.0.1", 0).value();
//   auto door = listener::open(home, address);
//   if (!door) co_return;
//   for (;;) {
//     auto peer = co_await door->accept();
//     if (!peer) break;                       // cancelled
//     sessions.spawn(serve, std::move(*peer));
//   }
//
// It is move-only and used on its shard's thread only. Close or destroy it while no accept is
// waiting, and before its shard is destroyed.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <utility>

#include <conpool/runtime/address.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/detail/operation.h>
#include <conpool/runtime/detail/timers.h>
#include <conpool/runtime/detail/wait_point.h>
#include <conpool/runtime/socket.h>

namespace conpool {

struct listen_options {
  int backlog = 1024;         // as listen(2): connections that wait to be accepted
  bool reuse_address = true;  // SO_REUSEADDR
  bool reuse_port = false;    // SO_REUSEPORT: several shards share one port
  socket_options accepted{};  // set on each accepted socket
};

class CONPOOL_API listener {
 public:
  // Binds and listens; with port 0 the kernel picks a free one. Errors: io_failed with the address
  // and errno, too_many_files.
  static result<listener> open(shard& home, const socket_address& at,
                               const listen_options& options = {});
  listener(listener&& other) noexcept
      : home_(other.home_),
        fd_(std::exchange(other.fd_, -1)),
        address_(other.address_),
        options_(other.options_),
        shortages_(other.shortages_) {}
  listener& operator=(listener&&) = delete;
  ~listener() { close(); }

  // The address it listens on, with the port that the kernel picked.
  const socket_address& address() const noexcept { return address_; }
  void close() noexcept;

  class accept_awaiter;
  // Awaits result<socket>: the next connection. The listener must outlive it. It has no deadline
  // and waits until one comes or the context is cancelled. Errors: cancelled, deadline_exceeded or
  // shard_stopped; io_failed.
  //
  // While the process or the system is out of descriptors, it waits for a free one, too: it tries
  // again after 10 ms, 20 ms and so on up to 200 ms, and connections wait in the backlog meanwhile.
  accept_awaiter accept() noexcept;
  // How often an accept found no free descriptor since the listener was opened.
  std::uint64_t shortages() const noexcept { return shortages_; }

 private:
  listener(shard& home, int fd, const socket_address& address,
           const listen_options& options) noexcept
      : home_(&home), fd_(fd), address_(address), options_(options) {}

  shard* home_;
  int fd_;
  socket_address address_;
  listen_options options_;
  std::uint64_t shortages_ = 0;
};

class listener::accept_awaiter : public wait_point, private operation {
 public:
  explicit accept_awaiter(listener& door) noexcept
      : wait_point(*door.home_, &accept_awaiter::interrupt, errc::cancelled),
        operation(&accept_awaiter::accepted),
        door_(&door),
        pause_(*this),
        code_(-ECANCELED) {}
  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    if (!park(handle, context_of(handle))) return false;
    home().ring().accept(*this, door_->fd_);
    return true;
  }
  [[nodiscard]] result<socket> await_resume();

 private:
  // Between two tries, for want of a descriptor.
  struct pause : conpool::timer_node {
    explicit pause(accept_awaiter& waiting) noexcept
        : conpool::timer_node(&accept_awaiter::try_again), of(&waiting) {}
    accept_awaiter* of;
  };

  static void accepted(operation& op) noexcept;
  static void try_again(conpool::timer_node& node) noexcept;
  static void interrupt(wait_point& waiting, errc why) noexcept;

  listener* door_;
  pause pause_;
  duration next_pause_ = std::chrono::milliseconds(10);
  int code_;  // what the last try returned
};

inline listener::accept_awaiter listener::accept() noexcept {
  return accept_awaiter(*this);
}

}  // namespace conpool

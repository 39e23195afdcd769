// The server of the micro-benchmarks: a thread that sends back what it receives, on loopback.
//
// It runs one epoll loop on a CPU of its own, the same for the pool and for what the pool is
// compared with. It listens on a free port of 127.0.0.1. It resets a connection that its client has
// closed, so that neither side is left in TIME_WAIT; otherwise benchmarks of connects would use up
// the ports.
//
//   echo_peer peer;                          // started
//   connect to peer.address() ...
//
// Under valgrind it is a process of its own instead. Valgrind runs one thread at a time, and
// valgrind 3.19 does not know that io_uring_enter blocks, so a waiting client would keep its peer
// from running.
//
// Create it before the client's shard, and destroy it on the same thread. If one of its system
// calls fails, it says so and ends the process, since a benchmark without a server has no result.
#pragma once

#include <netinet/in.h>
#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <string>
#include <thread>

namespace conpool::micro {

class echo_peer {
 public:
  echo_peer();
  ~echo_peer();
  echo_peer(const echo_peer&) = delete;
  echo_peer& operator=(const echo_peer&) = delete;

  const sockaddr_in& address() const noexcept { return address_; }
  // "tcp://127.0.0.1:PORT"
  std::string uri() const;
  // How many connections are accepted and not yet closed.
  std::size_t open_connections() const noexcept {
    return open_connections_->load(std::memory_order_acquire);
  }

 private:
  void serve();
  void accept_all();
  void echo(int fd, char* memory, std::size_t bytes);

  int listener_ = -1;
  int epoll_ = -1;
  int stop_ = -1;
  sockaddr_in address_{};
  std::atomic<std::size_t>* open_connections_ = nullptr;  // in memory that both processes see
  std::thread thread_;
  pid_t process_ = -1;
};

// Returns a blocking, connected client socket with TCP_NODELAY. Ends the process if that fails.
int connect_blocking(const sockaddr_in& to);

// Ends the process with errno's message if `failed`.
void check_system_call(bool failed, const char* what);

}  // namespace conpool::micro

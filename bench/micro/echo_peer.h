// The server of the micro-benchmarks: a thread that sends back what it gets, on loopback.
//
// One epoll loop on a CPU of its own, the same for the pool and for what it is compared with. It
// listens on 127.0.0.1 and a free port. A connection that its client closed is reset, so that no
// side is left in TIME_WAIT: benchmarks of connects would use up the ports otherwise.
//
//   echo_peer peer;                          // started
//   connect to peer.address() ...
//
// Under valgrind it is a process of its own instead: there one thread runs at a time, and valgrind
// 3.19 does not know that io_uring_enter blocks, so a client that waits would keep its peer from
// running.
//
// Create and destroy it on one thread, before the client's shard. Should a system call of its own
// fail, it says so and ends the process: a benchmark without a server has no result.
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
  // Accepted and not yet closed.
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

// A blocking, connected client socket with TCP_NODELAY; ends the process if it cannot.
int connect_blocking(const sockaddr_in& to);

// Ends the process with errno's message if `failed`.
void check_system_call(bool failed, const char* what);

}  // namespace conpool::micro

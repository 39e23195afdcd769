// The descriptors of a simulated network, and the calls on them that never wait.
//
// Sockets, listeners, events and the rings' own. Numbers start at a million, so that a real system
// call on one fails, and are never used again, so that a stale one is found. Owned by the network.
//
// What a test may ask, besides the ring:
//
//   net.sockets().inspect(lease->fd()).ended        // has the FIN arrived?
//   int fd = net.sockets().open_connected(redis);   // for pool::adopt
//   net.sockets().close(detached.release());
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <conpool/runtime/address.h>

#include <tests/sim/kernel/tcp.h>

namespace conpool::sim {

class network;
class server;

// The operations that look at a descriptor.
struct readiness {
  bool connect = false;
  bool accept = false;
  bool receive = false;
  bool send = false;
  bool read = false;
};

class socket_table {
 public:
  explicit socket_table(network& net) noexcept : net_(net) {}
  socket_table(const socket_table&) = delete;
  socket_table& operator=(const socket_table&) = delete;

  // --- For tests.
  // What has arrived on a socket and was not taken yet.
  struct arrivals {
    std::size_t bytes = 0;
    bool ended = false;   // FIN
    bool broken = false;  // RST
    time_point since{};   // when the first of it came
  };
  arrivals inspect(int fd);
  // A socket that is connected to the server already.
  int open_connected(server& to);
  std::size_t open() const noexcept { return open_.size(); }
  bool is_open(int fd) const noexcept { return open_.contains(fd); }
  // As set by set_option, or nothing.
  std::optional<int> option(int fd, int level, int name);
  // What is open, for a message.
  std::string describe() const;

  // --- As the ring's calls of the same names: a count, a descriptor or 0, or -errno.
  int open_socket(int family);
  int open_event();
  int open_ring();
  int set_option(int fd, int level, int name, int value);
  int bind(int fd, const sockaddr* address, socklen_t length);
  int listen(int fd, int backlog);
  int local_address(int fd, sockaddr_storage& address, socklen_t& length);
  int peer_address(int fd, sockaddr_storage& address, socklen_t& length);
  int shutdown(int fd);
  int reset_on_close(int fd);
  int peek(int fd);
  void close(int fd);
  void signal(int event_fd);

  // --- For operations. begin_connect and the others return -EAGAIN if they have to wait.
  int begin_connect(int fd, const sockaddr* address, socklen_t length);
  int connect_result(int fd);
  int accept(int fd);
  int receive(int fd, std::span<std::byte> into);
  // True if more can be read at once: IORING_CQE_F_SOCK_NONEMPTY.
  bool nonempty(int fd);
  int send(int fd, std::span<const std::byte> from);
  int read_event(int fd, std::span<std::byte> into);
  unsigned poll(int fd);  // the events that hold
  readiness ready(int fd);
  // What is on the way to it arrives now, if that decides a race.
  void hurry(int fd);
  // Something on the way cuts the connection.
  void break_off(int fd);
  // Operations on a descriptor, counted from being prepared to being done.
  void use(int fd, const char* by);
  void release(int fd);

 private:
  enum class state : std::uint8_t { fresh, listening, connecting, connected, failed, event, ring };
  struct answer {
    int code;
    std::shared_ptr<tcp_end> link;
  };
  struct descriptor {
    state now = state::fresh;
    int family = 0;
    socket_address local;
    socket_address peer;
    std::shared_ptr<tcp_end> link;
    std::optional<int> connected;   // what the connect came to
    std::optional<answer> decided;  // the peer's answer, on its way back
    std::map<std::pair<int, int>, int> options;
    bool reset_on_close = false;
    bool shut = false;
    std::deque<std::pair<std::shared_ptr<tcp_end>, socket_address>> backlog;
    std::size_t backlog_max = 0;
    std::uint64_t signals = 0;
    unsigned in_use = 0;
  };

  descriptor& find(int fd, const char* used_by);
  int add(state now, int family);
  bool full() const;
  void take_link(int fd, descriptor& one, std::shared_ptr<tcp_end> link);
  socket_address ephemeral(int family);
  void knock(int fd, const socket_address& from, const socket_address& to);
  void answer_connect(int fd, answer what, duration latency);
  void finish_connect(int fd);
  int find_listener(const socket_address& at) const noexcept;

  network& net_;
  std::map<int, descriptor> open_;
  int last_fd_ = 1'000'000;
  std::uint16_t last_port_ = 20'000;
};

}  // namespace conpool::sim

// conpool-idle-memory: what an idle connection costs in user-space memory, measured.
//
//   conpool-idle-memory [--tls] [CONNECTIONS]      default 10000; at most 30000
//
// With --tls each connection has made a full handshake and has read the tickets that followed it.
// The peer runs in a second process, so that only the pool's side is counted, and each process has
// its own limit of open files. The program counts what the heap has in use (mallinfo2) and what the
// ring has mapped, after the connections have become idle, minus the same before the shard was
// created. What the kernel keeps for a socket is not included. The exit status is 1 if nothing
// could be measured and 2 for bad arguments, and otherwise 0.

#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <bench/micro/echo_peer.h>
#include <bench/micro/pool_client.h>
#ifdef CONPOOL_MICRO_TLS
#include <bench/micro/tls_peer.h>
#endif

namespace conpool::micro {
namespace {

constexpr std::size_t connections_max = 30'000;  // one address has no more ephemeral ports
constexpr std::size_t dialing_max = 64;

std::size_t heap_in_use() {
  const struct mallinfo2 now = mallinfo2();
  return now.uordblks + now.hblkhd;
}

// Raises the soft limit, which may be lower than what the process is allowed.
void raise_file_limit() {
  rlimit limit{};
  check_system_call(getrlimit(RLIMIT_NOFILE, &limit) != 0, "getrlimit");
  limit.rlim_cur = limit.rlim_max;
  check_system_call(setrlimit(RLIMIT_NOFILE, &limit) != 0, "setrlimit");
}

// The peer, in a process of its own, which is killed if its parent ends. It says where it listens.
class second_process {
 public:
  // `serve` must not return. It gets a function to which it passes its port.
  template <typename Serve>
  explicit second_process(Serve serve) {
    int ends[2];
    check_system_call(pipe2(ends, O_CLOEXEC) != 0, "pipe2");
    id_ = fork();
    check_system_call(id_ < 0, "fork");
    if (id_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      serve([&](std::uint16_t port) {
        check_system_call(write(ends[1], &port, sizeof port) != sizeof port, "write");
      });
      _exit(1);
    }
    close(ends[1]);
    if (read(ends[0], &port_, sizeof port_) != sizeof port_) {
      std::fprintf(stderr, "conpool-idle-memory: the peer did not start\n");
      std::exit(1);
    }
    close(ends[0]);
  }
  ~second_process() {
    kill(id_, SIGKILL);
    waitpid(id_, nullptr, 0);
  }
  second_process(const second_process&) = delete;
  second_process& operator=(const second_process&) = delete;
  std::uint16_t port() const noexcept { return port_; }

 private:
  pid_t id_;
  std::uint16_t port_ = 0;
};

template <typename Tell>
[[noreturn]] void hold_connections(Tell tell_port) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check_system_call(listener < 0, "socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof address;
  check_system_call(bind(listener, generic, length) != 0, "bind");
  check_system_call(listen(listener, 4096) != 0, "listen");
  check_system_call(getsockname(listener, generic, &length) != 0, "getsockname");
  tell_port(ntohs(address.sin_port));
  for (;;) {
    const int fd = accept(listener, nullptr, nullptr);
    check_system_call(fd < 0 && errno != EINTR && errno != ECONNABORTED, "accept");
  }
}

task<void> take_until(pool_client& client, const endpoint_handle& to, std::vector<lease>& taken,
                      std::size_t& to_begin, std::size_t& running) {
  while (to_begin > 0) {
    --to_begin;
    auto lent = co_await client.pool().acquire(to);
    if (!lent) give_up(lent.error());
    taken.push_back(std::move(*lent));
  }
  if (--running == 0) client.end_run();
}

void open_and_idle(pool_client& client, const endpoint_handle& to, std::size_t connections) {
  std::vector<lease> taken;
  taken.reserve(connections);
  std::size_t to_begin = connections;
  std::size_t running = std::min(dialing_max, connections);
  for (std::size_t i = running; i > 0; --i) {
    client.home().spawn(take_until, std::ref(client), std::cref(to), std::ref(taken),
                        std::ref(to_begin), std::ref(running));
  }
  client.run();
  taken.clear();
  client.home().run_once(duration::zero());
}

endpoint endpoint_at(const char* scheme, std::uint16_t port) {
  auto parsed = endpoint::parse(scheme + std::string("://127.0.0.1:") + std::to_string(port));
  if (!parsed) give_up(parsed.error());
  return std::move(*parsed);
}

// Turns the shard until nothing has arrived for a while. What still arrives are the tickets of the
// last handshakes.
void read_what_comes(pool_client& client) {
  constexpr int quiet_turns = 20;
  for (int quiet = 0; quiet < quiet_turns; ++quiet) {
    const std::uint64_t before = client.home().ring().statistics().completions;
    client.home().run_once(std::chrono::milliseconds(10));
    if (client.home().ring().statistics().completions != before) quiet = 0;
  }
}

int measure(const endpoint& where, std::size_t connections) {
  const std::size_t heap_before = heap_in_use();
  pool_config config;
  config.max_connections_per_endpoint = static_cast<std::uint32_t>(connections);
  pool_client client(config);
  const endpoint_handle to = client.pool().handle(where);
  open_and_idle(client, to, connections);
  read_what_comes(client);

  const pool_stats totals = client.pool().totals();
  const std::size_t heap = heap_in_use() - heap_before;
  const std::size_t ring_bytes = client.home().ring().memory_bytes();
  if (totals.idle != connections || totals.closed() != 0) {
    std::fprintf(stderr, "conpool-idle-memory: %u of %zu connections are idle\n", totals.idle,
                 connections);
    return 1;
  }
  const auto each = [&](std::size_t bytes) {
    return static_cast<double>(bytes) / static_cast<double>(connections);
  };
  std::printf("connections %zu\n", connections);
  std::printf("heap_bytes %zu\n", heap);
  std::printf("ring_and_buffer_bytes %zu\n", ring_bytes);
  std::printf("heap_bytes_per_connection %.1f\n", each(heap));
  std::printf("bytes_per_connection %.1f\n", each(heap + ring_bytes));
  return 0;
}

int measure_tcp(std::size_t connections) {
  const second_process peer([](auto tell_port) { hold_connections(tell_port); });
  return measure(endpoint_at("tcp", peer.port()), connections);
}

#ifdef CONPOOL_MICRO_TLS
int measure_tls(std::size_t connections) {
  const bench::server_identity own = bench::make_server_identity();
  const second_process peer([&](auto tell_port) {
    const tls_peer serving(own);
    tell_port(serving.where().port());
    for (;;) pause();
  });
  // Resumed sessions take less memory, but a service that has just started has none.
  return measure(trusting(endpoint_at("tls", peer.port()), own, false), connections);
}
#else
int measure_tls(std::size_t) {
  std::fprintf(stderr, "conpool-idle-memory: built without TLS\n");
  return 2;
}
#endif

}  // namespace
}  // namespace conpool::micro

int main(int argc, char** argv) {
  namespace micro = conpool::micro;
  std::vector<std::string_view> arguments(argv + 1, argv + argc);
  const bool tls = std::erase(arguments, "--tls") > 0;
  std::size_t connections = 10'000;
  if (!arguments.empty()) {
    const std::string text(arguments.front());
    const char* const end = text.c_str() + text.size();
    const auto [stop, code] = std::from_chars(text.c_str(), end, connections);
    if (arguments.size() > 1 || code != std::errc{} || stop != end || connections < 1 ||
        connections > micro::connections_max) {
      std::fprintf(stderr, "usage: conpool-idle-memory [--tls] [CONNECTIONS, 1 to %zu]\n",
                   micro::connections_max);
      return 2;
    }
  }
  micro::raise_file_limit();
  return tls ? micro::measure_tls(connections) : micro::measure_tcp(connections);
}

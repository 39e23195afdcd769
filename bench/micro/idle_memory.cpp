// conpool-idle-memory: what an idle connection costs in user-space memory, measured.
//
//   conpool-idle-memory [CONNECTIONS]      default 10000; at most 30000
//
// The peer runs in a second process, so that only the pool's side is counted, and each process
// has its own limit of open files. Counted is what the heap has in use (mallinfo2) and what the
// ring has mapped, after the connections became idle minus before the shard was created. What the
// kernel keeps for a socket is not in it. Exit status: 0; 1 if it could not be measured; 2 for bad
// arguments.

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
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include <bench/micro/echo_peer.h>
#include <bench/micro/pool_client.h>

namespace conpool::micro {
namespace {

constexpr std::size_t connections_max = 30'000;  // one address: the ephemeral ports end there
constexpr std::size_t dialing_max = 64;

std::size_t heap_in_use() {
  const struct mallinfo2 now = mallinfo2();
  return now.uordblks + now.hblkhd;
}

// The kernel's soft limit may be lower than what the process is allowed.
void raise_file_limit() {
  rlimit limit{};
  check_system_call(getrlimit(RLIMIT_NOFILE, &limit) != 0, "getrlimit");
  limit.rlim_cur = limit.rlim_max;
  check_system_call(setrlimit(RLIMIT_NOFILE, &limit) != 0, "setrlimit");
}

// The second process: accepts and keeps until it is killed, which the parent's end does too.
[[noreturn]] void hold_connections(int listener) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
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

int measure(std::size_t connections) {
  raise_file_limit();
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
  const pid_t peer = fork();
  check_system_call(peer < 0, "fork");
  if (peer == 0) hold_connections(listener);

  const std::size_t heap_before = heap_in_use();
  pool_config config;
  config.max_connections_per_endpoint = static_cast<std::uint32_t>(connections);
  pool_client client(config);
  const auto to_peer =
      endpoint::parse("tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port)));
  if (!to_peer) give_up(to_peer.error());
  const endpoint_handle to = client.pool().handle(*to_peer);
  open_and_idle(client, to, connections);

  const pool_stats totals = client.pool().totals();
  const std::size_t heap = heap_in_use() - heap_before;
  const std::size_t ring_bytes = client.home().ring().memory_bytes();
  kill(peer, SIGKILL);
  waitpid(peer, nullptr, 0);
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

}  // namespace
}  // namespace conpool::micro

int main(int argc, char** argv) {
  std::size_t connections = 10'000;
  if (argc > 1) {
    const char* const end = argv[1] + std::strlen(argv[1]);
    const auto [stop, code] = std::from_chars(argv[1], end, connections);
    if (argc > 2 || code != std::errc{} || stop != end || connections < 1 ||
        connections > conpool::micro::connections_max) {
      std::fprintf(stderr, "usage: conpool-idle-memory [CONNECTIONS, 1 to %zu]\n",
                   conpool::micro::connections_max);
      return 2;
    }
  }
  return conpool::micro::measure(connections);
}

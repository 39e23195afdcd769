// A whole request in one program: a pool, an acquire, a write, a read, and the counts.
//
//   echo
//
// It brings its own server, so it needs nothing but a kernel with io_uring.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <span>
#include <string>

#include <conpool/conpool.h>

#include "echo_peer.h"

int report(const conpool::error& why) {
  std::fprintf(stderr, "%s\n", why.message().c_str());
  return 1;
}

// Sends five bytes over a pooled connection and waits for them to come back.
conpool::task<conpool::result<std::string>> ask(conpool::pool& backends, conpool::endpoint to) {
  auto lease = co_await backends.acquire(to);
  if (!lease) co_return conpool::fail(lease.error());
  auto sent = co_await (*lease)->write("hello");
  if (!sent) co_return conpool::fail(sent.error());
  std::string answer(5, '\0');
  auto received = co_await (*lease)->read_exactly(std::span<char>(answer));
  if (!received) co_return conpool::fail(received.error());
  co_return answer;  // the lease ends here: the connection goes back
}

void print_statistics(const conpool::pool& backends) {
  for (const conpool::endpoint_stats& one : backends.all_stats()) {
    std::printf("%s: %u active, %u idle, %u waiting\n", one.endpoint.c_str(), one.active, one.idle,
                one.waiting);
    if (!one.last_error.empty()) std::printf("  last failure: %s\n", one.last_error.c_str());
  }
  const conpool::pool_stats sum = backends.totals();
  std::printf("%ju opened, %ju closed, %ju hits, %ju misses, hit ratio %.2f\n",
              static_cast<std::uintmax_t>(sum.created), static_cast<std::uintmax_t>(sum.closed()),
              static_cast<std::uintmax_t>(sum.hits), static_cast<std::uintmax_t>(sum.misses),
              sum.hit_ratio());
}

conpool::pool_config make_config() {
  using namespace std::chrono_literals;
  conpool::pool_config config;
  config.max_connections_per_endpoint = 8;
  config.acquire_timeout = 1s;
  config.connection_timeout = 500ms;
  config.read_timeout = 2s;
  config.max_idle_time = 30s;
  return config;
}

conpool::task<int> run_example() {
  conpool::shard& home = *conpool::shard::current();
  auto loopback = conpool::socket_address::ip("127.0.0.1", 0);
  if (!loopback) co_return report(loopback.error());
  auto door = conpool::listener::open(home, *loopback);
  if (!door) co_return report(door.error());
  auto to = conpool::endpoint::parse("tcp://" + door->address().to_string());
  if (!to) co_return report(to.error());
  auto backends = conpool::pool::create(home, make_config());
  if (!backends) co_return report(backends.error());

  // A scope must be closed before it is destroyed, so nothing returns between here and its close().
  conpool::scope server(home);
  server.spawn(serve_echo, std::ref(*door), std::ref(server));
  int status = 0;
  for (int round = 0; round < 3 && status == 0; ++round) {
    auto answer = co_await ask(*backends, *to);
    if (answer) {
      std::printf("%s\n", answer->c_str());
    } else {
      status = report(answer.error());
    }
  }
  print_statistics(*backends);
  auto closed = co_await backends->close();
  if (!closed) status = report(closed.error());
  co_await server.close();
  co_return status;
}

int main() {
  auto runtime = conpool::runtime::create({.shards = 1});
  if (!runtime) return report(runtime.error());
  return (*runtime)->run(run_example);
}

// What an operator does with a pool: watch it, warm it up, pause it, change its limits, and drain
// it.
//
//   operations
//
// It brings its own server, so it needs nothing but a kernel with io_uring.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include <conpool/conpool.h>

#include "echo_peer.h"

using namespace std::chrono_literals;

int report(const conpool::error& why) {
  std::fprintf(stderr, "%s\n", why.message().c_str());
  return 1;
}

// The pool reports each event once, in order, outside of its own work.
void tell(const conpool::pool_event& event) {
  switch (event.kind) {
    case conpool::pool_event_kind::closed:
      std::printf("connection %ju closed: %s\n", static_cast<std::uintmax_t>(event.connection),
                  to_string(event.reason));
      break;
    case conpool::pool_event_kind::connect_failed:
    case conpool::pool_event_kind::breaker_opened:
      std::printf("%s: %s\n", to_string(event.kind), event.why->message().c_str());
      break;
    case conpool::pool_event_kind::leak_suspected:
      std::printf("lease held for too long, acquired at line %ju of %s\n",
                  static_cast<std::uintmax_t>(event.where.line()), event.where.file_name());
      break;
    default:
      break;
  }
}

conpool::task<conpool::result<void>> steer(conpool::pool& backends, conpool::endpoint to) {
  // Before the load comes, four connections are opened, or the first error says why they were not.
  auto warmed = co_await backends.warm(to, 4);
  if (!warmed) co_return conpool::fail(warmed.error());
  std::printf("%u idle after warm\n", backends.totals().idle);

  // An urgent caller would rather fail than wait for long.
  conpool::acquire_options urgent;
  urgent.timeout = 50ms;
  urgent.priority = conpool::acquire_priority::high;
  auto held = co_await backends.acquire(to, urgent);
  if (!held) co_return conpool::fail(held.error());

  // While the backend is being changed, callers wait, or fail with while_paused::fail.
  backends.pause(conpool::while_paused::fail);
  auto refused = co_await backends.acquire(to);
  std::printf("%s\n", refused ? "lent during a pause" : refused.error().message().c_str());
  backends.resume();

  // Idle connections above a lowered limit are closed at once, leased ones when they come back.
  conpool::pool_config smaller = backends.config();
  smaller.max_connections_per_endpoint = 2;
  auto changed = backends.reconfigure(smaller);
  if (!changed) co_return conpool::fail(changed.error());

  // After a failover, no existing connection is lent again.
  backends.clear(to);
  held->release();

  auto asked = co_await backends.validate(to);
  if (!asked) co_return conpool::fail(asked.error());
  std::printf("%ju checked, %ju alive\n", static_cast<std::uintmax_t>(asked->checked),
              static_cast<std::uintmax_t>(asked->alive));

  // At the end, the pool lends no more, waits for the leases, and takes back the rest at the
  // deadline.
  auto kept = co_await backends.acquire(to);
  if (!kept) co_return conpool::fail(kept.error());
  auto drained = co_await backends.drain(100ms);
  if (!drained) co_return conpool::fail(drained.error());
  std::printf("%zu taken back by force\n", drained->forced.size());
  co_return conpool::result<void>{};
}

conpool::task<int> run_example() {
  conpool::shard& home = *conpool::shard::current();
  auto loopback = conpool::socket_address::ip("127.0.0.1", 0);
  if (!loopback) co_return report(loopback.error());
  auto door = conpool::listener::open(home, *loopback);
  if (!door) co_return report(door.error());
  auto to = conpool::endpoint::parse("tcp://" + door->address().to_string());
  if (!to) co_return report(to.error());
  conpool::pool_config config;
  config.leak_threshold = 10s;
  auto backends = conpool::pool::create(home, config);
  if (!backends) co_return report(backends.error());
  backends->observe(tell);

  conpool::scope server(home);
  server.spawn(serve_echo, std::ref(*door), std::ref(server));
  auto steered = co_await steer(*backends, *to);
  co_await server.close();
  if (!steered) co_return report(steered.error());
  co_return 0;
}

int main() {
  auto runtime = conpool::runtime::create({.shards = 1});
  if (!runtime) return report(runtime.error());
  return (*runtime)->run(run_example);
}

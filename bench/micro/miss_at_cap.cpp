// miss_at_cap/N: a miss at max_connections in a pool that knows N endpoints. Two of them ask in
// turn, so each miss closes the other's idle connection and opens its own; the others have nothing.
// Whatever a miss looks at, its cost must not grow with N.

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <bench/micro/echo_peer.h>
#include <bench/micro/measured_run.h>
#include <bench/micro/micro.h>
#include <bench/micro/pool_client.h>

namespace conpool::micro {
namespace {

// Addresses that nobody connects to.
std::vector<endpoint_handle> known_endpoints(pool_client& client, std::int64_t count) {
  std::vector<endpoint_handle> known;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string text =
        "tcp://10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1) + ":1000";
    known.push_back(client.pool().handle(endpoint::parse(text).value()));
  }
  return known;
}

task<void> take_turns(pool_client& client, const endpoint_handle& one, const endpoint_handle& other,
                      std::int64_t count, measured_run& run) {
  for (std::int64_t i = 0; i < count; ++i) {
    const endpoint_handle& next = i % 2 == 0 ? one : other;
    auto lent = co_await client.pool().acquire(next);
    if (!lent) {
      run.fail(lent.error().message());
      break;
    }
  }
  client.end_run();
}

}  // namespace

void miss_at_cap(benchmark::State& state) {
  echo_peer peer;
  echo_peer second_peer;
  pool_config config;
  config.max_connections = 1;
  pool_client client(config);
  const endpoint_handle one = client.handle_of(peer);
  const endpoint_handle other = client.handle_of(second_peer);
  const std::vector<endpoint_handle> known = known_endpoints(client, state.range(0) - 2);

  measured_run run(state);
  const auto turns = [&](std::int64_t count) {
    client.home().spawn(take_turns, std::ref(client), std::cref(one), std::cref(other), count,
                        std::ref(run));
    client.run();
  };
  turns(4);  // from then on, frames exist, and each endpoint has been looked at once
  const std::uint64_t misses_before = client.pool().totals().misses;
  run.count_ring(client.home().ring(), "miss");
  run.begin();
  turns(run.iterations());
  run.end();
  if (run.failed()) return;
  const std::uint64_t misses = client.pool().totals().misses - misses_before;
  if (misses != static_cast<std::uint64_t>(run.iterations())) run.fail("not all were misses");
}

}  // namespace conpool::micro

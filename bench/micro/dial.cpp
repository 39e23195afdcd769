// dial_batch/N: N callers miss at once on a cold endpoint, and the iteration ends when each has its
// connection. Giving back and closing the connections is not measured. It waits until the peer has
// closed its side too, so that each iteration begins with the same kernel state.

#include <sched.h>

#include <functional>
#include <utility>
#include <vector>

#include <bench/micro/echo_peer.h>
#include <bench/micro/measured_run.h>
#include <bench/micro/micro.h>
#include <bench/micro/pool_client.h>

namespace conpool::micro {
namespace {

task<void> miss(pool_client& client, const endpoint_handle& to, std::vector<lease>& taken,
                measured_run& run) {
  auto lent = co_await client.pool().acquire(to);
  if (!lent) {
    run.fail(lent.error().message());
    taken.emplace_back();
  } else {
    taken.push_back(std::move(*lent));
  }
  if (taken.size() == taken.capacity()) client.end_run();
}

void close_all(pool_client& client, const echo_peer& peer, std::vector<lease>& taken) {
  for (lease& each : taken) each.discard();
  taken.clear();
  client.spin_until([&] {
    const pool_stats now = client.pool().totals();
    return now.created == now.closed();
  });
  while (peer.open_connections() > 0) sched_yield();
}

}  // namespace

void dial_batch(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  echo_peer peer;
  pool_config config;
  config.max_connections_per_endpoint = static_cast<std::uint32_t>(count);
  config.max_connecting_per_endpoint = config.max_connections_per_endpoint;
  pool_client client(config);
  const endpoint_handle to = client.handle_of(peer);
  std::vector<lease> taken;
  taken.reserve(count);
  client.fill(to, count);  // from then on, frames and the endpoint's entry in the pool exist
  client.pool().clear_all();
  close_all(client, peer, taken);
  const std::uint64_t misses_before = client.pool().totals().misses;

  measured_run run(state);
  run.count_ring(client.home().ring(), "batch");
  run.begin();
  for (std::int64_t i = 0; i < run.iterations() && !run.failed(); ++i) {
    for (std::size_t caller = 0; caller < count; ++caller) {
      client.home().spawn(miss, std::ref(client), std::cref(to), std::ref(taken), std::ref(run));
    }
    client.run();
    run.pause();
    close_all(client, peer, taken);
    run.resume();
  }
  run.end();
  if (run.failed()) return;
  const std::uint64_t misses = client.pool().totals().misses - misses_before;
  if (misses != static_cast<std::uint64_t>(run.iterations()) * count) {
    return run.fail("not all were misses");
  }
  state.counters["misses"] = static_cast<double>(misses);
}

}  // namespace conpool::micro

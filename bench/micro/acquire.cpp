// acquire_hit and its relatives. An idle connection is lent and given back, in a coroutine as users
// write it, over real sockets to a peer on a thread of its own.

#include <chrono>
#include <functional>
#include <vector>

#include <bench/micro/acquire.h>
#include <bench/micro/echo_peer.h>
#include <bench/micro/measured_run.h>
#include <bench/micro/micro.h>
#include <bench/micro/pool_client.h>

namespace conpool::micro {
namespace {

constexpr std::size_t idle_connections = 8;

task<void> acquire_and_release(pool_client& client, const endpoint_handle& to, measured_run& run) {
  pool& from = client.pool();
  run.begin();
  for (std::int64_t i = 0; i < run.iterations(); ++i) {
    auto lent = co_await from.acquire(to);
    if (!lent) [[unlikely]] {
      run.fail(lent.error().message());
      break;
    }
    benchmark::DoNotOptimize(&**lent);
  }
  run.end();
  client.end_run();
}

// Nothing can predict which of the 16 endpoints comes next, as in a service that follows its
// requests.
task<void> acquire_from_any(pool_client& client, const std::vector<endpoint_handle>& endpoints,
                            measured_run& run) {
  pool& from = client.pool();
  std::uint64_t random = 0x9e3779b97f4a7c15;
  run.begin();
  for (std::int64_t i = 0; i < run.iterations(); ++i) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    const endpoint_handle& to = endpoints[random % endpoints.size()];
    auto lent = co_await from.acquire(to);
    if (!lent) [[unlikely]] {
      run.fail(lent.error().message());
      break;
    }
    benchmark::DoNotOptimize(&**lent);
  }
  run.end();
  client.end_run();
}

// A TLS server sends tickets behind its handshake. Until they have been read and a turn has given
// the next receive to the kernel, each lend would look at its socket.
task<void> rest(pool_client& client) {
  auto slept = co_await client.home().sleep_for(std::chrono::milliseconds(50));
  static_cast<void>(slept);
  client.end_run();
}

// Checks that every acquire was a hit on a connection that existed before, and that none was lost
// on the way.
void check_and_report(benchmark::State& state, measured_run& run, pool_client& client,
                      std::uint64_t hits_before, std::size_t opened) {
  if (run.failed()) return;
  const pool_stats totals = client.pool().totals();
  const std::uint64_t hits = totals.hits - hits_before;
  if (hits != static_cast<std::uint64_t>(run.iterations())) return run.fail("not all were hits");
  if (totals.created != opened || totals.closed() != 0) return run.fail("connections were lost");
  state.counters["hits"] = static_cast<double>(hits);
}

}  // namespace

void measure_acquires(benchmark::State& state, const endpoint& peer, validation_policy validation) {
  pool_config config;
  config.max_connections_per_endpoint = idle_connections;
  config.validation = validation;
  pool_client client(config);
  const endpoint_handle to = client.pool().handle(peer);
  client.fill(to, idle_connections);
  client.home().spawn(rest, std::ref(client));
  client.run();
  const std::uint64_t hits_before = client.pool().totals().hits;

  measured_run run(state);
  run.count_ring(client.home().ring(), "acquire");
  client.home().spawn(acquire_and_release, std::ref(client), std::cref(to), std::ref(run));
  client.run();
  check_and_report(state, run, client, hits_before, idle_connections);
}

void acquire_hit(benchmark::State& state) {
  const echo_peer peer;
  measure_acquires(state, endpoint_of(peer));
}

void acquire_hit_unvalidated(benchmark::State& state) {
  const echo_peer peer;
  measure_acquires(state, endpoint_of(peer), validation_policy::none);
}

void acquire_hit_16_endpoints(benchmark::State& state) {
  constexpr std::size_t endpoints_count = 16;
  constexpr std::size_t idle_each = 2;
  std::vector<std::unique_ptr<echo_peer>> peers;
  peers.reserve(endpoints_count);
  for (std::size_t i = 0; i < endpoints_count; ++i) {
    peers.push_back(std::make_unique<echo_peer>());
  }
  pool_config config;
  config.max_connections_per_endpoint = idle_each;
  pool_client client(config);
  std::vector<endpoint_handle> endpoints;
  for (const auto& peer : peers) {
    endpoints.push_back(client.handle_of(*peer));
    client.fill(endpoints.back(), idle_each);
  }
  const std::uint64_t hits_before = client.pool().totals().hits;

  measured_run run(state);
  run.count_ring(client.home().ring(), "acquire");
  client.home().spawn(acquire_from_any, std::ref(client), std::cref(endpoints), std::ref(run));
  client.run();
  check_and_report(state, run, client, hits_before, endpoints_count * idle_each);
}

}  // namespace conpool::micro

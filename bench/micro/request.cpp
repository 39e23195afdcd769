// request_pooled/N: each of N clients acquires a connection, sends 64 bytes, reads their echo and
// gives the connection back. Compare it with floor_request_bare_ring/N.
//
// request_held/N does the same and keeps each lease for a turn after its last read, as a service
// does that awaits something else before it is done.
//
// request_exchanged/N makes one call of the send and the read: stream::exchange().

#include <functional>
#include <vector>

#include <bench/micro/echo_peer.h>
#include <bench/micro/measured_run.h>
#include <bench/micro/micro.h>
#include <bench/micro/ping_pong.h>
#include <bench/micro/pool_client.h>

namespace conpool::micro {
namespace {

struct exchange {
  std::uint64_t sequence = 0;
  message out{};
  message in{};
};

// What the clients of one run share.
struct workload {
  std::int64_t to_begin = 0;
  std::size_t clients_running = 0;
  bool holds = false;  // each lease for a turn after its last read
  std::string failure;

  void look_at(const result<std::size_t>& count, const exchange& done) {
    if (!count) {
      failure = count.error().message();
    } else if (done.in != done.out) {
      failure = "the answer is not the echo of the request";
    }
  }
};

task<void> keep_asking(pool_client& client, const endpoint_handle& to, exchange& one,
                       workload& work) {
  while (work.to_begin > 0 && work.failure.empty()) {
    --work.to_begin;
    auto backend = co_await client.pool().acquire(to);
    if (!backend) {
      work.failure = backend.error().message();
      break;
    }
    fill(one.out, ++one.sequence);
    auto sent = co_await (*backend)->write(std::string_view(one.out.data(), one.out.size()));
    if (!sent) {
      work.failure = sent.error().message();
      break;
    }
    auto count = co_await (*backend)->read_exactly(std::span<char>(one.in));
    work.look_at(count, one);
    if (work.holds) co_await client.home().yield();
  }
  if (--work.clients_running == 0) client.end_run();
}

// The same with one call for both.
task<void> keep_exchanging(pool_client& client, const endpoint_handle& to, exchange& one,
                           workload& work) {
  while (work.to_begin > 0 && work.failure.empty()) {
    --work.to_begin;
    auto backend = co_await client.pool().acquire(to);
    if (!backend) {
      work.failure = backend.error().message();
      break;
    }
    fill(one.out, ++one.sequence);
    auto count = co_await (*backend)->exchange(one.out, one.in, one.in.size());
    work.look_at(count, one);
  }
  if (--work.clients_running == 0) client.end_run();
}

using client_fn = task<void> (*)(pool_client&, const endpoint_handle&, exchange&, workload&);

void run_requests(client_fn ask, pool_client& client, const endpoint_handle& to,
                  std::vector<exchange>& exchanges, workload& work, std::int64_t requests) {
  work.to_begin = requests;
  work.clients_running = exchanges.size();
  for (exchange& one : exchanges) {
    client.home().spawn(ask, std::ref(client), std::cref(to), std::ref(one), std::ref(work));
  }
  client.run();
}

}  // namespace

namespace {

void measure_requests(benchmark::State& state, client_fn ask, bool holds = false) {
  const auto connections = static_cast<std::size_t>(state.range(0));
  echo_peer peer;
  pool_config config;
  config.max_connections_per_endpoint = static_cast<std::uint32_t>(connections);
  pool_client client(config);
  const endpoint_handle to = client.handle_of(peer);
  client.fill(to, connections);
  std::vector<exchange> exchanges(connections);
  workload work;
  work.holds = holds;
  run_requests(ask, client, to, exchanges, work, warm_up_requests(connections));
  const std::uint64_t hits_before = client.pool().totals().hits;

  measured_run run(state);
  run.count_ring(client.home().ring(), "request");
  run.begin();
  run_requests(ask, client, to, exchanges, work, run.iterations());
  run.end();
  if (!work.failure.empty()) return run.fail(work.failure);
  const std::uint64_t hits = client.pool().totals().hits - hits_before;
  if (hits != static_cast<std::uint64_t>(run.iterations())) return run.fail("not all were hits");
  state.counters["hits"] = static_cast<double>(hits);
}

}  // namespace

void request_pooled(benchmark::State& state) {
  measure_requests(state, keep_asking);
}

void request_held(benchmark::State& state) {
  measure_requests(state, keep_asking, true);
}

void request_exchanged(benchmark::State& state) {
  measure_requests(state, keep_exchanging);
}

}  // namespace conpool::micro

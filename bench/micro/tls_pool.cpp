// TLS as a pool uses it, over real sockets to a peer on a thread of its own.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include <bench/micro/acquire.h>
#include <bench/micro/measured_run.h>
#include <bench/micro/micro.h>
#include <bench/micro/pool_client.h>
#include <bench/micro/tls_peer.h>
#include <conpool/runtime/socket.h>
#include <conpool/tls/detail/shard_tls.h>
#include <conpool/tls/handshake.h>

namespace conpool::micro {
namespace {

// The CPU time of this thread alone: what other threads and processes take belongs to no handshake.
double cpu_now_us() noexcept {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

// A task like any other of the shard. It wants to run in every turn, and measures how long it was
// kept from running.
class heartbeat {
 public:
  explicit heartbeat(shard& home) { home.spawn(beat, std::ref(home), std::ref(*this)); }
  void begin() noexcept {
    longest_us_ = 0;
    last_us_ = cpu_now_us();
  }
  void stop() noexcept { stopped_ = true; }
  bool ended() const noexcept { return ended_; }
  double longest_us() const noexcept { return longest_us_; }

 private:
  static task<void> beat(shard& home, heartbeat& self) {
    while (!self.stopped_) {
      co_await home.yield();
      const double now_us = cpu_now_us();
      self.longest_us_ = std::max(self.longest_us_, now_us - self.last_us_);
      self.last_us_ = now_us;
    }
    self.ended_ = true;
  }

  double last_us_ = 0;
  double longest_us_ = 0;
  bool stopped_ = false;
  bool ended_ = false;
};

// Opens the connections in advance, so that only their handshakes are measured.
task<void> connect_all(pool_client& client, const socket_address& to, std::vector<socket>& into,
                       std::size_t count) {
  const socket_options plain;
  while (into.size() < count) {
    auto made = co_await connect_socket(client.home(), to, plain, std::chrono::seconds(10));
    if (!made) give_up(made.error());
    into.push_back(std::move(*made));
  }
  client.end_run();
}

task<void> shake_hands(pool_client& client, stream& with, const tls::profile_ptr& as,
                       std::size_t& left, measured_run& run) {
  auto done = co_await tls::connect(with, as, client.home().now() + std::chrono::seconds(30));
  if (!done) run.fail(done.error().message());
  if (--left == 0) client.end_run();
}

task<void> use_once_each(pool_client& client, const endpoint_handle& to, measured_run& run) {
  run.begin();
  for (std::int64_t i = 0; i < run.iterations() && !run.failed(); ++i) {
    auto lent = co_await client.pool().acquire(to);
    if (!lent) {
      run.fail(lent.error().message());
      break;
    }
    std::byte byte{1};
    auto sent = co_await (*lent)->write(std::span<const std::byte>(&byte, 1));
    auto got = co_await (*lent)->read(std::span<std::byte>(&byte, 1));
    if (!sent || !got) run.fail("the exchange failed");
    lent->discard();
  }
  run.end();
  client.end_run();
}

}  // namespace

void acquire_hit_tls(benchmark::State& state) {
  const tls_peer peer(bench::make_server_identity());
  measure_acquires(state, trusting(peer.where(), peer.identity(), true));
}

void tls_storm(benchmark::State& state) {
  const auto connections = static_cast<std::size_t>(state.range(0));
  const tls_peer peer(bench::make_server_identity());
  pool_client client({});
  // This is the worst case: each handshake is a full one, and each verifies the chain anew.
  tls::shard_limits limits;
  limits.verified_chains_max = 0;
  auto& here = tls::shard_tls::make(client.home(), limits, tls::system_wall_clock());
  const tls::profile_ptr as = trusting(peer.where(), peer.identity(), false).profile();
  const auto to = socket_address::ip(peer.where().host(), peer.where().port());
  heartbeat other(client.home());

  measured_run run(state);
  run.begin();
  double first_us = 0;
  double later_us = 0;
  for (std::int64_t i = 0; i < run.iterations() && !run.failed(); ++i) {
    run.pause();
    std::vector<socket> sockets;
    client.home().spawn(connect_all, std::ref(client), *to, std::ref(sockets), connections);
    client.run();
    run.resume();
    std::size_t left = connections;
    other.begin();
    for (const socket& each : sockets) {
      client.home().spawn(shake_hands, std::ref(client), std::ref(*each), std::cref(as),
                          std::ref(left), std::ref(run));
    }
    client.run();
    double& longest_us = i == 0 ? first_us : later_us;
    longest_us = std::max(longest_us, other.longest_us());
    run.pause();
    sockets.clear();
    run.resume();
  }
  run.end();
  other.stop();
  client.spin_until([&] { return other.ended(); });
  if (run.failed()) return;
  const auto expected = connections * static_cast<std::uint64_t>(run.iterations());
  if (here.resources().counters().verifications != expected) {
    return run.fail("not each handshake verified the chain");
  }
  // The first storm also touches the memory of a thousand tasks for the first time.
  state.counters["longest_turn_us"] = std::max(first_us, later_us);
  if (run.iterations() > 1) state.counters["longest_later_turn_us"] = later_us;
}

void tls_churn(benchmark::State& state) {
  const tls_peer peer(bench::make_server_identity());
  pool_client client({});
  const endpoint_handle to = client.pool().handle(trusting(peer.where(), peer.identity(), true));
  measured_run run(state);
  client.home().spawn(use_once_each, std::ref(client), std::cref(to), std::ref(run));
  client.run();
  if (run.failed()) return;
  const pool_stats totals = client.pool().totals();
  if (totals.handshakes != static_cast<std::uint64_t>(run.iterations())) {
    return run.fail("not each request had a connection of its own");
  }
  state.counters["resumed_ratio"] =
      static_cast<double>(totals.resumed) / static_cast<double>(totals.handshakes);
}

}  // namespace conpool::micro

// T70: what a pool asks others for (a connect, a check, a clean-up), each good, failing, slow and
// never answering, in all combinations.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <vector>

#include <conpool/pool/pool.h>

#include <tests/sim/world.h>
#include <tests/support/expect.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

enum class gate : std::uint8_t { ok, fail, slow, never };
constexpr gate gates[] = {gate::ok, gate::fail, gate::slow, gate::never};

bool opens(gate one) {
  return one == gate::ok || one == gate::slow;
}

struct gated {
  struct state {};
  shard* home;
  gate connect;
  gate check;
  gate release;

  task<result<void>> pass(gate through) {
    if (through == gate::fail) co_return fail(error(errc::io_failed));
    duration time = duration::zero();
    if (through == gate::slow) time = 20ms;
    if (through == gate::never) time = 1h;
    auto rested = co_await home->sleep_for(time);
    co_return rested;
  }
  task<result<void>> on_connect(connection&, state&) { return pass(connect); }
  task<result<void>> ping(connection&, state&) { return pass(check); }
  task<bool> on_release(connection&, state&) {
    auto passed = co_await pass(release);
    co_return passed.has_value();
  }
};

class sim_gates : public ::testing::Test {
 protected:
  static constexpr std::uint32_t cap = 2;
  static constexpr unsigned clients = 4;
  static constexpr unsigned acquires = 5;

  static pool_config limits() {
    pool_config config;
    config.max_connections_per_endpoint = cap;
    config.validation = validation_policy::ping;
    config.ping_window = 0ms;
    config.connection_timeout = config.ping_timeout = config.release_timeout = 50ms;
    config.acquire_timeout = 300ms;
    return config;
  }
  static void check(const pool_stats& now) {
    EXPECT_LE(now.active + now.idle + now.connecting + now.closing, cap);
    EXPECT_EQ(now.created, now.active + now.idle + now.connecting + now.closing + now.closed());
  }
  static void try_all(gate connect, gate check_gate, gate release);
};

void sim_gates::try_all(gate connect, gate check_gate, gate release) {
  world here(1 + static_cast<std::uint64_t>(connect) * 16 +
             static_cast<std::uint64_t>(check_gate) * 4 + static_cast<std::uint64_t>(release));
  const server& peer = here.net().add_server("10.0.0.1", 1000);
  const endpoint to = endpoint::parse("tcp://" + peer.address().to_string()).value();
  gated speaks{&here.home(), connect, check_gate, release};
  pool backends = pool::create(here.home(), limits(), speaks).value();
  unsigned served = 0;
  unsigned ended = 0;
  for (unsigned i = 0; i < clients; ++i) {
    here.start([&]() -> task<void> {
      for (unsigned n = 0; n < acquires; ++n) {
        auto lent = co_await backends.acquire(to);
        served += lent ? 1 : 0;
        lent = fail(error(errc::cancelled));  // gives it back
        auto rested = co_await here.home().sleep_for(200ms);
        CO_ASSERT_OK(rested);
      }
      ++ended;
    });
  }
  EXPECT_TRUE(here.until([&] {
    check(backends.totals());
    return ended == clients;
  })) << "somebody hangs";
  EXPECT_EQ(served > 0, opens(connect));
  // What comes back goes to the next in line unchecked; what is idle is checked.
  const bool comes_back = opens(connect) && opens(release);
  EXPECT_EQ(backends.totals().hits > 0, comes_back);
  EXPECT_EQ(backends.totals().closed(close_reason::ping_failed) > 0,
            comes_back && !opens(check_gate));
  EXPECT_EQ(backends.totals().closed(close_reason::vetoed) +
                    backends.totals().closed(close_reason::cleaning_failed) >
                0,
            opens(connect) && !opens(release));
  if (comes_back && opens(check_gate)) {
    EXPECT_EQ(served, clients * acquires);
  }
  EXPECT_TRUE(here.run([&]() -> task<void> {
    auto closed = co_await backends.close();
    EXPECT_TRUE(closed);
  }));
  EXPECT_TRUE(here.until([&] {
    check(backends.totals());
    return backends.totals().created == backends.totals().closed();
  }));
  here.end();
}

TEST_F(sim_gates, T70_every_mix_of_good_failing_slow_and_hanging_gates_ends_well) {
  for (const gate connect : gates) {
    for (const gate check_gate : gates) {
      for (const gate release : gates) {
        SCOPED_TRACE("connect " + std::to_string(static_cast<int>(connect)) + ", check " +
                     std::to_string(static_cast<int>(check_gate)) + ", release " +
                     std::to_string(static_cast<int>(release)));
        try_all(connect, check_gate, release);
        if (HasFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace conpool::sim

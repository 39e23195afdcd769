// max_connections over time: what busy endpoints do to each other under one cap, how long anybody
// waits, and what a broken endpoint takes from healthy ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include <conpool/pool/pool.h>

#include <tests/sim/pool_fixture.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

class sim_cap : public pool_fixture {
 public:
  struct tally {
    std::uint64_t leases = 0;
    std::uint64_t failed = 0;
    duration longest{};  // that anybody waited
    unsigned running = 0;
  };

  // Holds a lease for `held`, again and again, until `end`.
  task<void> client(endpoint to, duration held, time_point end, tally* counted) {
    while (home().now() < end) {
      const time_point asked = home().now();
      auto lent = co_await backends().acquire(to);
      counted->longest = std::max(counted->longest, home().now() - asked);
      if (!lent) {
        ++counted->failed;
        continue;
      }
      auto rested = co_await home().sleep_for(held);
      if (!rested) break;
      ++counted->leases;
    }
    --counted->running;
  }
  // So many clients at each of the endpoints, for `time`.
  std::vector<tally> run_clients(const std::vector<endpoint>& to, unsigned each, duration held,
                                 duration time) {
    std::vector<tally> counted(to.size());
    const time_point end = home().now() + time;
    for (std::size_t i = 0; i < to.size(); ++i) {
      for (unsigned k = 0; k < each; ++k) {
        ++counted[i].running;
        home().spawn(
            [](sim_cap* in, endpoint there, duration held, time_point end,
               tally* into) -> task<void> {
              auto work = in->client(there, held, end, into);
              co_await work;
            },
            this, to[i], held, end, &counted[i]);
      }
    }
    EXPECT_TRUE(until([&] {
      return std::ranges::all_of(counted, [](const tally& one) { return one.running == 0; });
    }));
    return counted;
  }
  static pool_config under(std::uint32_t all, std::uint32_t each) {
    pool_config config;
    config.max_connections = all;
    config.max_connections_per_endpoint = each;
    config.acquire_timeout = 30s;
    return config;
  }
};

TEST_F(sim_cap, two_busy_endpoints_do_nearly_as_well_as_with_half_of_it_each) {
  const std::vector<endpoint> both{at(net().add_server("10.0.0.1", 1000, takes(2ms))),
                                   at(net().add_server("10.0.0.2", 1000, takes(2ms)))};
  configure(under(0, 4));
  std::uint64_t by_hand = 0;
  for (const tally& one : run_clients(both, 16, 2ms, 2s)) by_hand += one.leases;
  EXPECT_EQ(totals().created, 8U);

  configure(under(8, 100));
  std::uint64_t shared = 0;
  for (const tally& one : run_clients(both, 16, 2ms, 2s)) {
    shared += one.leases;
    EXPECT_EQ(one.failed, 0U);
    EXPECT_GE(one.leases, by_hand / 4) << "each has its part";
    EXPECT_LE(one.longest, 500ms);
  }
  EXPECT_GE(shared * 10, by_hand * 9) << shared << " of " << by_hand;
  EXPECT_LE(totals().created, 8U + 2 * 2 * 4) << "each takes one from the other in `patience`";
}

// One endpoint has all connections and many callers; the other one's come later.
TEST_F(sim_cap, an_endpoint_without_a_connection_is_served_at_once_and_then_gets_its_part) {
  const endpoint first = at(net().add_server("10.0.0.1", 1000, takes(2ms)));
  const endpoint second = at(net().add_server("10.0.0.2", 1000, takes(2ms)));
  configure(under(8, 100));
  tally busy;
  for (unsigned k = 0; k < 32; ++k) {
    ++busy.running;
    home().spawn(
        [](sim_cap* in, endpoint to, time_point end, tally* into) -> task<void> {
          auto work = in->client(to, 5ms, end, into);
          co_await work;
        },
        this, first, home().now() + 4s, &busy);
  }
  here().pass(500ms);
  ASSERT_EQ(backends().stats(first)->active, 8U);
  const time_point asked = home().now();
  caller& late = call(second);
  ASSERT_TRUE(until([&] { return late.ended; }));
  EXPECT_LE(home().now() - asked, 50ms) << "the 32 who were there before, and a connect";
  late.got->release();
  for (const tally& one : run_clients({second}, 16, 5ms, 3s)) {
    EXPECT_EQ(one.failed, 0U);
    EXPECT_GE(one.leases, 1000U) << "of 4,800 there are, with a third of the callers";
  }
  ASSERT_TRUE(until([&] { return busy.running == 0; }));
}

// Nothing comes back, and what is idle was in use a moment ago: it is taken after `patience`.
TEST_F(sim_cap, an_idle_connection_is_taken_when_it_has_been_idle_for_a_while) {
  const endpoint first = at(net().add_server("10.0.0.1", 1000, takes(2ms)));
  const endpoint second = at(net().add_server("10.0.0.2", 1000, takes(2ms)));
  configure(under(2, 100));
  caller& has_one = hold(second);
  hold(first).got->release();
  settle();
  ASSERT_EQ(backends().stats(first)->idle, 1U);
  const time_point asked = home().now();
  caller& wants_more = call(second);
  ASSERT_TRUE(until([&] { return wants_more.ended; }));
  EXPECT_GE(home().now() - asked, connection_cap::patience - 1ms);
  EXPECT_LE(home().now() - asked, connection_cap::patience + 10ms);
  EXPECT_EQ(totals().closed(close_reason::evicted), 1U);
  has_one.got->release();
}

// B7: its trial connects are for callers, and there are none.
TEST_F(sim_cap, a_broken_endpoint_that_nobody_asks_for_evicts_nothing) {
  server& broken = net().add_server("10.0.0.1", 1000, takes(2ms));
  const endpoint well = at(net().add_server("10.0.0.2", 1000, takes(2ms)));
  pool_config config = under(2, 100);
  config.breaker_failures = 2;
  config.connect_backoff_min = 10ms;
  config.connect_backoff_max = 50ms;
  configure(config);
  broken.go_down();
  for (int i = 0; i < 4; ++i) {
    caller& refused = call(broken);
    ASSERT_TRUE(until([&] { return refused.ended; }));
    EXPECT_FALSE(refused.got);
    here().pass(60ms);
  }
  ASSERT_TRUE(backends().stats(at(broken))->breaker_open);
  {
    caller& one = hold(well);
    caller& two = hold(well);
    one.got->release();
    two.got->release();
  }
  here().pass(10s);
  EXPECT_EQ(totals().closed(close_reason::evicted), 0U);
  EXPECT_EQ(backends().stats(well)->idle, 2U);
  // Once somebody asks, the next trial may have a slot, and it is well again.
  broken.come_up();
  caller& asks = call(broken);
  ASSERT_TRUE(until([&] { return asks.ended; }));
  here().pass(200ms);
  caller& served = call(broken);
  ASSERT_TRUE(until([&] { return served.ended; }));
  EXPECT_TRUE(served.got);
}

}  // namespace
}  // namespace conpool::sim

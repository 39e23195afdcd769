// How age and use end connections: lifetimes, counts of uses, and trimming to what is needed.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <tests/sim/pool_fixture.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

using sim_age = pool_fixture;

// The timer that ends idle connections fires while the only one is leased, and finds none.
TEST_F(sim_age, T35_the_idle_timeout_holds_for_what_was_leased_when_it_fired) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.max_idle_time = 60s});
  make_idle(peer, 1);
  here().pass(59s);
  caller& held = hold(peer);
  here().pass(10s);
  held.got->release();
  here().pass(59s);
  EXPECT_EQ(totals().idle, 1U);
  here().pass(2s);
  EXPECT_EQ(totals().idle, 0U);
  EXPECT_EQ(closed(close_reason::idle_timeout), 1U);
}

// The timer is armed for the end of the endpoint, long after.
TEST_F(sim_age, T35_the_idle_timeout_holds_for_an_endpoint_that_was_unused) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.max_idle_time = 10s, .max_endpoint_idle_time = 1h});
  make_idle(peer, 1);
  here().pass(15s);
  EXPECT_EQ(totals().idle, 0U);
  make_idle(peer, 1);
  here().pass(11s);
  EXPECT_EQ(totals().idle, 0U);
  EXPECT_EQ(closed(close_reason::idle_timeout), 2U);
}

TEST_F(sim_age, T36_connections_of_one_age_end_at_different_times) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({.max_connections_per_endpoint = 100,
             .max_connecting_per_endpoint = 100,
             .max_idle_time = 0ms});
  const time_point born = here().now() + 10ms;
  make_idle(peer, 100);
  ASSERT_EQ(totals().idle, 100U);
  std::map<std::int64_t, std::uint64_t> ends;  // by second
  std::uint64_t before = 0;
  watch(61min, [&] {
    const std::uint64_t now = closed(close_reason::lifetime);
    if (now == before) return;
    ends[(here().now() - born) / 1s] += now - before;
    before = now;
  });
  EXPECT_EQ(before, 100U);
  EXPECT_GE(ends.begin()->first, 54 * 60) << "at most a tenth is taken off";
  EXPECT_LE(ends.rbegin()->first, 60 * 60 + 1);
  EXPECT_GE(ends.size(), 70U) << "100 ends in 360 seconds";
  for (const auto& [second, count] : ends) EXPECT_LE(count, 5U) << "in second " << second;
}

TEST_F(sim_age, T38_a_connection_is_closed_after_its_last_use) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.max_connection_uses = 3});
  std::vector<std::uint64_t> ids;
  for (unsigned i = 0; i < 4; ++i) {
    caller& one = hold(peer);
    ids.push_back((*one.got)->id());
    one.got->release();
    here().pass(10ms);
  }
  EXPECT_EQ(ids[0], ids[1]);
  EXPECT_EQ(ids[1], ids[2]);
  EXPECT_NE(ids[2], ids[3]) << "the fourth lease is on a new one";
  EXPECT_EQ(closed(close_reason::uses), 1U);
  EXPECT_EQ(totals().created, 2U);
}

// Twenty are in use at once, then one at a time. The peak that is remembered falls by a quarter of
// the difference each step, and half of what stands above it and the floor goes.
TEST_F(sim_age, T52_after_a_burst_half_of_the_excess_goes_at_each_step) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.max_connections_per_endpoint = 20,
             .max_connecting_per_endpoint = 20,
             .min_idle_per_endpoint = 4,
             .max_idle_time = 0ms,
             .trim_interval = 10s});
  make_idle(peer, 20);
  ASSERT_EQ(totals().idle, 20U);
  here().pass(10s);
  EXPECT_EQ(totals().idle, 20U) << "all were in use in this step";
  double need = 20;
  std::uint32_t expected = 20;
  for (unsigned step = 0; step < 20; ++step) {
    hold(peer).got->release();  // one is in use in each step
    here().pass(10s);
    need += (1 - need) / 4;
    const auto needed = static_cast<std::uint32_t>(std::lround(need)) + 4;
    if (expected > needed) expected -= (expected - needed + 1) / 2;
    EXPECT_EQ(totals().idle, expected) << "after step " << step;
  }
  EXPECT_EQ(totals().idle, 5U) << "one for the load, and four that are kept ready";
  EXPECT_EQ(closed(close_reason::trimmed), 15U);
}

TEST_F(sim_age, T52_trimming_leaves_what_a_steady_load_needs) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.max_idle_time = 0ms, .trim_interval = 10s});
  for (unsigned step = 0; step < 30; ++step) {
    make_idle(peer, 8);
    here().pass(5s);
  }
  EXPECT_EQ(closed(close_reason::trimmed), 0U);
  EXPECT_EQ(totals().created, 8U);
}

}  // namespace
}  // namespace conpool::sim

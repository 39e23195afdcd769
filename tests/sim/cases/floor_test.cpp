// min_idle_per_endpoint: what is kept ready, how it is refilled, and what it must not do to others.
#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <string>

#include <tests/sim/pool_fixture.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

class sim_floor : public pool_fixture {
 protected:
  // Six are ready, after the endpoint's first use.
  server& six_ready(std::uint32_t connecting = 2) {
    server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
    configure({.max_connecting_per_endpoint = connecting, .min_idle_per_endpoint = 6});
    hold(peer).got->release();
    here().pass(1s);
    EXPECT_EQ(totals().idle, 6U);
    EXPECT_EQ(totals().created, 6U);
    return peer;
  }
};

TEST_F(sim_floor, T39_the_floor_is_refilled_through_the_connect_cap) {
  server& peer = six_ready();
  peer.leave_all(server::farewell::close);
  std::uint32_t most = 0;
  watch(1s, [&] { most = std::max(most, totals().connecting); });
  EXPECT_EQ(most, 2U);
  EXPECT_EQ(totals().idle, 6U);
  EXPECT_EQ(totals().created, 12U);
}

// Many clients of one server that restarted do not come back at once.
TEST(sim_floor_refill, T39_a_refill_begins_after_a_jitter) {
  std::set<std::int64_t> delays;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    world here(seed);
    server& peer = here.net().add_server("10.0.0.1", 1000, takes(10ms));
    pool_config config;
    config.min_idle_per_endpoint = 1;
    pool backends = pool::create(here.home(), config).value();
    const endpoint_handle used = backends.handle(at(peer));
    ASSERT_TRUE(here.until([&] { return backends.totals().idle == 1; }));
    peer.leave_all(server::farewell::close);
    ASSERT_TRUE(here.until([&] { return backends.totals().idle == 0; }));
    const time_point gone = here.now();
    ASSERT_TRUE(here.until([&] { return backends.totals().connecting == 1; }, 200ms));
    EXPECT_LE(here.now() - gone, config.refill_jitter + 2ms);
    delays.insert((here.now() - gone) / 1ms);
    ASSERT_TRUE(here.until([&] { return backends.totals().idle == 1; }));
  }
  EXPECT_GE(delays.size(), 12U) << "20 seeds, 100 ms";
}

TEST_F(sim_floor, T39_what_expires_is_replaced_before_it_is_gone) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({.min_idle_per_endpoint = 3, .max_connection_lifetime = 10min});
  const endpoint_handle used = backends().handle(at(peer));
  here().pass(1s);
  ASSERT_EQ(totals().idle, 3U);
  std::uint32_t least = 3;
  std::uint32_t most = 3;
  watch(2h, [&] {
    least = std::min(least, totals().idle);
    most = std::max(most, totals().idle);
  });
  EXPECT_EQ(least, 3U);
  EXPECT_LE(most, 6U);
  EXPECT_GE(closed(close_reason::lifetime) + totals().closing, 33U);
  EXPECT_LE(totals().created, 3 * 14U) << "one replacement for each";
}

// Their times to be replaced lie so close together that the second one's comes before the first
// one is gone.
TEST_F(sim_floor, T39_each_connection_is_replaced_in_its_own_time) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(500ms));
  configure({.max_connecting_per_endpoint = 1,
             .min_idle_per_endpoint = 2,
             .max_idle_time = 0ms,
             .max_connection_lifetime = 60s,
             .lifetime_jitter_percent = 0});
  const endpoint_handle used = backends().handle(at(peer));
  here().pass(2s);
  ASSERT_EQ(totals().idle, 2U);
  std::uint32_t least = 2;
  watch(10min, [&] { least = std::min(least, totals().idle); });
  EXPECT_EQ(least, 2U);
  EXPECT_GE(closed(close_reason::lifetime), 18U);
}

TEST_F(sim_floor, T40_a_refill_that_fails_strands_no_waiter_and_backs_off) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({.max_connections_per_endpoint = 4, .min_idle_per_endpoint = 2, .breaker_failures = 0});
  const endpoint_handle used = backends().handle(at(peer));
  here().pass(1s);
  ASSERT_EQ(totals().idle, 2U);
  peer.go_down(server::farewell::close);
  here().pass(1s);
  EXPECT_EQ(totals().idle, 0U);
  const caller& waiting = call(peer);
  const caller& behind = call(peer);
  ASSERT_TRUE(here().until([&] { return waiting.ended && behind.ended; }, 5s));
  EXPECT_EQ(waiting.got.error(), errc::connect_failed) << "not stranded behind the refill";
  EXPECT_EQ(behind.got.error(), errc::connect_failed);
  const std::uint64_t before = peer.counts().connects;
  here().pass(60s);
  const std::uint64_t tried = peer.counts().connects - before;
  EXPECT_GE(tried, 4U) << "it goes on trying";
  EXPECT_LE(tried, 4 * 60U) << "no more than four after each backoff";
  peer.come_up();
  here().pass(pool_config{}.connect_backoff_max + 1s);
  EXPECT_EQ(totals().idle, 2U);
}

TEST_F(sim_floor, nothing_goes_below_it_and_what_is_above_goes) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.min_idle_per_endpoint = 2, .max_idle_per_endpoint = 4, .max_idle_time = 10s});
  make_idle(peer, 6);
  EXPECT_EQ(totals().idle, 4U);
  here().pass(50min);
  EXPECT_EQ(closed(close_reason::over_idle_limit), 4U) << "two were kept ready beside the six";
  EXPECT_EQ(totals().idle, 2U);
  EXPECT_EQ(closed(close_reason::idle_timeout), 2U);
  EXPECT_EQ(totals().endpoints, 1U) << "it is not forgotten";
}

TEST_F(sim_floor, as_many_as_may_be_idle_are_kept_without_churn) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.min_idle_per_endpoint = 3,
             .max_idle_per_endpoint = 3,
             .max_idle_time = 10s,
             .max_connection_lifetime = 10min});
  const endpoint_handle used = backends().handle(at(peer));
  here().pass(1h);
  EXPECT_EQ(totals().idle, 3U);
  EXPECT_EQ(closed(close_reason::over_idle_limit), 0U) << "no replacement is dialed for nothing";
  EXPECT_LE(totals().created, 3 * 7U + 3U);
}

}  // namespace
}  // namespace conpool::sim

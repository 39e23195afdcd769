// When the pool dials, and when it does not: demand, the caps, and who a failed connect concerns.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include <tests/sim/pool_fixture.h>
#include <tests/support/expect.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

class sim_dial : public pool_fixture {
 protected:
  std::vector<caller*> call_all(const server& to, unsigned count) {
    std::vector<caller*> made;
    for (unsigned i = 0; i < count; ++i) made.push_back(&call(to));
    return made;
  }
};

TEST_F(sim_dial, T10_callers_who_give_up_before_the_connect_stands_leave_it_to_later_ones) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(50ms));
  configure({.acquire_timeout = 10ms});
  for (unsigned i = 0; i < 4; ++i) {
    const auto failed = failure_of(peer);
    ASSERT_TRUE(failed);
    EXPECT_EQ(*failed, errc::acquire_timeout);
  }
  EXPECT_EQ(totals().created, 1U) << "one connect serves them all, one after the other";
  here().pass(20ms);
  EXPECT_EQ(totals().idle, 1U) << "nobody waited for it any more";
  EXPECT_EQ(failure_of(peer), std::nullopt);
  EXPECT_EQ(totals().created, 1U);
}

TEST_F(sim_dial, T12_no_more_connects_than_allowed_are_in_flight) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(50ms));
  configure({.max_connections_per_endpoint = 20, .max_connecting_per_endpoint = 2});
  const auto callers = call_all(peer, 20);
  std::uint32_t most = 0;
  std::uint32_t least_busy = 20;
  watch(499ms, [&] {
    most = std::max(most, totals().connecting);
    if (totals().waiting > 2) least_busy = std::min(least_busy, totals().connecting);
  });
  EXPECT_EQ(most, 2U);
  EXPECT_LE(totals().waiting, 2U) << "the cap is used up while somebody waits";
  here().pass(60ms);
  for (const caller* one : callers) EXPECT_TRUE(one->got);
  EXPECT_EQ(totals().created, 20U);
}

TEST_F(sim_dial, T13_connects_that_nobody_waits_for_are_not_begun) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(50ms));
  configure({.max_connecting_per_endpoint = 1});
  scope leaving(home());
  for (unsigned i = 0; i < 9; ++i) call_in(&leaving, peer);
  const caller& staying = call(peer);
  here().pass(10ms);
  EXPECT_EQ(totals().waiting, 10U);
  leaving.cancel();
  here().pass(1s);
  EXPECT_TRUE(staying.got);
  EXPECT_EQ(totals().created, 1U) << "the connects that waited for their turn had nobody any more";
  EXPECT_EQ(peer.counts().connects, 1U);
  ASSERT_TRUE(here().run([&]() -> task<void> { co_await leaving.join(); }));
}

// The last moment: the connects are on the ready queue when those who asked leave.
TEST_F(sim_dial, T13_connects_are_not_begun_when_their_callers_left_before) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(50ms));
  configure({.max_connecting_per_endpoint = 8});
  scope leaving(home());
  for (unsigned i = 0; i < 8; ++i) call_in(&leaving, peer);
  const std::shared_ptr<bool> left = here().start([&]() -> task<void> {
    while (totals().connecting == 0) co_await home().yield();
    leaving.cancel();
  });
  here().pass(1s);
  EXPECT_TRUE(*left);
  EXPECT_EQ(totals().connects_spared, 8U);
  EXPECT_EQ(totals().created, 0U);
  EXPECT_EQ(peer.counts().connects, 0U);
  ASSERT_TRUE(here().run([&]() -> task<void> { co_await leaving.join(); }));
}

TEST_F(sim_dial, T15_a_failed_connect_at_the_cap_lets_the_next_waiter_dial) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  peer.go_down();
  configure({.max_connections_per_endpoint = 1});
  const caller& first = call(peer);
  const caller& second = call(peer);
  ASSERT_TRUE(here().until([&] { return first.ended; }));
  EXPECT_EQ(first.got.error(), errc::connect_failed);
  EXPECT_FALSE(second.ended) << "a failure at the cap concerns one";
  peer.come_up();
  ASSERT_TRUE(here().until([&] { return second.ended; }, 1s));
  EXPECT_OK(second.got);
  EXPECT_EQ(totals().created, 2U);
}

TEST_F(sim_dial, a_failed_connect_fails_the_one_that_waits_longest) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({.max_connecting_per_endpoint = 1, .breaker_failures = 0});
  peer.go_down();
  const auto callers = call_all(peer, 3);
  for (std::size_t turn = 0; turn < callers.size(); ++turn) {
    ASSERT_TRUE(here().until([&] { return callers[turn]->ended; }, 1s));
    EXPECT_EQ(callers[turn]->got.error(), errc::connect_failed);
    EXPECT_EQ(totals().waiting, callers.size() - turn - 1) << "the others go on waiting";
  }
  EXPECT_EQ(totals().created, 3U);
}

// The floor's connects are for the floor: they take no place from another endpoint.
TEST_F(sim_dial, a_refill_evicts_nothing_of_another_endpoint) {
  const server& one = net().add_server("10.0.0.1", 1000, takes(1ms));
  const server& other = net().add_server("10.0.0.2", 1000, takes(1ms));
  configure({.max_connections = 3});
  make_idle(one, 2);
  pool_config config = backends().config();
  config.min_idle_per_endpoint = 2;
  ASSERT_TRUE(backends().reconfigure(config));
  caller& held = hold(other);
  here().pass(1s);
  EXPECT_EQ(closed(close_reason::evicted), 0U);
  EXPECT_EQ(totals().idle, 2U);
  held.got->release();
}

TEST_F(sim_dial, what_found_no_place_is_dialed_when_there_is_one_though_nobody_waits) {
  const server& one = net().add_server("10.0.0.1", 1000, takes(1ms));
  const server& other = net().add_server("10.0.0.2", 1000, takes(1ms));
  configure({.max_connections = 2});
  caller& first = hold(other);
  caller& second = hold(other);
  result<void> warmed = fail(error(errc::invalid_argument));
  const std::shared_ptr<bool> ended = here().start([&]() -> task<void> {
    auto work = backends().warm(at(one), 2, 10s);
    warmed = co_await work;
  });
  here().pass(1s);
  EXPECT_FALSE(*ended);
  first.got->discard();
  second.got->discard();
  here().pass(1s);
  EXPECT_TRUE(*ended);
  EXPECT_TRUE(warmed);
  EXPECT_EQ(backends().stats(at(one))->idle, 2U);
}

}  // namespace
}  // namespace conpool::sim

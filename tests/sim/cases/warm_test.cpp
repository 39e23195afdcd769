// pool::warm(): connections that stand before anybody asks for them, and all the ways it can end.
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include <tests/sim/pool_fixture.h>
#include <tests/support/expect.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

class sim_warm : public pool_fixture {
 protected:
  struct outcome {
    result<void> got = fail(error(errc::invalid_argument));
    bool ended = false;
  };
  void begin(const server& to, std::uint32_t count, outcome& into, duration within = 0s) {
    home().spawn(
        [](pool_fixture* self, endpoint peer, std::uint32_t wanted, duration most,
           outcome* answer) -> task<void> {
          auto work = static_cast<sim_warm*>(self)->backends().warm(peer, wanted, most);
          answer->got = co_await work;
          answer->ended = true;
        },
        this, at(to), count, within, &into);
  }
  // To its end.
  result<void> warm(const server& to, std::uint32_t count, duration within = 0s) {
    outcome one;
    begin(to, count, one, within);
    EXPECT_TRUE(here().until([&] { return one.ended; }));
    return std::move(one.got);
  }
};

TEST_F(sim_warm, dials_what_is_missing_through_the_connect_cap) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({.max_connecting_per_endpoint = 2});
  outcome one;
  begin(peer, 6, one);
  std::uint32_t most = 0;
  watch(29ms, [&] { most = std::max(most, totals().connecting); });
  EXPECT_FALSE(one.ended);
  here().pass(2ms);
  EXPECT_TRUE(one.got);
  EXPECT_EQ(most, 2U);
  EXPECT_EQ(totals().idle, 6U);
  EXPECT_EQ(totals().created, 6U);
}

TEST_F(sim_warm, counts_what_stands_already_leased_or_idle) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({});
  const caller& held = hold(peer);
  EXPECT_TRUE(warm(peer, 3));
  EXPECT_TRUE(held.got);
  EXPECT_EQ(totals().idle, 2U);
  const time_point before = here().now();
  EXPECT_TRUE(warm(peer, 3));
  EXPECT_TRUE(warm(peer, 0));
  EXPECT_EQ(here().now(), before) << "nothing to wait for";
  EXPECT_EQ(totals().created, 3U);
}

TEST_F(sim_warm, two_at_once_and_a_caller_want_the_same_connections) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({});
  outcome one;
  outcome other;
  begin(peer, 4, one);
  begin(peer, 3, other);
  const caller& with_them = call(peer);
  here().pass(1s);
  EXPECT_TRUE(one.got);
  EXPECT_TRUE(other.got);
  EXPECT_TRUE(with_them.got);
  EXPECT_EQ(totals().created, 4U);
}

TEST_F(sim_warm, replaces_what_dies_before_all_stand) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({.max_connecting_per_endpoint = 1});
  outcome one;
  begin(peer, 3, one);
  here().pass(15ms);
  EXPECT_EQ(totals().idle, 1U);
  peer.leave_all(server::farewell::close);
  ASSERT_TRUE(here().until([&] { return one.ended; }, 4s));
  EXPECT_OK(one.got);
  EXPECT_EQ(totals().idle, 3U);
}

TEST_F(sim_warm, ends_with_the_error_of_a_connect_that_fails) {
  const server& peer = net().add_server("10.0.0.1", 1000, {.refuse = 1});
  configure({.max_connecting_per_endpoint = 1});
  const result<void> got = warm(peer, 2);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::connect_failed);
  EXPECT_EQ(got.error().system_errno(), ECONNREFUSED);
  EXPECT_EQ(totals().created, 1U);
  here().pass(10s);
  EXPECT_EQ(totals().created, 1U) << "nobody wants them any more";
}

TEST_F(sim_warm, ends_at_its_deadline_and_says_how_many_are_missing) {
  const server& peer = net().add_server("10.0.0.1", 1000, {.black_hole = 1});
  configure({.acquire_timeout = 700ms});
  time_point before = here().now();
  const result<void> own = warm(peer, 2, 200ms);
  ASSERT_FALSE(own);
  EXPECT_EQ(own.error(), errc::deadline_exceeded);
  EXPECT_NE(own.error().message().find("2 of 2"), std::string::npos) << own.error().message();
  EXPECT_GE(here().now() - before, 200ms);
  EXPECT_LE(here().now() - before, 202ms);
  before = here().now();
  const result<void> by_config = warm(peer, 2);
  EXPECT_FALSE(by_config);
  EXPECT_GE(here().now() - before, 700ms);
  EXPECT_LE(here().now() - before, 702ms);
}

TEST_F(sim_warm, a_cancelled_one_leaves_its_connects_to_the_pool) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({});
  result<void> got{};
  scope leaving(home());
  leaving.spawn([&]() -> task<void> {
    auto work = backends().warm(at(peer), 2);
    got = co_await work;
  });
  here().pass(5ms);
  leaving.cancel();
  here().pass(1s);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::cancelled);
  EXPECT_EQ(totals().idle, 2U);
  ASSERT_TRUE(here().run([&]() -> task<void> { co_await leaving.join(); }));
}

TEST_F(sim_warm, refuses_more_than_may_stand) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({.max_connections_per_endpoint = 8, .max_idle_per_endpoint = 4});
  const result<void> above_all = warm(peer, 9);
  ASSERT_FALSE(above_all);
  EXPECT_EQ(above_all.error(), errc::invalid_argument);
  const result<void> above_idle = warm(peer, 5);
  ASSERT_FALSE(above_idle);
  EXPECT_EQ(above_idle.error(), errc::invalid_argument);
  EXPECT_EQ(totals().created, 0U);
  EXPECT_TRUE(warm(peer, 4));
}

TEST_F(sim_warm, is_over_when_a_lowered_limit_lets_no_more_stand) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({.max_connecting_per_endpoint = 1});
  outcome one;
  begin(peer, 4, one);
  here().pass(15ms);
  pool_config config = backends().config();
  config.max_idle_per_endpoint = 2;
  ASSERT_TRUE(backends().reconfigure(config));
  here().pass(1s);
  EXPECT_TRUE(one.ended);
  EXPECT_TRUE(one.got);
  EXPECT_EQ(totals().idle, 2U);
  EXPECT_EQ(totals().created, 2U);
}

TEST_F(sim_warm, ends_with_the_pool) {
  const server& peer = net().add_server("10.0.0.1", 1000, {.black_hole = 1});
  configure({});
  outcome one;
  begin(peer, 1, one);
  here().settle();
  ASSERT_TRUE(here().run([&]() -> task<void> {
    auto closed = co_await backends().close();
    CO_ASSERT_OK(closed);
  }));
  here().settle();
  ASSERT_TRUE(one.ended);
  ASSERT_FALSE(one.got);
  EXPECT_EQ(one.got.error(), errc::pool_closed);
  const result<void> later = warm(peer, 1);
  ASSERT_FALSE(later);
  EXPECT_EQ(later.error(), errc::pool_closed);
}

}  // namespace
}  // namespace conpool::sim

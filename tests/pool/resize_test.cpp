// Limits that change while the pool runs.
#include <gtest/gtest.h>

#include <chrono>
#include <utility>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/expect.h>
#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class resize : public pool_fixture {
 protected:
  // Reconfigures the pool with one thing changed.
  template <typename Change>
  void change(Change what) {
    pool_config config = backends().config();
    what(config);
    const result<void> done = backends().reconfigure(config);
    ASSERT_OK(done);
  }
  void start_with(std::uint32_t connections) {
    pool_config config;
    config.max_connections_per_endpoint = connections;
    configure(config);
  }
  std::vector<lease> hold_many(unsigned count) {
    std::vector<lease> held;
    for (unsigned i = 0; i < count; ++i) held.push_back(hold());
    return held;
  }
};

TEST_F(resize, T50_a_lowered_limit_closes_the_excess_on_return_and_a_raised_one_wakes_waiters) {
  start_with(6);
  std::vector<lease> held = hold_many(6);
  change([](pool_config& config) { config.max_connections_per_endpoint = 3; });
  EXPECT_EQ(totals().active, 6U) << "a lease is never cut short";
  caller& waiting = call();
  settle();
  EXPECT_FALSE(waiting.ended);
  // Four come back in one turn: three are the excess, and the fourth stays.
  held.resize(2);
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(closed(close_reason::over_limit), 3U);
  ASSERT_TRUE(until([&] { return waiting.ended; }));
  EXPECT_TRUE(waiting.served());
  EXPECT_TRUE(waiting.got->reused()) << "it got the one that came back within the limit";

  caller& more = call();
  caller& most = call();
  settle();
  EXPECT_FALSE(more.ended || most.ended);
  change([](pool_config& config) { config.max_connections_per_endpoint = 5; });
  ASSERT_TRUE(until([&] { return more.served() && most.served(); })) << "growth woke nobody";
  EXPECT_EQ(totals().active, 5U);
}

TEST_F(resize, T50_a_lowered_limit_closes_of_the_idle_only_the_excess) {
  start_with(6);
  hold_many(6).clear();
  ASSERT_EQ(totals().idle, 6U);
  change([](pool_config& config) { config.max_connections_per_endpoint = 4; });
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(totals().idle, 4U);
  EXPECT_EQ(closed(close_reason::over_limit), 2U);
  change([](pool_config& config) { config.max_idle_per_endpoint = 1; });
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(totals().idle, 1U);
  EXPECT_EQ(closed(close_reason::over_idle_limit), 3U);
  std::vector<lease> held = hold_many(3);
  held.clear();
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(totals().idle, 1U) << "the new limit holds for returns, too";
  change([](pool_config& config) { config.max_idle_per_endpoint = 3; });
  held = hold_many(3);
  held.clear();
  EXPECT_EQ(totals().idle, 3U);
}

TEST_F(resize, T50_the_limit_over_all_endpoints_may_shrink_and_grow) {
  start_with(8);
  echo_server& other = add_server();
  hold_many(3).clear();
  pass(1s);
  lease held = hold(other.at());
  hold(other.at()).release();
  ASSERT_EQ(totals().idle, 4U);
  change([](pool_config& config) { config.max_connections = 2; });
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(totals().idle + totals().active, 2U) << "what is idle above it goes at once";
  EXPECT_EQ(closed(close_reason::over_limit), 3U);
  EXPECT_EQ(backends().stats(other.at())->idle, 1U) << "the coldest went first";

  lease second = hold(other.at());
  change([](pool_config& config) { config.max_connections = 1; });
  held.release();
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(totals().idle, 0U) << "what is leased goes when it comes back";
  second.release();
  EXPECT_EQ(totals().idle, 1U) << "and no more than the excess";

  lease last = hold(other.at());
  caller& waiting = call();
  settle();
  EXPECT_FALSE(waiting.ended);
  change([](pool_config& config) { config.max_connections = 2; });
  ASSERT_TRUE(until([&] { return waiting.ended; })) << "growth woke nobody";
  EXPECT_TRUE(waiting.served());
}

TEST_F(resize, T50_the_limit_over_all_endpoints_may_be_lifted) {
  pool_config config;
  config.max_connections = 1;
  configure(config);
  echo_server& other = add_server();
  lease held = hold();
  caller& waiting = call(other.at());
  settle();
  ASSERT_FALSE(waiting.ended);
  change([](pool_config& changed) { changed.max_connections = 0; });
  ASSERT_TRUE(until([&] { return waiting.served(); }));
  held.release();
  EXPECT_EQ(totals().idle, 1U) << "nobody stands in line any more";
}

TEST_F(resize, T50_the_floor_the_queue_and_the_times_may_change) {
  start_with(4);
  lease first = hold();
  change([](pool_config& config) {
    config.max_connections_per_endpoint = 1;
    config.max_waiters_per_endpoint = 1;
    config.acquire_timeout = 7s;
  });
  caller& waiting = call();
  settle();
  EXPECT_EQ(refused(server().at()), errc::queue_full);
  change([](pool_config& config) { config.max_waiters_per_endpoint = 2; });
  caller& second = call();
  settle();
  EXPECT_FALSE(second.ended) << "the longer queue has room";
  change([](pool_config& config) { config.max_waiters_per_endpoint = 1; });
  settle();
  EXPECT_FALSE(second.ended) << "who waits already may stay";
  pass(7s);
  EXPECT_EQ(waiting.failure(), errc::acquire_timeout);
  EXPECT_EQ(second.failure(), errc::acquire_timeout);
  first.release();

  change([](pool_config& config) {
    config.max_connections_per_endpoint = 4;
    config.min_idle_per_endpoint = 3;
    config.refill_jitter = 0ms;
  });
  ASSERT_TRUE(until([&] { return totals().idle == 3; })) << "the floor is dialed";
  change([](pool_config& config) {
    config.min_idle_per_endpoint = 1;
    config.max_idle_time = 20s;
  });
  pass(21s);
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(totals().idle, 1U)
      << "the shorter time holds for what was idle before, down to the floor";
}

TEST_F(resize, T50_a_changed_limit_of_uses_holds_for_what_is_leased) {
  start_with(4);
  lease held = hold();
  change([](pool_config& config) { config.max_connection_uses = 1; });
  held.release();
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(closed(close_reason::uses), 1U);
  change([](pool_config& config) { config.max_connection_uses = 0; });
  hold().release();
  hold().release();
  EXPECT_EQ(totals().idle, 1U);
}

TEST_F(resize, a_wrong_configuration_changes_nothing) {
  const pool_config before = backends().config();
  pool_config wrong = before;
  wrong.max_connections_per_endpoint = 0;
  const result<void> refused = backends().reconfigure(wrong);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), errc::invalid_config);
  EXPECT_EQ(refused.error().subject(), "max_connections_per_endpoint");
  wrong = before;
  wrong.validation = validation_policy::ping;  // there is no protocol to ping
  EXPECT_FALSE(backends().reconfigure(wrong));
  EXPECT_EQ(backends().config(), before);
}

}  // namespace
}  // namespace conpool::test

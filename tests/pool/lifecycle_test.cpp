// How connections end: expiry, clear, close, dirty returns, leases that outlive their pool.
#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <chrono>
#include <string>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

using lifecycle = pool_fixture;

TEST_F(lifecycle, T2_idle_connections_are_a_stack) {
  lease a = hold();
  lease b = hold();
  const std::uint64_t id_a = a->id();
  const std::uint64_t id_b = b->id();
  a.release();
  b.release();
  lease next = hold();
  EXPECT_EQ(next->id(), id_b);
  lease after = hold();
  EXPECT_EQ(after->id(), id_a);
}

TEST_F(lifecycle, a_lease_given_back_outside_of_a_turn_makes_the_descriptor_readable) {
  pollfd watched{.fd = home().fd(), .events = POLLIN, .revents = 0};
  lease held = hold();
  EXPECT_TRUE(works(held));
  settle();
  EXPECT_EQ(::poll(&watched, 1, 0), 0);
  held.release();  // as a callback of a foreign loop would
  EXPECT_EQ(::poll(&watched, 1, 0), 1);
  settle();
  EXPECT_EQ(::poll(&watched, 1, 0), 0);
}

TEST_F(lifecycle, T35_the_coldest_expire_on_time_and_the_warm_stay) {
  lease a = hold();
  lease b = hold();
  a.release();
  pass(30s);
  b.release();
  settle();
  pass(29s);
  EXPECT_EQ(totals().idle, 2U);
  pass(2s);
  EXPECT_EQ(totals().idle, 1U);
  EXPECT_EQ(closed(close_reason::idle_timeout), 1U);
  pass(30s);
  EXPECT_EQ(totals().idle, 0U);
  EXPECT_EQ(closed(close_reason::idle_timeout), 2U);
  EXPECT_TRUE(until([&] { return totals().closing == 0; }));
}

TEST_F(lifecycle, T35_the_idle_timeout_holds_while_the_timer_waits_for_something_later) {
  lease first = hold();
  hold().release();
  settle();
  pass(60s);
  ASSERT_EQ(closed(close_reason::idle_timeout), 1U);  // now only the lifetime is to be waited for
  first.release();
  pass(60s);
  EXPECT_EQ(closed(close_reason::idle_timeout), 2U);
}

TEST_F(lifecycle, T37_past_their_lifetime_idle_ones_end_by_timer_and_leased_ones_on_return) {
  pool_config config;
  config.max_connection_lifetime = 10s;
  config.max_idle_time = 0ms;
  configure(config);
  lease idle = hold();
  lease leased = hold();
  idle.release();
  settle();
  pass(9s);
  EXPECT_EQ(totals().idle, 1U);
  pass(2s);
  EXPECT_EQ(totals().idle, 0U);
  EXPECT_EQ(closed(close_reason::lifetime), 1U);
  EXPECT_EQ(totals().active, 1U) << "a lease is never cut short";
  leased.release();
  EXPECT_EQ(closed(close_reason::lifetime) + totals().closing, 2U);
}

TEST_F(lifecycle, T73_after_a_jump_of_the_clock_overdue_ones_are_dropped_before_an_acquire) {
  hold().release();
  settle();
  clock().advance(10min);  // as after a suspended machine: no turn in between; within its lifetime
  ASSERT_TRUE(run([this]() -> task<void> {
    auto one = co_await backends().acquire(server().at());
    CO_ASSERT_OK(one);
    EXPECT_FALSE(one->reused());
  }));
  EXPECT_EQ(closed(close_reason::idle_timeout) + totals().closing, 1U);
}

// Setting the wall clock changes nothing, since no code reads it: scripts/tidy.py sees to that.
TEST_F(lifecycle, T73_a_jump_of_the_clock_ends_waits_and_lifetimes_that_are_over_and_no_lease) {
  pool_config config;
  config.max_connections_per_endpoint = 1;
  config.max_connection_lifetime = 1h;
  configure(config);
  lease held = hold();
  errc why{};
  bool ended = false;
  start(
      [&]() -> task<void> {
        auto late = co_await backends().acquire(server().at());
        if (!late) why = late.error().kind();
      },
      ended);
  settle();
  clock().advance(2h);
  settle();
  ASSERT_TRUE(ended);
  EXPECT_EQ(why, errc::acquire_timeout);
  ASSERT_TRUE(run([&]() -> task<void> {
    auto sent = co_await held->write("x");
    CO_ASSERT_OK(sent);
    std::array<char, 1> got{};
    auto read = co_await held->read_exactly(std::span<char>(got));
    CO_ASSERT_OK(read);
  }));
  held.release();
  EXPECT_TRUE(until([&] { return totals().closing == 0; }));
  EXPECT_EQ(closed(close_reason::lifetime), 1U);
  EXPECT_FALSE(hold().reused());
}

TEST_F(lifecycle, idle_connections_beyond_the_limit_are_closed_on_return) {
  pool_config config;
  config.max_idle_per_endpoint = 1;
  configure(config);
  lease a = hold();
  lease b = hold();
  a.release();
  b.release();
  EXPECT_TRUE(until([&] { return totals().closing == 0; }));
  EXPECT_EQ(totals().idle, 1U);
  EXPECT_EQ(closed(close_reason::over_idle_limit), 1U);
}

TEST_F(lifecycle,
       T41_a_clear_closes_idle_ones_now_leased_ones_on_return_and_pending_ones_when_they_stand) {
  lease idle = hold();
  lease leased = hold();
  idle.release();
  bool ended = false;
  start(
      [this]() -> task<void> {
        auto first = co_await backends().acquire(server().at());   // takes the idle one
        auto second = co_await backends().acquire(server().at());  // dials
        CO_ASSERT_OK(first);
        CO_ASSERT_OK(second);
        EXPECT_FALSE(second->reused());
      },
      ended);
  home().run_once(duration::zero());
  ASSERT_EQ(totals().connecting, 1U);
  backends().clear(server().at());
  ASSERT_TRUE(until([&] { return ended; }));
  leased.release();
  settle();
  EXPECT_TRUE(until([&] { return totals().closing == 0; }));
  // Two leased and one connecting were from before the clear; one was made after it.
  EXPECT_EQ(closed(close_reason::cleared), 3U);
  EXPECT_EQ(totals().idle, 1U);
}

TEST_F(lifecycle, T47_bytes_unread_at_the_return_close_the_connection) {
  lease held = hold();
  ASSERT_TRUE(run([&]() -> task<void> {
    auto sent = co_await held->write("0123456789");
    CO_ASSERT_OK(sent);
    std::array<char, 4> some{};
    auto read = co_await held->read_exactly(std::span<char>(some));
    CO_ASSERT_OK(read);
  }));
  held.release();
  EXPECT_TRUE(until([&] { return totals().closing == 0; }));
  EXPECT_EQ(closed(close_reason::unread_data), 1U);
}

TEST_F(lifecycle, a_write_that_was_never_read_after_is_not_lent_again) {
  lease held = hold();
  ASSERT_TRUE(run([&]() -> task<void> {
    auto sent = co_await held->write("is anybody there?");
    CO_ASSERT_OK(sent);
  }));
  held.release();
  EXPECT_TRUE(until([&] { return totals().closing == 0; }));
  EXPECT_EQ(closed(close_reason::unanswered), 1U);
}

TEST_F(lifecycle, reuse_unanswered_allows_protocols_without_answers) {
  pool_config config;
  config.reuse_unanswered = true;
  configure(config);
  server().echo(false);
  lease held = hold();
  ASSERT_TRUE(run([&]() -> task<void> {
    auto sent = co_await held->write("metric:1|c");
    CO_ASSERT_OK(sent);
  }));
  held.release();
  settle();
  EXPECT_EQ(totals().idle, 1U);
}

TEST_F(lifecycle, T48_a_read_in_flight_at_the_return_is_cancelled_and_the_connection_closed) {
  lease held = hold();
  connection& inner = *held;
  result<std::size_t> outcome = 0U;
  bool ended = false;
  std::array<char, 16> into{};
  start([&]() -> task<void> { outcome = co_await inner.read(std::span<char>(into)); }, ended);
  settle();
  EXPECT_FALSE(ended);
  held.release();
  ASSERT_TRUE(until([&] { return ended; }));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error(), errc::connection_closed);
  EXPECT_EQ(closed(close_reason::busy), 1U);
}

TEST_F(lifecycle, a_read_that_timed_out_makes_the_connection_unusable) {
  server().echo(false);
  lease held = hold();
  result<std::size_t> outcome = 0U;
  bool ended = false;
  start(
      [&]() -> task<void> {
        auto sent = co_await held->write("x");
        CO_ASSERT_OK(sent);
        std::array<char, 16> into{};
        outcome = co_await held->read(std::span<char>(into));
      },
      ended);
  settle();
  pass(31s);
  ASSERT_TRUE(until([&] { return ended; }));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error(), errc::read_timeout);
  EXPECT_NE(outcome.error().message().find(server().at().text()), std::string::npos);
  held.release();
  EXPECT_TRUE(until([&] { return totals().closing == 0; }));
  EXPECT_EQ(closed(close_reason::interrupted), 1U);
}

TEST_F(lifecycle, T49_discard_closes_the_connection_and_frees_the_slot) {
  pool_config config;
  config.max_connections_per_endpoint = 1;
  configure(config);
  lease held = hold();
  held.discard();
  EXPECT_FALSE(held);
  lease next = hold();
  EXPECT_FALSE(next.reused());
  EXPECT_EQ(closed(close_reason::discarded), 1U);
}

TEST_F(lifecycle, T44_a_close_wakes_each_waiter_once) {
  pool_config config;
  config.max_connections_per_endpoint = 1;
  configure(config);
  lease held = hold();
  int failed = 0;
  scope all(home());
  for (int i = 0; i < 3; ++i) {
    all.spawn([this, &failed]() -> task<void> {
      auto one = co_await backends().acquire(server().at());
      if (!one && one.error() == errc::pool_closed) ++failed;
    });
  }
  settle();
  ASSERT_TRUE(run([this]() -> task<void> {
    auto closed = co_await backends().close();
    EXPECT_TRUE(closed);
    auto one = co_await backends().acquire(server().at());
    EXPECT_FALSE(one);
    if (!one) {
      EXPECT_EQ(one.error(), errc::pool_closed);
    }
  }));
  EXPECT_EQ(failed, 3);
  EXPECT_EQ(totals().active, 1U);
  held.release();  // T45: a late return is closed, and nothing else happens
  EXPECT_TRUE(until([&] { return totals().closing == 0; }));
  EXPECT_EQ(closed(close_reason::pool_closed), 1U);
  ASSERT_TRUE(run([&]() -> task<void> { co_await all.join(); }));
}

TEST_F(lifecycle, a_lease_may_outlive_its_pool) {
  lease held = hold();
  configure({});  // destroys the pool that lent it
  ASSERT_TRUE(run([&]() -> task<void> {
    auto sent = co_await held->write("still here");
    CO_ASSERT_OK(sent);
    std::array<char, 10> got{};
    auto read = co_await held->read_exactly(std::span<char>(got));
    CO_ASSERT_OK(read);
  }));
  held.release();
  settle();
}

TEST_F(lifecycle, a_waiter_outlives_its_pool_with_an_error) {
  pool_config config;
  config.max_connections_per_endpoint = 1;
  configure(config);
  lease held = hold();
  result<lease> got = fail(error(errc::invalid_argument));
  bool ended = false;
  start([&]() -> task<void> { got = co_await backends().acquire(server().at()); }, ended);
  settle();
  configure({});
  ASSERT_TRUE(until([&] { return ended; }));
  EXPECT_EQ(got.error(), errc::pool_closed);
  held.release();
  settle();
}

TEST_F(lifecycle, with_connection_returns_the_value_and_the_connection) {
  ASSERT_TRUE(run([this]() -> task<void> {
    auto asked = backends().with_connection(
        server().at(), [](connection& peer) -> task<result<std::string>> {
          auto sent = co_await peer.write("hello");
          if (!sent) co_return fail(std::move(sent.error()));
          std::string got(5, '\0');
          auto read = co_await peer.read_exactly(std::span<char>(got));
          if (!read) co_return fail(std::move(read.error()));
          co_return got;
        });
    auto answer = co_await asked;
    CO_ASSERT_OK(answer);
    EXPECT_EQ(*answer, "hello");
  }));
  EXPECT_EQ(totals().idle, 1U);
}

TEST_F(lifecycle, with_connection_discards_when_the_function_fails_or_throws) {
  ASSERT_TRUE(run([this]() -> task<void> {
    auto failing = backends().with_connection(server().at(), [](connection&) -> task<result<int>> {
      co_return fail(error(errc::invalid_argument));
    });
    auto answer = co_await failing;
    EXPECT_FALSE(answer);
    auto throwing = backends().with_connection(server().at(), [](connection&) -> task<result<int>> {
      throw 7;
      co_return 1;
    });
    bool thrown = false;
    try {
      auto never = co_await throwing;
      static_cast<void>(never);
    } catch (int) {
      thrown = true;
    }
    EXPECT_TRUE(thrown);
  }));
  EXPECT_TRUE(until([&] { return totals().closing == 0; }));
  EXPECT_EQ(closed(close_reason::discarded), 2U);
}

TEST_F(lifecycle, stats_name_the_endpoint) {
  EXPECT_FALSE(backends().stats(server().at()));
  hold().release();
  const auto one = backends().stats(server().at());
  ASSERT_TRUE(one);
  EXPECT_EQ(one->endpoint, server().at().text());
  EXPECT_EQ(one->idle, 1U);
  EXPECT_EQ(backends().all_stats().size(), 1U);
}

// The shard ends while there are leases, waiters, connects and idle connections. The leases and the
// pool outlive it.
TEST(pool_stop, everything_may_outlive_the_shard) {
  const std::size_t before = open_descriptors();
  std::optional<pool> outliving;
  std::vector<lease> held;
  {
    auto home = shard::create().value();
    ASSERT_TRUE(home->attach());
    echo_server server(*home);
    pool_config config;
    config.max_connections_per_endpoint = 1000;
    config.max_connecting_per_endpoint = 1000;
    config.max_waiters_per_endpoint = 4000;
    outliving.emplace(pool::create(*home, config).value());
    int ended = 0;
    for (int i = 0; i < 500; ++i) {
      home->spawn([&]() -> task<void> {
        auto one = co_await outliving->acquire(server.at());
        if (one && held.size() < 100) held.push_back(std::move(*one));
        ++ended;
      });
    }
    ASSERT_TRUE(run_until(*home, [&] { return ended == 500; }));
    for (int i = 0; i < 2000; ++i) {
      home->spawn([&]() -> task<void> {
        auto one = co_await outliving->acquire(server.at());
        if (one) {
          std::array<char, 1> never{};
          auto read = co_await (*one)->read(std::span<char>(never));
          EXPECT_FALSE(read);
        }
        ++ended;
      });
    }
    for (int turns = 0; turns < 40; ++turns) home->run_once(duration::zero());
    EXPECT_GT(home->ring().in_flight(), 1000U);
    home->stop();
    ASSERT_TRUE(run_until(*home, [&] { return home->stopped(); }));
    EXPECT_EQ(ended, 2500);
  }
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(held.size(), 100U);
  EXPECT_TRUE(outliving->closed());
  EXPECT_TRUE(add_up(outliving->totals()));
  held.clear();
  EXPECT_EQ(outliving->totals().active, 0U);
}

}  // namespace
}  // namespace conpool::test

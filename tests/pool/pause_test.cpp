// A paused pool lends nothing and dials nothing; the policy says what its callers get meanwhile.
#include <gtest/gtest.h>

#include <chrono>
#include <utility>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

using pauses = pool_fixture;

TEST_F(pauses, T51_callers_wait_during_a_pause_and_are_served_after_it) {
  hold().release();
  lease held = hold();
  lease other = hold();
  held.release();
  backends().pause();
  EXPECT_TRUE(backends().paused());
  caller& first = call();
  caller& second = call();
  caller& third = call();
  settle();
  EXPECT_FALSE(first.ended) << "it was lent an idle connection";
  EXPECT_EQ(totals().waiting, 3U);
  EXPECT_EQ(totals().connecting, 0U);
  other.release();
  EXPECT_EQ(totals().idle, 2U) << "what comes back becomes idle";
  settle();
  EXPECT_FALSE(first.ended);

  lease newcomer;
  ASSERT_TRUE(run([&]() -> task<void> {
    backends().resume();
    EXPECT_FALSE(backends().paused());
    auto got = co_await backends().acquire(server().at());
    CO_ASSERT_OK(got);
    newcomer = std::move(*got);
  }));
  ASSERT_TRUE(until([&] { return first.ended && second.ended && third.ended; }));
  EXPECT_TRUE(first.served() && second.served() && third.served());
  EXPECT_TRUE(first.got->reused()) << "those who waited get what was idle";
  EXPECT_TRUE(second.got->reused());
  EXPECT_FALSE(newcomer.reused()) << "and no newcomer";
}

TEST_F(pauses, T51_a_caller_who_times_out_during_a_pause_hears_why) {
  hold().release();
  backends().pause();
  caller& waiting = call();
  settle();
  pass(5s);
  ASSERT_EQ(waiting.failure(), errc::acquire_timeout);
  EXPECT_TRUE(says(waiting.got.error(), "the pool is paused")) << waiting.got.error().message();
  EXPECT_EQ(refused(server().at(), {.try_only = true}), errc::none_idle);
}

TEST_F(pauses, T51_callers_fail_at_once_where_the_policy_says_so) {
  pool_config config;
  config.max_connections_per_endpoint = 1;
  configure(config);
  lease held = hold();
  caller& waiting = call();
  settle();
  backends().pause(while_paused::fail);
  settle();
  EXPECT_EQ(waiting.failure(), errc::pool_paused) << "who waits already does not wait for a resume";
  held.release();
  EXPECT_EQ(totals().idle, 1U);
  const error why = refused(server().at());
  EXPECT_EQ(why, errc::pool_paused);
  EXPECT_TRUE(says(why, server().at().text())) << why.message();
  EXPECT_EQ(totals().acquire_timeouts, 0U);
  backends().resume();
  EXPECT_TRUE(hold().reused());
}

TEST_F(pauses, T51_a_pause_holds_for_handles_too) {
  const endpoint_handle there = backends().handle(server().at());
  hold().release();
  backends().pause(while_paused::fail);
  ASSERT_TRUE(run([&]() -> task<void> {
    auto got = co_await backends().acquire(there);
    EXPECT_FALSE(got);
    if (!got) {
      EXPECT_EQ(got.error(), errc::pool_paused);
    }
  }));
}

TEST_F(pauses, T51_no_connect_begins_during_a_pause) {
  bool ended = false;
  // The pool decides to dial in this turn, and is paused before the dial begins.
  start(
      [this]() -> task<void> {
        auto got = co_await backends().acquire(server().at());
        CO_ASSERT_OK(got);
        EXPECT_FALSE(backends().paused());
      },
      ended);
  while (totals().connecting == 0) home().run_once(duration::zero());
  const std::uint64_t under_way = totals().connecting;
  backends().pause();
  ASSERT_TRUE(until([&] { return totals().connecting == 0; }));
  EXPECT_FALSE(ended) << "it was lent what stood meanwhile";
  EXPECT_LE(totals().idle, under_way);
  backends().clear_all();
  ASSERT_TRUE(nothing_closing());
  pass(1s);
  EXPECT_EQ(totals().connecting + totals().idle, 0U) << "it dialed in the pause";
  backends().resume();
  EXPECT_TRUE(until([&] { return ended; }));
}

TEST_F(pauses, T51_the_floor_is_refilled_after_a_pause) {
  pool_config config;
  config.min_idle_per_endpoint = 2;
  config.refill_jitter = 0ms;
  configure(config);
  hold().release();
  ASSERT_TRUE(until([&] { return totals().idle >= 2 && server().open() == totals().idle; }));
  backends().pause();
  server().close_all();
  ASSERT_TRUE(until([&] { return totals().idle == 0; }));
  pass(10s);
  EXPECT_EQ(totals().connecting + totals().idle, 0U);
  backends().resume();
  EXPECT_TRUE(until([&] { return totals().idle == 2; }));
}

TEST_F(pauses, a_second_pause_changes_the_policy_and_resume_is_idempotent) {
  backends().resume();
  backends().pause();
  caller& waiting = call();
  settle();
  EXPECT_FALSE(waiting.ended);
  backends().pause(while_paused::fail);
  settle();
  EXPECT_EQ(waiting.failure(), errc::pool_paused);
  backends().pause(while_paused::wait);
  caller& patient = call();
  settle();
  EXPECT_FALSE(patient.ended);
  backends().resume();
  backends().resume();
  EXPECT_TRUE(until([&] { return patient.served(); }));
}

}  // namespace
}  // namespace conpool::test

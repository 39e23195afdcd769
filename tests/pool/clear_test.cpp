// clear() and clear_all(): connections made before them go, and those made afterwards stay.
#include <gtest/gtest.h>

#include <array>
#include <utility>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

class clear : public pool_fixture {
 protected:
  void cap(std::uint32_t connections) {
    pool_config config;
    config.max_connections_per_endpoint = connections;
    configure(config);
  }
};

TEST_F(clear, T42_a_clear_that_breaks_off_ends_what_leased_connections_do) {
  server().echo(false);
  lease reading = hold();
  lease resting = hold();
  result<std::size_t> outcome = 0U;
  bool ended = false;
  std::array<char, 16> into{};
  start([&]() -> task<void> { outcome = co_await reading->read(std::span<char>(into)); }, ended);
  settle();
  ASSERT_FALSE(ended);

  backends().clear(server().at(), leased::break_off);
  ASSERT_TRUE(until([&] { return ended; }));
  ASSERT_FALSE(outcome);
  // The caller may repeat this elsewhere: our side closed, and nothing had arrived.
  EXPECT_EQ(outcome.error(), errc::connection_closed);
  EXPECT_EQ(reading->bytes_received(), 0U);
  result<void> sent{};
  ASSERT_TRUE(run([&]() -> task<void> { sent = co_await resting->write("late"); }));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error(), errc::connection_closed);
  EXPECT_EQ(resting->bytes_sent(), 0U);

  EXPECT_EQ(totals().active, 2U) << "they stay their holders' until those let go";
  reading.release();
  resting.release();
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(closed(close_reason::cleared), 2U);
  EXPECT_FALSE(hold().reused());
}

TEST_F(clear, T42_leased_connections_are_interrupted_only_if_asked) {
  lease held = hold();
  backends().clear(server().at());
  EXPECT_TRUE(works(held));
  held.release();
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(closed(close_reason::cleared), 1U);
}

TEST_F(clear, T42_a_waiter_gets_the_connection_after_the_interrupted_one) {
  cap(1);
  lease held = hold();
  caller& waiting = call();
  settle();
  backends().clear_all(leased::break_off);
  settle();
  EXPECT_FALSE(waiting.ended) << "the place is the holder's until it lets go";
  held.release();
  ASSERT_TRUE(until([&] { return waiting.ended; }));
  ASSERT_TRUE(waiting.served()) << waiting.got.error().message();
  EXPECT_FALSE(waiting.got->reused());
}

TEST_F(clear, what_was_handed_to_a_caller_that_has_not_run_is_cleared_and_the_caller_waits_on) {
  for (const leased what : {leased::keep, leased::break_off}) {
    cap(1);
    lease held = hold();
    caller& first = call();
    caller& second = call();
    settle();
    ASSERT_EQ(totals().waiting, 2U);
    held.release();  // reserved for the first, who runs in the next turn
    ASSERT_EQ(totals().waiting, 1U);
    backends().clear(server().at(), what);
    ASSERT_TRUE(until([&] { return first.ended; }));
    ASSERT_TRUE(first.served()) << first.got.error().message();
    EXPECT_FALSE(first.got->reused()) << "it was lent what had been cleared";
    EXPECT_FALSE(second.ended) << "it passed the first";
    EXPECT_EQ(closed(close_reason::cleared), 1U);
    first.got->release();
    ASSERT_TRUE(until([&] { return second.served(); }));
    second.got->release();
  }
}

TEST_F(clear, clear_all_reaches_every_endpoint_and_clear_only_its_own) {
  echo_server& other = add_server();
  hold().release();
  hold(other.at()).release();
  backends().clear(other.at());
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(totals().idle, 1U);
  EXPECT_TRUE(hold().reused());
  hold(other.at()).release();
  backends().clear_all();
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(totals().idle, 0U);
  EXPECT_EQ(closed(close_reason::cleared), 3U);
}

TEST_F(clear, what_was_made_after_a_clear_outlives_the_return_of_what_was_before) {
  lease before = hold();
  backends().clear(server().at());
  lease after = hold();
  before.release();
  after.release();
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(closed(close_reason::cleared), 1U);
  EXPECT_EQ(totals().idle, 1U);
  EXPECT_TRUE(hold().reused());
}

}  // namespace
}  // namespace conpool::test

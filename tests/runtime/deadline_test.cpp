// with_timeout: tasks under a deadline of their own, in the shard's time.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <stdexcept>
#include <utility>
#include <vector>

#include <conpool/runtime/deadline.h>
#include <conpool/runtime/socket.h>

#include <tests/support/raw_sockets.h>
#include <tests/support/shard_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

using deadlines = shard_fixture;

task<errc> sleep_once(shard& home, duration time) {
  auto slept = co_await home.sleep_for(time);
  co_return slept ? errc{} : slept.error().kind();
}

// Spawns sleep_once under a deadline.
task<errc> sleep_within(shard& home, duration limit, duration time) {
  auto work = sleep_once(home, time);
  auto how = co_await with_timeout(home, limit, std::move(work));
  co_return how;
}

TEST_F(deadlines, a_wait_ends_with_deadline_exceeded_when_the_time_is_over) {
  const auto how = start_on(home(), sleep_within(home(), 250ms, 1h));
  settle();
  pass(249ms);
  EXPECT_FALSE(how->has_value());
  pass(1ms);
  ASSERT_TRUE(how->has_value());
  EXPECT_EQ(how->value(), errc::deadline_exceeded);
}

TEST_F(deadlines, what_ends_in_time_is_not_disturbed_and_leaves_no_timer) {
  const auto how = start_on(home(), sleep_within(home(), 250ms, 100ms));
  settle();
  pass(100ms);
  ASSERT_TRUE(how->has_value());
  EXPECT_EQ(how->value(), errc{});
  EXPECT_TRUE(home().timers().empty());
}

TEST_F(deadlines, the_earlier_of_two_nested_deadlines_ends_the_wait) {
  const auto nest = [](shard& home, duration outer, duration inner) -> task<errc> {
    auto work = sleep_within(home, inner, 1h);
    auto how = co_await with_timeout(home, outer, std::move(work));
    co_return how;
  };
  const auto inner_first = start_on(home(), nest(home(), 500ms, 100ms));
  const auto outer_first = start_on(home(), nest(home(), 200ms, 400ms));
  settle();
  pass(100ms);
  EXPECT_TRUE(inner_first->has_value());
  EXPECT_FALSE(outer_first->has_value());
  pass(100ms);
  ASSERT_TRUE(outer_first->has_value());
  EXPECT_EQ(inner_first->value(), errc::deadline_exceeded);
  EXPECT_EQ(outer_first->value(), errc::deadline_exceeded);
  EXPECT_TRUE(home().timers().empty());
}

TEST_F(deadlines, after_the_inner_deadline_the_outer_task_goes_on) {
  std::vector<errc> how;
  bool ended = false;
  start(
      [&]() -> task<void> {
        auto cut = co_await sleep_within(home(), 10ms, 1h);
        how.push_back(cut);
        auto whole = co_await sleep_once(home(), 10ms);
        how.push_back(whole);
      },
      ended);
  settle();
  pass(10ms);
  pass(10ms);
  EXPECT_TRUE(ended);
  EXPECT_EQ(how, (std::vector<errc>{errc::deadline_exceeded, errc{}}));
}

TEST_F(deadlines, a_deadline_of_zero_ends_the_first_wait) {
  const auto how = start_on(home(), sleep_within(home(), 0ms, 1h));
  EXPECT_TRUE(until([&] { return how->has_value(); }));
  EXPECT_EQ(how->value(), errc::deadline_exceeded);
}

TEST_F(deadlines, a_deadline_beyond_all_time_never_passes) {
  const auto how = start_on(home(), sleep_within(home(), duration::max(), 1h));
  settle();
  EXPECT_FALSE(how->has_value());
  pass(1h);
  ASSERT_TRUE(how->has_value());
  EXPECT_EQ(how->value(), errc{});
}

TEST_F(deadlines, cancelling_the_caller_reaches_through_it) {
  std::vector<errc> how;
  scope callers(home());
  callers.spawn([&]() -> task<void> {
    auto cut = co_await sleep_within(home(), 1h, 2h);
    how.push_back(cut);
  });
  settle();
  callers.cancel();
  EXPECT_TRUE(until([&] { return callers.running() == 0; }));
  EXPECT_EQ(how, std::vector<errc>{errc::cancelled});
  EXPECT_TRUE(home().timers().empty());
}

TEST_F(deadlines, in_a_cancelled_caller_the_first_wait_ends_at_once) {
  std::vector<errc> how;
  scope callers(home());
  callers.cancel();
  callers.spawn([&]() -> task<void> {
    auto cut = co_await sleep_within(home(), 1h, 2h);
    how.push_back(cut);
  });
  EXPECT_TRUE(until([&] { return callers.running() == 0; }));
  EXPECT_EQ(how, std::vector<errc>{errc::cancelled});
}

TEST_F(deadlines, exceptions_come_out_of_it) {
  bool caught = false;
  const auto fail_late = [](shard& home) -> task<void> {
    co_await home.yield();
    throw std::runtime_error("failed");
  };
  ASSERT_TRUE(run([&]() -> task<void> {
    auto work = fail_late(home());
    try {
      co_await with_timeout(home(), 1s, std::move(work));
    } catch (const std::runtime_error&) {
      caught = true;
    }
  }));
  EXPECT_TRUE(caught);
  EXPECT_TRUE(home().timers().empty());
}

TEST_F(deadlines, bytes_that_arrive_with_the_deadline_are_kept) {
  socket_pair pair = tcp_pair();
  socket peer = adopt(pair.near);
  const auto read_text = [](socket& from) -> task<std::string> {
    std::array<char, 16> memory;
    auto count = co_await from->read(std::span<char>(memory));
    if (!count) co_return count.error().message();
    co_return std::string(memory.data(), *count);
  };
  const auto within = [&]() -> task<std::string> {
    auto work = read_text(peer);
    auto text = co_await with_timeout(home(), 100ms, std::move(work));
    co_return text;
  };
  const auto text = start_on(home(), within());
  settle();
  send_all(pair.far, "in time");
  clock().advance(100ms);
  EXPECT_TRUE(until([&] { return text->has_value(); }));
  EXPECT_EQ(text->value(), "in time");
}

}  // namespace
}  // namespace conpool::test

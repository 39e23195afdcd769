// task<T>: laziness, values, exceptions, ownership, long and deep chains of awaits.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <conpool/runtime/task.h>

#include <tests/support/shard_fixture.h>

namespace conpool::test {
namespace {

using tasks = shard_fixture;

task<int> give(int value) {
  co_return value;
}

task<std::unique_ptr<int>> give_owned(int value) {
  co_return std::make_unique<int>(value);
}

task<int> throw_up(std::string text) {
  throw std::runtime_error(text);
  co_return 0;
}

task<void> note(std::vector<int>& into, int value) {
  into.push_back(value);
  co_return;
}

TEST_F(tasks, nothing_runs_before_it_is_awaited) {
  std::vector<int> seen;
  ASSERT_TRUE(run([&]() -> task<void> {
    auto lazy = note(seen, 2);
    seen.push_back(1);
    co_await lazy;
    seen.push_back(3);
  }));
  EXPECT_EQ(seen, (std::vector<int>{1, 2, 3}));
}

TEST_F(tasks, one_that_is_never_awaited_never_runs_and_leaks_nothing) {
  std::vector<int> seen;
  {
    auto dropped = note(seen, 1);
  }
  EXPECT_TRUE(seen.empty());
}

TEST_F(tasks, values_come_out_also_those_that_can_only_be_moved) {
  ASSERT_TRUE(run([]() -> task<void> {
    auto number = co_await give(7);
    EXPECT_EQ(number, 7);
    auto owned = co_await give_owned(8);
    EXPECT_EQ(*owned, 8);
  }));
}

TEST_F(tasks, exceptions_come_out_of_the_await_through_every_level) {
  std::string caught;
  const auto middle = [](std::string text) -> task<int> {
    auto inner = throw_up(text);
    auto value = co_await inner;
    co_return value;
  };
  ASSERT_TRUE(run([&]() -> task<void> {
    try {
      auto value = co_await middle("deep down");
      ADD_FAILURE() << value;
    } catch (const std::runtime_error& thrown) {
      caught = thrown.what();
    }
  }));
  EXPECT_EQ(caught, "deep down");
}

TEST_F(tasks, an_exception_after_a_suspension_comes_out_too) {
  bool caught = false;
  const auto later = [](shard& home) -> task<void> {
    co_await home.yield();
    throw std::logic_error("later");
  };
  ASSERT_TRUE(run([&]() -> task<void> {
    auto body = later(home());
    try {
      co_await body;
    } catch (const std::logic_error&) {
      caught = true;
    }
  }));
  EXPECT_TRUE(caught);
}

TEST_F(tasks, it_can_be_moved_before_it_is_awaited) {
  ASSERT_TRUE(run([]() -> task<void> {
    auto first = give(1);
    auto second = give(2);
    first = std::move(second);
    auto value = co_await first;
    EXPECT_EQ(value, 2);
  }));
}

TEST_F(tasks, arguments_live_until_the_task_is_destroyed) {
  auto watched = std::make_shared<int>(5);
  const auto hold = [](std::shared_ptr<int> kept, shard& home) -> task<int> {
    co_await home.yield();
    co_return *kept;
  };
  ASSERT_TRUE(run([&]() -> task<void> {
    {
      auto holding = hold(watched, home());
      EXPECT_EQ(watched.use_count(), 2);
      auto value = co_await holding;
      EXPECT_EQ(value, 5);
    }
    EXPECT_EQ(watched.use_count(), 1);
  }));
}

TEST_F(tasks, a_million_awaits_of_what_is_done_at_once_need_no_stack) {
  std::uint64_t sum = 0;
  ASSERT_TRUE(run([&]() -> task<void> {
    for (int i = 0; i < 1'000'000; ++i) {
      auto one = co_await give(1);
      sum += static_cast<std::uint64_t>(one);
    }
  }));
  EXPECT_EQ(sum, 1'000'000U);
}

task<int> descend(int depth) {
  if (depth == 0) co_return 0;
  auto below = co_await descend(depth - 1);
  co_return below + 1;
}

TEST_F(tasks, a_recursion_a_thousand_deep_comes_back) {
  ASSERT_TRUE(run([]() -> task<void> {
    auto depth = co_await descend(1000);
    EXPECT_EQ(depth, 1000);
  }));
}

TEST_F(tasks, a_long_loop_without_suspension_lets_other_tasks_run) {
  bool other_ran = false;
  bool seen_in_loop = false;
  bool ended = false;
  start(
      [&]() -> task<void> {
        for (int i = 0; i < 10'000; ++i) {
          auto value = co_await give(i);
          EXPECT_EQ(value, i);
          seen_in_loop = seen_in_loop || other_ran;
        }
      },
      ended);
  bool other_ended = false;
  start(
      [&]() -> task<void> {
        other_ran = true;
        co_return;
      },
      other_ended);
  ASSERT_TRUE(until([&] { return ended && other_ended; }));
  EXPECT_TRUE(seen_in_loop);
}

}  // namespace
}  // namespace conpool::test

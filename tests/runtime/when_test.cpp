// when_all and when_any: what they give, when they return, and who is cancelled.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <conpool/runtime/deadline.h>
#include <conpool/runtime/when.h>

#include <tests/support/shard_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class when : public shard_fixture {
 protected:
  // What the tasks below have done, in order.
  std::vector<std::string> log_;

  // Sleeps, and says how it ended.
  task<errc> rest(duration time, std::string name) {
    log_.push_back(name + " began");
    auto slept = co_await home().sleep_for(time);
    log_.push_back(name + (slept ? " ended" : " was cancelled"));
    co_return slept ? errc{} : slept.error().kind();
  }
  task<std::string> say(duration time, std::string text) {
    auto slept = co_await home().sleep_for(time);
    co_return slept ? text : "cancelled";
  }
  task<void> nothing() { co_return; }
  task<int> throws(duration time, std::string text) {
    auto slept = co_await home().sleep_for(time);
    if (!slept) throw std::runtime_error("cancelled");
    throw std::runtime_error(text);
    co_return 1;
  }
  // Goes on for a while after it was cancelled.
  task<int> stubborn() {
    auto slept = co_await home().sleep_for(1h);
    EXPECT_FALSE(slept);
    for (int rounds = 0; rounds < 3; ++rounds) co_await home().yield();
    log_.emplace_back("stubborn ended");
    co_return 1;
  }
  // What a task throws; empty if it throws nothing.
  template <typename T>
  std::string thrown_by(task<T> work) {
    std::string what;
    const auto body = [](task<T> inner, std::string& into) -> task<void> {
      try {
        auto value = co_await inner;
        static_cast<void>(value);
      } catch (const std::exception& why) {
        into = why.what();
      }
    };
    auto ended = std::make_shared<bool>(false);
    home().spawn(&detail::note_end, body(std::move(work), what), ended);
    for (int steps = 0; steps < 100 && !*ended; ++steps) {
      settle();
      pass(10ms);
    }
    EXPECT_TRUE(*ended);
    return what;
  }
};

TEST_F(when, all_gives_what_each_returned_in_the_order_of_the_tasks) {
  const auto all = start_on(home(), when_all(say(20ms, "slow"), rest(10ms, "a"), nothing()));
  settle();
  pass(10ms);
  EXPECT_FALSE(all->has_value());
  pass(10ms);
  ASSERT_TRUE(all->has_value());
  EXPECT_EQ(std::get<0>(all->value()), "slow");
  EXPECT_EQ(std::get<1>(all->value()), errc{});
  EXPECT_EQ(std::get<2>(all->value()), std::monostate());
}

TEST_F(when, all_of_a_vector_gives_a_vector) {
  std::vector<task<std::string>> work;
  work.push_back(say(20ms, "slow"));
  work.push_back(say(0ms, "quick"));
  const auto all = start_on(home(), when_all(std::move(work)));
  settle();
  pass(20ms);
  ASSERT_TRUE(all->has_value());
  EXPECT_EQ(all->value(), (std::vector<std::string>{"slow", "quick"}));
}

TEST_F(when, all_of_none_returns_at_once) {
  const auto none = start_on(home(), when_all());
  const auto no_vector = start_on(home(), when_all(std::vector<task<int>>()));
  settle();
  EXPECT_TRUE(none->has_value());
  ASSERT_TRUE(no_vector->has_value());
  EXPECT_TRUE(no_vector->value().empty());
}

TEST_F(when, all_cancels_the_others_when_one_throws_and_waits_for_them) {
  EXPECT_EQ(thrown_by(when_all(rest(1h, "long"), throws(10ms, "first"), throws(20ms, "second"))),
            "first");
  EXPECT_EQ(log_, (std::vector<std::string>{"long began", "long was cancelled"}));
}

TEST_F(when, all_inherits_a_deadline) {
  const auto within = [](shard& on, task<std::tuple<errc, errc>> work) -> task<errc> {
    auto both = co_await with_timeout(on, 50ms, std::move(work));
    co_return std::get<0>(both) == errc{} ? std::get<1>(both) : errc::invalid_argument;
  };
  const auto how =
      start_on(home(), within(home(), when_all(rest(10ms, "short"), rest(1h, "long"))));
  settle();
  pass(49ms);
  EXPECT_FALSE(how->has_value());
  pass(1ms);
  ASSERT_TRUE(how->has_value());
  EXPECT_EQ(how->value(), errc::deadline_exceeded);
}

TEST_F(when, all_in_a_context_that_is_cancelled_already_ends_at_once) {
  scope outer(home());
  outer.cancel();
  std::vector<errc> how;
  outer.spawn([&]() -> task<void> {
    auto both = co_await when_all(rest(1h, "a"), rest(1h, "b"));
    how = {std::get<0>(both), std::get<1>(both)};
  });
  settle();
  EXPECT_EQ(outer.running(), 0U);
  EXPECT_EQ(how, (std::vector<errc>{errc::cancelled, errc::cancelled}));
}

TEST_F(when, any_gives_the_first_and_waits_for_the_losers_whom_it_cancels) {
  const auto any = start_on(home(), when_any(rest(1h, "long"), say(10ms, "short"), nothing()));
  settle();
  ASSERT_TRUE(any->has_value());
  EXPECT_EQ(any->value().index(), 2U);
  EXPECT_EQ(log_, (std::vector<std::string>{"long began", "long was cancelled"}));

  log_.clear();
  const auto later = start_on(home(), when_any(rest(1h, "long"), say(10ms, "short")));
  settle();
  EXPECT_FALSE(later->has_value());
  pass(10ms);
  ASSERT_TRUE(later->has_value());
  ASSERT_EQ(later->value().index(), 1U);
  EXPECT_EQ(std::get<1>(later->value()), "short");
  EXPECT_EQ(log_, (std::vector<std::string>{"long began", "long was cancelled"}));
}

TEST_F(when, any_returns_only_when_a_loser_that_takes_its_time_has_ended) {
  home().spawn([this]() -> task<void> {
    auto first = co_await when_any(stubborn(), say(1ms, "x"));
    EXPECT_EQ(first.index(), 1U);
    log_.emplace_back("any returned");
  });
  settle();
  pass(1ms);
  settle();
  EXPECT_EQ(log_, (std::vector<std::string>{"stubborn ended", "any returned"}));
}

TEST_F(when, any_of_a_vector_gives_the_index_and_never_begins_those_behind_a_winner) {
  std::vector<task<errc>> work;
  work.push_back(rest(1h, "first"));
  work.push_back([](when*) -> task<errc> {
    co_return errc::none_idle;
  }(this));
  work.push_back(rest(0ms, "third"));
  const auto any = start_on(home(), when_any(std::move(work)));
  settle();
  ASSERT_TRUE(any->has_value());
  EXPECT_EQ(any->value().index, 1U);
  EXPECT_EQ(any->value().value, errc::none_idle);
  EXPECT_EQ(log_, (std::vector<std::string>{"first began", "first was cancelled"}));
}

TEST_F(when, any_throws_what_the_first_threw_and_drops_what_losers_throw) {
  EXPECT_EQ(thrown_by(when_any(throws(10ms, "first"), throws(20ms, "second"))), "first");
  EXPECT_EQ(thrown_by(when_any(throws(10ms, "never"), say(1ms, "value"))), "");
}

TEST_F(when, any_of_no_tasks_is_refused) {
  std::string said = thrown_by(when_any(std::vector<task<int>>()));
  EXPECT_EQ(said, std::system_error(make_error_code(errc::invalid_argument)).what());
}

TEST_F(when, any_inherits_a_cancellation) {
  scope outer(home());
  std::size_t which = 9;
  std::string how;
  outer.spawn([&]() -> task<void> {
    auto first = co_await when_any(say(1h, "a"), say(1h, "b"));
    which = first.index();
    how = std::get<0>(first);
  });
  settle();
  outer.cancel();
  settle();
  EXPECT_EQ(outer.running(), 0U);
  EXPECT_EQ(which, 0U);
  EXPECT_EQ(how, "cancelled");
}

TEST_F(when, they_nest_and_values_that_can_only_be_moved_pass_through) {
  const auto make = [](int value) -> task<std::unique_ptr<int>> {
    co_return std::make_unique<int>(value);
  };
  const auto all =
      start_on(home(), when_all(when_any(make(1), say(1h, "late")), when_all(make(2), make(3))));
  settle();
  ASSERT_TRUE(all->has_value());
  EXPECT_EQ(*std::get<0>(std::get<0>(all->value())), 1);
  EXPECT_EQ(*std::get<1>(std::get<1>(all->value())), 3);
}

}  // namespace
}  // namespace conpool::test

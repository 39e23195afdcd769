// Scopes and contexts: joining, cancelling, exceptions, and what is kept when both come at once.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <conpool/runtime/detail/context.h>
#include <conpool/runtime/event.h>
#include <conpool/runtime/scope.h>
#include <conpool/runtime/socket.h>

#include <tests/support/raw_sockets.h>
#include <tests/support/shard_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

using scopes = shard_fixture;

// Sleeps and says how that ended.
task<void> sleep_then_note(shard& home, duration time, std::vector<errc>& how) {
  auto slept = co_await home.sleep_for(time);
  how.push_back(slept ? errc{} : slept.error().kind());
}

task<void> throw_after_turn(shard& home, std::string text) {
  co_await home.yield();
  throw std::runtime_error(text);
}

TEST_F(scopes, join_waits_for_all) {
  std::vector<errc> how;
  bool joined = false;
  start(
      [&]() -> task<void> {
        scope children(home());
        for (int i = 1; i <= 3; ++i) {
          children.spawn(sleep_then_note, std::ref(home()), i * 10ms, std::ref(how));
        }
        EXPECT_EQ(children.running(), 3U);
        co_await children.join();
        EXPECT_EQ(children.running(), 0U);
      },
      joined);
  settle();
  pass(20ms);
  EXPECT_EQ(how.size(), 2U);
  EXPECT_FALSE(joined);
  pass(10ms);
  EXPECT_TRUE(joined);
  EXPECT_EQ(how, std::vector<errc>(3, errc{}));
}

TEST_F(scopes, joining_an_empty_scope_does_not_wait) {
  ASSERT_TRUE(run([this]() -> task<void> {
    scope none(home());
    co_await none.join();
    co_await none.close();
    EXPECT_TRUE(none.cancelled());
  }));
}

TEST_F(scopes, close_cancels_and_waits) {
  std::vector<errc> how;
  ASSERT_TRUE(run([&]() -> task<void> {
    scope children(home());
    children.spawn(sleep_then_note, std::ref(home()), 1h, std::ref(how));
    children.spawn(sleep_then_note, std::ref(home()), 2h, std::ref(how));
    co_await home().yield();
    co_await children.close();
  }));
  EXPECT_EQ(how, std::vector<errc>(2, errc::cancelled));
}

TEST_F(scopes, a_task_spawned_in_a_cancelled_scope_runs_and_finds_itself_cancelled) {
  std::vector<errc> how;
  ASSERT_TRUE(run([&]() -> task<void> {
    scope children(home());
    children.cancel();
    children.spawn(sleep_then_note, std::ref(home()), 1h, std::ref(how));
    co_await children.join();
  }));
  EXPECT_EQ(how, std::vector<errc>{errc::cancelled});
}

TEST_F(scopes, the_first_exception_comes_out_of_join_after_all_have_ended) {
  std::vector<errc> how;
  std::string caught;
  bool ended = false;
  start(
      [&]() -> task<void> {
        scope children(home());
        children.spawn(throw_after_turn, std::ref(home()), std::string("first"));
        children.spawn(throw_after_turn, std::ref(home()), std::string("second"));
        children.spawn(sleep_then_note, std::ref(home()), 10ms, std::ref(how));
        try {
          co_await children.join();
        } catch (const std::runtime_error& thrown) {
          caught = thrown.what();
        }
      },
      ended);
  settle();
  EXPECT_EQ(caught, "");
  pass(10ms);
  EXPECT_TRUE(ended);
  EXPECT_EQ(caught, "first");
  EXPECT_EQ(how, std::vector<errc>{errc{}});
}

TEST_F(scopes, an_exception_nobody_joined_can_be_taken_out) {
  ASSERT_TRUE(run([this]() -> task<void> {
    scope children(home());
    children.spawn(throw_after_turn, std::ref(home()), std::string("lost"));
    for (int turns = 0; turns < 4; ++turns) co_await home().yield();
    EXPECT_EQ(children.running(), 0U);
    EXPECT_NE(children.take_exception(), nullptr);
    EXPECT_EQ(children.take_exception(), nullptr);
    co_await children.join();
  }));
}

TEST_F(scopes, a_callable_that_throws_at_once_is_an_exception_of_its_task) {
  bool caught = false;
  ASSERT_TRUE(run([&]() -> task<void> {
    scope children(home());
    children.spawn([]() -> task<void> { throw std::logic_error("no task at all"); });
    try {
      co_await children.join();
    } catch (const std::logic_error&) {
      caught = true;
    }
  }));
  EXPECT_TRUE(caught);
}

TEST_F(scopes, an_exception_of_a_spawned_task_can_be_taken_from_the_shard) {
  home().spawn(throw_after_turn, std::ref(home()), std::string("alone"));
  settle();
  EXPECT_NE(home().take_exception(), nullptr);
  EXPECT_EQ(home().take_exception(), nullptr);
}

TEST_F(scopes, cancelling_the_joiner_cancels_the_children_and_still_waits_for_them) {
  std::vector<errc> how;
  event released(home());
  bool stubborn_ended = false;
  bool joined = false;
  scope outer(home());
  const auto stubborn = [&]() -> task<void> {
    auto slept = co_await home().sleep_for(1h);
    EXPECT_FALSE(slept);
    // What it waits for now is in no cancelled context: only the test ends it.
    while (!released.is_set()) co_await home().yield();
    stubborn_ended = true;
  };
  outer.spawn([&]() -> task<void> {
    scope inner(home());
    inner.spawn(sleep_then_note, std::ref(home()), 1h, std::ref(how));
    inner.spawn(stubborn);
    co_await inner.join();
    EXPECT_TRUE(stubborn_ended);
    joined = true;
  });
  settle();
  outer.cancel();
  settle();
  EXPECT_EQ(how, std::vector<errc>{errc::cancelled});
  EXPECT_FALSE(joined);
  released.set();
  EXPECT_TRUE(until([&] { return outer.running() == 0; }));
  EXPECT_TRUE(joined);
}

TEST_F(scopes, a_cancelled_task_that_joins_cancels_its_children_at_once) {
  std::vector<errc> how;
  scope outer(home());
  outer.cancel(errc::deadline_exceeded);
  outer.spawn([&]() -> task<void> {
    scope inner(home());
    inner.spawn(sleep_then_note, std::ref(home()), 1h, std::ref(how));
    co_await inner.join();
  });
  EXPECT_TRUE(until([&] { return outer.running() == 0; }));
  EXPECT_EQ(how, std::vector<errc>{errc::deadline_exceeded});
}

TEST_F(scopes, cancelling_reaches_through_three_levels_of_joined_scopes) {
  std::vector<errc> how;
  scope first(home());
  first.spawn([&]() -> task<void> {
    scope second(home());
    second.spawn([&]() -> task<void> {
      scope third(home());
      third.spawn(sleep_then_note, std::ref(home()), 1h, std::ref(how));
      co_await third.join();
    });
    co_await second.join();
  });
  settle();
  first.cancel();
  EXPECT_TRUE(until([&] { return first.running() == 0; }));
  EXPECT_EQ(how, std::vector<errc>{errc::cancelled});
}

TEST_F(scopes, what_came_before_the_cancel_is_kept) {
  socket_pair pair = tcp_pair();
  socket peer = adopt(pair.near);
  std::string got;
  scope readers(home());
  readers.spawn([&]() -> task<void> {
    std::array<char, 16> memory;
    auto count = co_await peer->read(std::span<char>(memory));
    CO_ASSERT_OK(count);
    got.assign(memory.data(), *count);
  });
  settle();
  send_all(pair.far, "bytes");
  home().ring().enter(0ms);  // the receive has completed, and nobody has harvested it
  readers.cancel();
  EXPECT_TRUE(until([&] { return readers.running() == 0; }));
  EXPECT_EQ(got, "bytes");
}

TEST_F(scopes, a_sleep_that_ended_in_the_turn_of_the_cancel_ended_well) {
  std::vector<errc> how;
  scope sleepers(home());
  event go(home());
  sleepers.spawn(sleep_then_note, std::ref(home()), 10ms, std::ref(how));
  settle();
  clock().advance(10ms);
  home().timers().advance(clock().now());  // fired: the task is ready, and has not run
  sleepers.cancel();
  EXPECT_TRUE(until([&] { return sleepers.running() == 0; }));
  EXPECT_EQ(how, std::vector<errc>{errc{}});
}

TEST_F(scopes, callable_and_arguments_live_as_long_as_the_task) {
  auto in_callable = std::make_shared<int>(1);
  auto argument = std::make_shared<int>(2);
  int sum = 0;
  bool ended = false;
  start(
      [&]() -> task<void> {
        scope children(home());
        children.spawn(
            [in_callable, &sum, this](std::shared_ptr<int> kept) -> task<void> {
              co_await home().yield();
              sum = *in_callable + *kept;
            },
            argument);
        co_await children.join();
        // This lambda's own copy and the test's are left.
        EXPECT_EQ(argument.use_count(), 1);
      },
      ended);
  ASSERT_TRUE(until([&] { return ended; }));
  EXPECT_EQ(sum, 3);
  EXPECT_EQ(in_callable.use_count(), 1);
}

TEST_F(scopes, ten_thousand_tasks_are_joined) {
  int ran = 0;
  const auto one = [](shard& home, int& counted) -> task<void> {
    co_await home.yield();
    ++counted;
  };
  ASSERT_TRUE(run([&]() -> task<void> {
    scope many(home());
    for (int i = 0; i < 10'000; ++i) many.spawn(one, std::ref(home()), std::ref(ran));
    co_await many.join();
  }));
  EXPECT_EQ(ran, 10'000);
}

TEST_F(scopes, an_event_wakes_all_its_waiters_in_their_order) {
  event ready(home());
  std::vector<int> order;
  scope waiters(home());
  const auto wait = [&](int number) -> task<void> {
    auto woken = co_await ready.wait();
    EXPECT_TRUE(woken);
    order.push_back(number);
  };
  for (int i = 0; i < 3; ++i) waiters.spawn(wait, i);
  settle();
  EXPECT_TRUE(order.empty());
  ready.set();
  waiters.spawn(wait, 3);  // set already: does not wait
  EXPECT_TRUE(until([&] { return waiters.running() == 0; }));
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
}

TEST_F(scopes, a_cancelled_waiter_of_an_event_leaves_the_others) {
  event ready(home());
  std::vector<errc> how;
  const auto wait = [&]() -> task<void> {
    auto woken = co_await ready.wait();
    how.push_back(woken ? errc{} : woken.error().kind());
  };
  scope cancelled(home());
  scope kept(home());
  cancelled.spawn(wait);
  kept.spawn(wait);
  settle();
  cancelled.cancel();
  settle();
  ready.set();
  EXPECT_TRUE(until([&] { return kept.running() == 0; }));
  EXPECT_EQ(how, (std::vector<errc>{errc::cancelled, errc{}}));
}

TEST(context, cancelling_reaches_all_below_and_the_first_reason_stays) {
  context root;
  context middle;
  context leaf;
  middle.attach(&root);
  leaf.attach(&middle);
  middle.cancel(errc::deadline_exceeded);
  EXPECT_FALSE(root.cancelled());
  EXPECT_EQ(leaf.why(), errc::deadline_exceeded);
  root.cancel(errc::cancelled);
  EXPECT_EQ(root.why(), errc::cancelled);
  EXPECT_EQ(middle.why(), errc::deadline_exceeded);
}

TEST(context, attaching_to_a_cancelled_parent_cancels_at_once) {
  context root;
  root.cancel(errc::shard_stopped);
  context leaf;
  leaf.attach(&root);
  EXPECT_EQ(leaf.why(), errc::shard_stopped);
}

TEST(context, a_node_may_unsubscribe_another_while_it_is_told) {
  struct node : cancel_node {
    node() noexcept : cancel_node(&node::told) {}
    static void told(cancel_node& base, errc) noexcept {
      auto& self = static_cast<node&>(base);
      ++self.calls;
      if (self.other != nullptr) context::unsubscribe(*self.other);
    }
    node* other = nullptr;
    int calls = 0;
  };
  context where;
  node first;
  node second;
  node third;
  first.other = &second;
  where.subscribe(first);
  where.subscribe(second);
  where.subscribe(third);
  where.cancel(errc::cancelled);
  where.cancel(errc::cancelled);
  EXPECT_EQ(first.calls, 1);
  EXPECT_EQ(second.calls, 0);
  EXPECT_EQ(third.calls, 1);
}

}  // namespace
}  // namespace conpool::test

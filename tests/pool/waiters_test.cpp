// Callers that have to wait: order, caps, deadlines, cancellation, late binding.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/expect.h>
#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class waiters : public pool_fixture {
 protected:
  // A caller that notes in which order it was served, and holds until told to let go.
  struct caller {
    result<lease> got = fail(error(errc::invalid_argument));
    bool ended = false;
  };
  void call(scope& where, caller& one) {
    where.spawn(
        [this](caller* self) -> task<void> {
          self->got = co_await backends().acquire(server().at());
          if (self->got) served_.push_back(self);
          self->ended = true;
        },
        &one);
  }

  void join(scope& all) {
    EXPECT_TRUE(run([&]() -> task<void> { co_await all.join(); }));
  }

  std::vector<caller*> served_;
};

TEST_F(waiters, T3_the_cap_is_never_exceeded) {
  cap(10, 200);
  unsigned most = 0;
  scope all(home());
  for (int i = 0; i < 200; ++i) {
    all.spawn([this, &most]() -> task<void> {
      auto one = co_await backends().acquire(server().at());
      CO_ASSERT_OK(one);
      const pool_stats now = totals();
      most = std::max(most, now.active + now.idle + now.connecting + now.closing);
      auto sent = co_await (*one)->write("x");
      CO_ASSERT_OK(sent);
      std::array<char, 1> got{};
      auto read = co_await (*one)->read(std::span<char>(got));
      CO_ASSERT_OK(read);
    });
  }
  join(all);
  EXPECT_LE(most, 10U);
  EXPECT_EQ(totals().created, 10U);
  EXPECT_EQ(totals().hits + totals().misses, 200U);
  EXPECT_LE(totals().misses, 10U);
}

TEST_F(waiters, T4_waiters_are_served_in_the_order_they_came) {
  cap(1, 10);
  lease held = hold();
  std::vector<caller> callers(5);
  scope all(home());
  for (caller& one : callers) call(all, one);
  settle();
  EXPECT_EQ(totals().waiting, 5U);
  for (std::size_t turn = 0; turn < callers.size(); ++turn) {
    if (turn == 0) {
      held.release();
    } else {
      callers[turn - 1].got->release();
    }
    settle();
    ASSERT_EQ(served_.size(), turn + 1);
    EXPECT_EQ(served_.back(), &callers[turn]);
  }
  callers.back().got->release();
  join(all);
}

TEST_F(waiters, T4_a_newcomer_does_not_pass_a_waiter_that_was_chosen) {
  cap(1);
  lease held = hold();
  caller first;
  scope all(home());
  call(all, first);
  settle();
  caller newcomer;
  // In the same turn: the connection comes back, and somebody new asks for one.
  all.spawn([&]() -> task<void> {
    held.release();
    newcomer.got = co_await backends().acquire(server().at());
    if (newcomer.got) served_.push_back(&newcomer);
    newcomer.ended = true;
  });
  settle();
  ASSERT_EQ(served_.size(), 1U);
  EXPECT_EQ(served_[0], &first);
  first.got->release();
  settle();
  ASSERT_EQ(served_.size(), 2U);
  newcomer.got->release();
  join(all);
}

TEST_F(waiters, T5_an_acquire_times_out_at_its_deadline_and_not_before) {
  cap(1);
  lease held = hold();
  caller early;
  scope all(home());
  call(all, early);
  settle();
  pass(4999ms);
  EXPECT_FALSE(early.ended);
  caller late;
  call(all, late);
  settle();
  pass(2ms);
  ASSERT_TRUE(early.ended);
  ASSERT_FALSE(early.got);
  EXPECT_EQ(early.got.error(), errc::acquire_timeout);
  EXPECT_FALSE(late.ended) << "its own deadline is later";
  EXPECT_EQ(totals().acquire_timeouts, 1U);
  const std::string text = early.got.error().message();
  EXPECT_NE(text.find(server().at().text()), std::string::npos) << text;
  EXPECT_NE(text.find("1 leased"), std::string::npos) << text;
  held.release();
  settle();
  EXPECT_TRUE(late.got);
  late.got->release();
  join(all);
}

TEST_F(waiters, T6_a_timeout_in_the_turn_of_a_delivery_loses_no_connection) {
  cap(1);
  for (const bool release_first : {true, false}) {
    lease held = hold();
    caller one;
    scope all(home());
    call(all, one);
    settle();
    if (release_first) held.release();  // chosen, but not resumed yet, when the timer fires
    clock().advance(5001ms);
    settle();
    held.release();
    settle();
    ASSERT_TRUE(one.ended);
    if (one.got) one.got->release();
    join(all);
    EXPECT_EQ(totals().idle, 1U);
    EXPECT_EQ(totals().active, 0U);
  }
}

TEST_F(waiters, T7_cancelling_a_waiter_in_the_middle_leaves_the_others_in_order) {
  cap(1);
  lease held = hold();
  caller first;
  caller second;
  caller third;
  scope all(home());
  scope leaving(home());
  call(all, first);
  call(leaving, second);
  call(all, third);
  settle();
  leaving.cancel();
  settle();
  ASSERT_TRUE(second.ended);
  EXPECT_EQ(second.got.error(), errc::cancelled);
  EXPECT_EQ(totals().waiting, 2U);
  held.release();
  settle();
  EXPECT_TRUE(first.got);
  first.got->release();
  settle();
  EXPECT_TRUE(third.got);
  third.got->release();
  join(all);
  join(leaving);
}

TEST_F(waiters, T8_a_cancelled_waiter_passes_on_what_was_reserved_for_it) {
  cap(1);
  lease held = hold();
  caller chosen;
  caller next;
  scope leaving(home());
  scope all(home());
  call(leaving, chosen);
  call(all, next);
  settle();
  all.spawn([&]() -> task<void> {
    held.release();    // chosen is on the ready queue now
    leaving.cancel();  // and gives up before it runs
    co_return;
  });
  settle();
  ASSERT_TRUE(chosen.ended);
  EXPECT_FALSE(chosen.got);
  ASSERT_TRUE(next.ended);
  EXPECT_TRUE(next.got);
  EXPECT_EQ(totals().created, 1U);
  next.got->release();
  join(all);
  join(leaving);
}

TEST_F(waiters, T9_a_cancel_during_the_connect_leaves_an_idle_connection) {
  caller one;
  scope leaving(home());
  call(leaving, one);
  home().run_once(duration::zero());
  EXPECT_EQ(totals().connecting, 1U);
  leaving.cancel();
  ASSERT_TRUE(until([&] { return one.ended && totals().idle == 1; }));
  EXPECT_EQ(one.got.error(), errc::cancelled);
  EXPECT_EQ(totals().created, 1U);
  join(leaving);
}

TEST_F(waiters, T11_a_waiter_gets_what_comes_first) {
  cap(2);
  lease held = hold();
  caller one;
  scope all(home());
  call(all, one);
  ASSERT_TRUE(until([&] { return totals().connecting == 1; }));
  held.release();  // before the connect is through
  settle();
  ASSERT_TRUE(one.ended);
  ASSERT_TRUE(one.got);
  EXPECT_TRUE(one.got->reused());
  ASSERT_TRUE(until([&] { return totals().idle == 1; })) << "the new connection becomes idle";
  EXPECT_EQ(totals().created, 2U);
  one.got->release();
  join(all);
}

TEST_F(waiters, T21_a_full_queue_refuses_at_once) {
  cap(1, 2);
  lease held = hold();
  std::vector<caller> callers(3);
  scope all(home());
  for (caller& one : callers) call(all, one);
  settle();
  ASSERT_TRUE(callers[2].ended);
  EXPECT_EQ(callers[2].got.error(), errc::queue_full);
  EXPECT_EQ(totals().waiting, 2U);
  EXPECT_EQ(totals().queue_full, 1U);
  held.release();
  settle();
  callers[0].got->release();
  settle();
  callers[1].got->release();
  join(all);
}

TEST_F(waiters, a_connection_that_dies_while_it_is_handed_over_is_not_lent) {
  cap(1);
  lease held = hold();
  ASSERT_TRUE(until([&] { return server().open() == 1; }));
  caller one;
  scope all(home());
  call(all, one);
  settle();
  all.spawn([&]() -> task<void> {
    held.release();  // reserved for the waiter, which runs later in this turn
    server().reset_all();
    home().ring().enter(duration::zero());
    co_return;
  });
  ASSERT_TRUE(until([&] { return one.ended; }));
  ASSERT_OK(one.got);
  EXPECT_FALSE(one.got->reused()) << "a new connection, not the dead one";
  EXPECT_EQ(totals().created, 2U);
  one.got->release();
  join(all);
}

TEST_F(waiters, a_burst_of_256_misses_is_dialed_with_few_enters) {
  pool_config config;
  config.max_connections_per_endpoint = 256;
  config.max_connecting_per_endpoint = 256;
  configure(config);
  scope all(home());
  std::vector<caller> callers(256);
  for (caller& one : callers) call(all, one);
  const std::uint64_t before = home().ring().statistics().enters;
  // Every connect that was prepared when a turn ends has been submitted by that turn.
  while (totals().created < 256) home().run_once(duration::zero());
  EXPECT_LE(home().ring().statistics().enters - before, 4U);
  join(all);
  EXPECT_EQ(totals().misses, 256U);
  for (caller& one : callers) {
    ASSERT_TRUE(one.got);
    one.got->release();
  }
}

}  // namespace
}  // namespace conpool::test

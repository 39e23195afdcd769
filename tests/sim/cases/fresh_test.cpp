// Callers who want a connection that was never lent, at a limit, and who passes whom.
#include <gtest/gtest.h>

#include <chrono>
#include <vector>

#include <conpool/pool/pool.h>

#include <tests/sim/pool_fixture.h>
#include <tests/support/expect.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

// Remembers its connections, so that a test can retire one.
struct remembered_peer {
  struct state {};
  shard* home;
  std::vector<connection*>* all;
  task<void> run(connection& one, state&) {
    all->push_back(&one);
    [[maybe_unused]] auto rested = co_await home->sleep_for(1h);
  }
};

class sim_fresh : public pool_fixture {
 protected:
  // Callers in a closed loop, each with a lease of a millisecond.
  void keep_busy(scope& in, const server& peer, unsigned callers,
                 acquire_priority lane = acquire_priority::normal) {
    for (unsigned i = 0; i < callers; ++i) {
      in.spawn(
          [](sim_fresh* self, endpoint to, acquire_priority as) -> task<void> {
            while (!self->stop_) {
              const acquire_options how{.priority = as};
              auto lent = co_await self->backends().acquire(to, how);
              CO_ASSERT_OK(lent);
              ++self->served_;
              auto kept = co_await self->home().sleep_for(1ms);
              if (!kept) co_return;
            }
          },
          this, at(peer), lane);
    }
  }
  void stop(scope& busy) {
    stop_ = true;
    ASSERT_TRUE(here().run([&]() -> task<void> { co_await busy.join(); }));
  }

  std::uint64_t served_ = 0;
  bool stop_ = false;
};

TEST_F(sim_fresh, at_the_endpoints_limit_what_comes_back_makes_room_for_it_in_its_turn) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.max_connections_per_endpoint = 2, .max_waiters_per_endpoint = 100});
  scope busy(home());
  keep_busy(busy, peer, 10);
  here().pass(100ms);
  const std::uint64_t before = served_;
  const caller& fresh = call(peer, {.fresh = true});
  ASSERT_TRUE(here().until([&] { return fresh.ended; }, 6s));
  ASSERT_TRUE(fresh.served());
  EXPECT_FALSE(fresh.got->reused());
  EXPECT_LE(served_ - before, 8U + 6U) << "those who came before it, and some during its connect";
  EXPECT_EQ(closed(close_reason::evicted), 1U);
  stop(busy);
}

TEST_F(sim_fresh, at_the_pools_limit_what_comes_back_makes_room_for_it_in_its_turn) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.max_connections = 2});
  scope busy(home());
  keep_busy(busy, peer, 10);
  here().pass(100ms);
  const std::uint64_t before = served_;
  const caller& fresh = call(peer, {.fresh = true});
  ASSERT_TRUE(here().until([&] { return fresh.ended; }, 6s));
  ASSERT_TRUE(fresh.served());
  EXPECT_FALSE(fresh.got->reused());
  EXPECT_LE(served_ - before, 8U + 6U);
  EXPECT_EQ(closed(close_reason::evicted), 1U);
  stop(busy);
}

TEST_F(sim_fresh, those_who_want_a_fresh_one_and_others_are_served_in_their_order) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.max_connections_per_endpoint = 1});
  caller& held = hold(peer);
  caller& first = call(peer, {.fresh = true});
  settle();
  caller& second = call(peer);
  settle();
  caller& third = call(peer, {.fresh = true});
  settle();
  caller& fourth = call(peer);
  settle();
  held.got->release();
  caller* const in_order[] = {&first, &second, &third, &fourth};
  for (caller* const one : in_order) {
    ASSERT_TRUE(here().until([&] { return one->ended; }, 100ms));
    ASSERT_TRUE(one->served());
    for (caller* const other : in_order) {
      if (other == one) break;
      EXPECT_FALSE(other->got.has_value() && static_cast<bool>(*other->got));
    }
    one->got->release();
  }
  EXPECT_EQ(closed(close_reason::evicted), 2U);
}

TEST_F(sim_fresh, a_newcomer_does_not_take_the_idle_connection_whose_slot_it_needs) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.max_connections_per_endpoint = 1});
  make_idle(peer, 1);
  bool refused = false;
  ASSERT_TRUE(here().run([&]() -> task<void> {
    const std::shared_ptr<bool> ended = here().start([&]() -> task<void> {
      const acquire_options new_one{.fresh = true};
      auto fresh = co_await backends().acquire(at(peer), new_one);
      CO_ASSERT_OK(fresh);
      EXPECT_FALSE(fresh->reused());
    });
    while (totals().waiting == 0 && !*ended) co_await home().yield();
    const acquire_options now{.try_only = true};
    auto newcomer = co_await backends().acquire(at(peer), now);
    refused = !newcomer;
    while (!*ended) {
      auto rested = co_await home().sleep_for(1ms);
      CO_ASSERT_OK(rested);
    }
  }));
  EXPECT_TRUE(refused);
}

TEST_F(sim_fresh, others_may_use_what_is_idle_beside_the_one_that_makes_room) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(20ms));
  configure({.max_connections_per_endpoint = 4});
  make_idle(peer, 4);
  const caller& fresh = call(peer, {.fresh = true});
  settle();
  const std::uint64_t hits = totals().hits;
  for (unsigned i = 0; i < 3; ++i) {
    const caller& other = call(peer);
    settle();
    EXPECT_TRUE(other.served()) << i;
  }
  EXPECT_EQ(totals().hits, hits + 3U);
  here().pass(30ms);
  EXPECT_TRUE(fresh.served());
  EXPECT_EQ(closed(close_reason::evicted), 1U) << "one for one";
}

TEST_F(sim_fresh, one_connection_makes_room_for_each_and_no_more) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(20ms));
  configure({.max_connections_per_endpoint = 6});
  make_idle(peer, 6);
  const caller& first = call(peer, {.fresh = true});
  const caller& second = call(peer, {.fresh = true});
  here().pass(100ms);
  EXPECT_TRUE(first.served());
  EXPECT_TRUE(second.served());
  EXPECT_EQ(closed(close_reason::evicted), 2U);
  EXPECT_EQ(totals().idle, 4U);
}

// While connects fail nothing is closed for it: what serves others goes on serving them.
TEST_F(sim_fresh, nothing_is_closed_for_it_while_connects_are_put_off) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.max_connections_per_endpoint = 4, .acquire_timeout = 60s});
  make_idle(peer, 4);
  peer.change().refuse = 1;
  const caller& fresh = call(peer, {.fresh = true});
  here().pass(20s);
  EXPECT_FALSE(fresh.ended);
  EXPECT_GE(totals().idle, 3U);
  EXPECT_LE(closed(close_reason::evicted), 1U);
}

TEST_F(sim_fresh, one_that_lost_its_new_connection_is_still_known_to_want_one) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  std::vector<connection*> all;
  configure({.max_connections_per_endpoint = 2}, remembered_peer{&home(), &all});
  make_idle(peer, 1);
  const caller& fresh = call(peer, {.fresh = true});
  ASSERT_TRUE(here().until([&] { return all.size() == 2; }));
  all.back()->retire();  // handed over, and not lent yet, or about to be
  here().pass(100ms);
  ASSERT_TRUE(fresh.served());
  EXPECT_FALSE(fresh.got->reused());
}

TEST_F(sim_fresh, a_refresh_does_not_let_a_newcomer_pass_who_lost_what_was_kept_for_him) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  std::vector<connection*> all;
  configure({.validation = validation_policy::none}, remembered_peer{&home(), &all});
  make_idle(peer, 2);  // lent before, and watched
  ASSERT_TRUE(here().run([&]() -> task<void> {
    backends().pause();
    const std::shared_ptr<bool> first = here().start([&]() -> task<void> {
      auto lent = co_await backends().acquire(at(peer));
      CO_ASSERT_OK(lent);
    });
    auto rested = co_await home().sleep_for(1ms);
    CO_ASSERT_OK(rested);
    backends().resume();
    all.back()->retire();    // the one that was kept for him
    backends().observe({});  // refreshes what lends look at
    EXPECT_EQ(totals().idle, 1U);
    EXPECT_EQ(totals().waiting, 1U);
    const acquire_options now{.try_only = true};
    auto newcomer = co_await backends().acquire(at(peer), now);
    EXPECT_FALSE(newcomer) << "it passed";
    rested = co_await home().sleep_for(1ms);
    CO_ASSERT_OK(rested);
    EXPECT_TRUE(*first);
  }));
}

TEST_F(sim_fresh, normal_priority_is_served_under_a_steady_load_of_high) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.max_connections_per_endpoint = 2, .max_waiters_per_endpoint = 100});
  scope busy(home());
  keep_busy(busy, peer, 10, acquire_priority::high);
  here().pass(100ms);
  const std::uint64_t before = served_;
  const caller& normal = call(peer);
  ASSERT_TRUE(here().until([&] { return normal.ended; }, 6s));
  EXPECT_TRUE(normal.served());
  EXPECT_LE(served_ - before, 10U);
  EXPECT_GE(served_ - before, 5U) << "but high goes first as a rule";
  stop(busy);
}

}  // namespace
}  // namespace conpool::sim

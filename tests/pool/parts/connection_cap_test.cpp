// The cap over all endpoints, with endpoints that are made up: who gets a slot, whose idle
// connection goes for it, and when there is a shortage. No socket and no shard.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <conpool/pool/detail/connection_cap.h>

#include <tests/pool/parts/fake_member.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class connection_cap : public ::testing::Test {
 protected:
  connection_cap() { limit(2); }

  void limit(std::uint32_t most) { config_.max_connections = most; }
  conpool::connection_cap& cap() { return cap_; }
  // Somebody else has opened so many.
  void open(unsigned count) {
    for (unsigned i = 0; i < count; ++i) cap_.opened();
  }
  static time_point used(duration after) { return time_point(1h) + after; }

 private:
  pool_config config_;
  conpool::connection_cap cap_{config_};
};

// --- Slots

TEST_F(connection_cap, slots_are_given_out_until_the_limit_is_reached) {
  fake_member one(cap());
  one.ticket = 1;
  EXPECT_TRUE(one.asks());
  one.opens();
  one.ticket = 2;
  EXPECT_TRUE(one.asks());
  one.opens();
  EXPECT_EQ(cap().connections(), 2U);
  EXPECT_FALSE(one.in_line());
  one.ticket = 3;
  EXPECT_FALSE(one.asks());
  EXPECT_TRUE(one.in_line());
  cap().slot_freed();
  EXPECT_EQ(one.looks, 1U);
  EXPECT_TRUE(one.asks());
}

TEST_F(connection_cap, without_a_limit_nobody_stands_in_line) {
  limit(0);
  fake_member one(cap());
  fake_member other(cap());
  other.has({used(1s)});
  one.ticket = 1;
  open(1000);
  EXPECT_TRUE(one.asks());
  EXPECT_TRUE(one.asks_for_its_floor());
  EXPECT_FALSE(one.in_line());
  EXPECT_FALSE(cap().in_shortage());
  EXPECT_FALSE(cap().over_limit());
  EXPECT_FALSE(cap().claim_slot_of(other, UINT64_MAX));
  EXPECT_EQ(other.closed.size(), 0U);
  EXPECT_EQ(cap().connections(), 1000U);
}

TEST_F(connection_cap, each_slot_goes_to_whoever_came_first_over_all_endpoints) {
  fake_member late(cap());
  fake_member early(cap());
  fake_member between(cap());
  late.ticket = 30;
  early.ticket = 10;
  between.ticket = 20;
  open(2);
  EXPECT_FALSE(late.asks());
  EXPECT_FALSE(early.asks());
  EXPECT_FALSE(between.asks());
  cap().slot_freed();
  EXPECT_EQ(early.looks, 1U);
  EXPECT_EQ(late.looks + between.looks, 0U);
  EXPECT_TRUE(early.asks());
  early.opens();
  EXPECT_FALSE(early.in_line());
  cap().slot_freed();
  EXPECT_EQ(between.looks, 1U);
  EXPECT_EQ(late.looks, 0U);
}

TEST_F(connection_cap, who_asks_while_a_slot_is_free_passes_nobody_in_line) {
  fake_member first(cap());
  fake_member newcomer(cap());
  first.ticket = 1;
  open(2);
  EXPECT_FALSE(first.asks());
  cap().slot_freed();
  newcomer.ticket = 2;
  EXPECT_FALSE(newcomer.asks());
  EXPECT_EQ(first.looks, 2U) << "it is reminded of its slot";
  EXPECT_EQ(newcomer.looks, 0U);
  EXPECT_TRUE(first.asks());
}

TEST_F(connection_cap, an_endpoint_that_cannot_use_a_slot_holds_up_nobody) {
  fake_member first(cap());
  fake_member second(cap());
  first.ticket = 1;
  second.ticket = 2;
  open(2);
  EXPECT_FALSE(first.asks());
  EXPECT_FALSE(second.asks());
  first.ticket.reset();  // its backoff has begun
  cap().slot_freed();
  EXPECT_EQ(first.looks, 0U);
  EXPECT_EQ(second.looks, 1U);
  EXPECT_TRUE(second.asks());
}

TEST_F(connection_cap, a_slot_that_its_owner_did_not_use_goes_to_the_next) {
  fake_member first(cap());
  fake_member second(cap());
  first.ticket = 1;
  second.ticket = 2;
  open(2);
  EXPECT_FALSE(first.asks());
  EXPECT_FALSE(second.asks());
  cap().slot_freed();
  EXPECT_EQ(second.looks, 0U);
  cap().demand_looked_at(first);  // something else than the cap held it up
  EXPECT_FALSE(first.in_line());
  EXPECT_EQ(second.looks, 1U);
}

TEST_F(connection_cap, an_endpoint_that_looks_before_its_turn_stays_in_line) {
  fake_member first(cap());
  fake_member second(cap());
  first.ticket = 1;
  second.ticket = 2;
  open(2);
  EXPECT_FALSE(first.asks());
  EXPECT_FALSE(second.asks());
  cap().demand_looked_at(second);
  cap().demand_looked_at(first);  // there is no slot, so it was not its turn
  EXPECT_TRUE(first.in_line());
  EXPECT_TRUE(second.in_line());
  second.ticket.reset();
  cap().demand_looked_at(second);
  EXPECT_FALSE(second.in_line()) << "it has what it needs";
  EXPECT_TRUE(first.in_line());
}

// --- Evictions

TEST_F(connection_cap, closes_one_idle_connection_for_each_that_stands_in_line) {
  limit(3);
  fake_member giver(cap());
  giver.has({used(1s), used(2s), used(3s)});
  fake_member one(cap());
  fake_member other(cap());
  one.ticket = 1;
  other.ticket = 2;
  open(3);
  EXPECT_FALSE(one.asks());
  EXPECT_EQ(giver.closed, std::vector{close_reason::evicted});
  EXPECT_FALSE(one.asks());
  EXPECT_EQ(giver.closed.size(), 1U) << "one is on its way already";
  EXPECT_FALSE(other.asks());
  EXPECT_FALSE(other.asks());
  EXPECT_EQ(giver.closed.size(), 2U);
  giver.one_is_gone();
  EXPECT_TRUE(one.asks());
  one.opens();
  EXPECT_FALSE(other.asks());
  EXPECT_EQ(giver.closed.size(), 2U) << "the second is still on its way";
  giver.one_is_gone();
  EXPECT_TRUE(other.asks());
  other.opens();
  one.ticket = 3;
  EXPECT_FALSE(one.asks());
  EXPECT_EQ(giver.closed.size(), 3U) << "a new need, a new eviction";
}

TEST_F(connection_cap, the_coldest_over_all_endpoints_is_evicted) {
  fake_member warm(cap());
  fake_member cold(cap());
  fake_member warmest(cap());
  warm.has({used(2s)});
  cold.has({used(1s), used(9s)});
  warmest.has({used(3s)});
  fake_member asker(cap());
  asker.ticket = 1;
  open(2);
  EXPECT_FALSE(asker.asks());
  EXPECT_EQ(cold.closed.size(), 1U);
  EXPECT_EQ(warm.closed.size() + warmest.closed.size(), 0U);
  EXPECT_TRUE(cap().evict_coldest(nullptr));
  EXPECT_EQ(warm.closed.size(), 1U);
}

TEST_F(connection_cap, its_own_idle_connection_goes_only_for_a_fresh_caller) {
  fake_member one(cap());
  one.has({used(1s)});
  one.ticket = 1;
  open(2);
  EXPECT_FALSE(one.asks());
  EXPECT_EQ(one.closed.size(), 0U) << "its caller can be lent that one";
  one.fresh = true;
  EXPECT_FALSE(one.asks());
  EXPECT_EQ(one.closed, std::vector{close_reason::evicted});
}

TEST_F(connection_cap, an_eviction_that_found_nothing_is_not_counted) {
  fake_member asker(cap());
  fake_member giver(cap());
  asker.ticket = 1;
  open(2);
  EXPECT_FALSE(asker.asks());
  giver.has({used(1s)});
  EXPECT_FALSE(asker.asks());
  EXPECT_EQ(giver.closed.size(), 1U);
}

TEST_F(connection_cap, evicts_for_the_reason_that_is_given_and_says_if_nothing_is_idle) {
  fake_member one(cap());
  EXPECT_FALSE(cap().evict_coldest(nullptr));
  one.has({used(1s)});
  EXPECT_FALSE(cap().evict_coldest(&one));
  EXPECT_TRUE(cap().evict_coldest(nullptr, close_reason::over_limit));
  EXPECT_EQ(one.closed, std::vector{close_reason::over_limit});
  EXPECT_FALSE(cap().evict_coldest(nullptr));
}

// --- Whose connections are in use

TEST_F(connection_cap, what_was_used_a_moment_ago_goes_only_to_who_has_nothing_or_has_waited) {
  fake_member giver(cap());
  fake_member busy(cap());
  busy.holds = true;
  const time_point now = busy.clock;
  giver.has({now - conpool::connection_cap::patience + 1ms, now});
  busy.ticket = 1;
  open(2);
  EXPECT_FALSE(busy.asks());
  EXPECT_EQ(giver.closed.size(), 0U);
  EXPECT_TRUE(cap().in_shortage());
  EXPECT_EQ(busy.looks_at, now + 1ms) << "when the coldest has been idle long enough";
  fake_member bare(cap());
  bare.ticket = 2;
  EXPECT_FALSE(bare.asks());
  EXPECT_EQ(giver.closed.size(), 1U) << "it has nothing";
  giver.one_is_gone();
  busy.clock = now + conpool::connection_cap::patience;
  EXPECT_TRUE(busy.asks()) << "the slot is its own, since its caller came first";
  busy.opens();
}

TEST_F(connection_cap, who_has_waited_takes_one_and_waits_again) {
  fake_member giver(cap());
  fake_member busy(cap());
  busy.holds = true;
  const time_point began = busy.clock;
  giver.has({began, began, began});
  busy.ticket = 1;
  open(2);
  EXPECT_FALSE(busy.asks());
  EXPECT_EQ(giver.closed.size(), 0U);
  busy.clock = giver.clock = began + conpool::connection_cap::patience;
  giver.has({busy.clock, busy.clock, busy.clock});  // in use all the time
  EXPECT_FALSE(busy.asks());
  EXPECT_EQ(giver.closed.size(), 1U);
  giver.one_is_gone();
  EXPECT_TRUE(busy.asks());
  cap().opened();  // and needs another one
  EXPECT_FALSE(busy.asks());
  EXPECT_EQ(giver.closed.size(), 1U);
  EXPECT_EQ(busy.looks_at, busy.clock + conpool::connection_cap::patience);
}

TEST_F(connection_cap, what_comes_back_is_not_claimed_for_who_has_some_and_came_a_moment_ago) {
  fake_member busy(cap());
  fake_member giver(cap());
  busy.holds = true;
  busy.ticket = 1;
  open(2);
  EXPECT_FALSE(busy.asks());
  EXPECT_FALSE(cap().claim_slot_of(giver, 2));
  EXPECT_EQ(busy.looks_at, busy.clock + conpool::connection_cap::patience);
  giver.clock += conpool::connection_cap::patience;
  EXPECT_FALSE(cap().claim_slot_of(giver, 1)) << "its own caller came no later";
  EXPECT_TRUE(cap().claim_slot_of(giver, 2));
}

TEST_F(connection_cap, a_fresh_caller_gets_the_slot_of_its_own_endpoints_idle_one_at_once) {
  fake_member one(cap());
  fake_member other(cap());
  one.holds = true;
  one.fresh = true;
  other.has({one.clock - 2ms});
  one.has({one.clock - 1ms});
  one.ticket = 1;
  open(2);
  EXPECT_FALSE(one.asks());
  EXPECT_EQ(one.closed.size(), 1U);
  EXPECT_EQ(other.closed.size(), 0U);
}

// --- Who is looked at

TEST_F(connection_cap, an_endpoint_without_an_idle_connection_is_looked_at_once) {
  fake_member asker(cap());
  fake_member leased(cap());
  fake_member idle(cap());
  cap().returns_are_quick(leased);
  idle.has({leased.clock + 1ms});
  asker.ticket = 1;
  open(2);
  EXPECT_FALSE(asker.asks());
  EXPECT_EQ(leased.told_to_look_at_returns, 1U) << "its next return tells what it has";
  EXPECT_EQ(idle.closed.size(), 1U);
  leased.has({leased.clock});
  EXPECT_TRUE(cap().evict_coldest(nullptr));
  EXPECT_EQ(leased.closed.size(), 1U);
}

TEST_F(connection_cap, the_coldest_is_found_whatever_has_become_of_the_others) {
  constexpr unsigned count = 40;
  std::vector<std::unique_ptr<fake_member>> all;
  for (unsigned i = 0; i < count; ++i) all.push_back(std::make_unique<fake_member>(cap()));
  for (unsigned i = 0; i < count; ++i) all[i]->has({used(1s * ((i * 7) % count))});
  // What was idle is used again, without a word to the cap; and some have gone.
  for (unsigned i = 0; i < count; i += 3) all[i]->idle = {used(100s + 1s * i)};
  for (unsigned i = 1; i < count; i += 5) all[i].reset();
  std::vector<time_point> expected;
  for (const auto& one : all) {
    if (one) expected.push_back(one->idle.front());
  }
  std::ranges::sort(expected);
  for (const time_point coldest : expected) {
    for (const auto& one : all) {
      if (one && one->idle == std::vector{coldest}) one->ticket = 1;  // to be known by
    }
    ASSERT_TRUE(cap().evict_coldest(nullptr));
    for (const auto& one : all) {
      if (!one) continue;
      EXPECT_EQ(one->idle.empty(), one->ticket.has_value());
    }
  }
  EXPECT_FALSE(cap().evict_coldest(nullptr));
}

// --- Connections that come back

TEST_F(connection_cap, a_connection_that_comes_back_is_claimed_for_whoever_came_before) {
  fake_member asker(cap());
  fake_member giver(cap());
  asker.ticket = 10;
  open(2);
  EXPECT_FALSE(asker.asks());
  EXPECT_FALSE(cap().claim_slot_of(giver, 10)) << "its own next caller came no later";
  EXPECT_FALSE(cap().claim_slot_of(asker, 20)) << "its own caller is served with it";
  EXPECT_TRUE(cap().claim_slot_of(giver, 11));
  EXPECT_FALSE(cap().claim_slot_of(giver, UINT64_MAX)) << "one is on its way";
  cap().slot_freed();
  EXPECT_FALSE(cap().claim_slot_of(giver, UINT64_MAX)) << "there is a slot";
  cap().opened();
  asker.ticket.reset();
  EXPECT_FALSE(cap().claim_slot_of(giver, UINT64_MAX)) << "the asker could not use it now";
  asker.ticket = 10;
  EXPECT_TRUE(cap().claim_slot_of(giver, UINT64_MAX)) << "another has taken it";
}

TEST_F(connection_cap, an_eviction_under_way_counts_for_a_claim) {
  fake_member asker(cap());
  fake_member giver(cap());
  giver.has({used(1s)});
  asker.ticket = 1;
  open(2);
  EXPECT_FALSE(asker.asks());
  EXPECT_EQ(giver.closed.size(), 1U);
  EXPECT_FALSE(cap().claim_slot_of(giver, UINT64_MAX));
}

// --- Floors

TEST_F(connection_cap, a_floor_gets_the_slots_that_nobody_in_line_needs) {
  fake_member floor(cap());
  fake_member asker(cap());
  fake_member giver(cap());
  giver.has({used(1s)});
  open(2);
  EXPECT_FALSE(floor.asks_for_its_floor());
  EXPECT_FALSE(floor.in_line());
  EXPECT_FALSE(cap().in_shortage());
  EXPECT_EQ(giver.closed.size(), 0U) << "nothing is evicted for it";
  asker.ticket = 1;
  EXPECT_FALSE(asker.asks());
  giver.one_is_gone();
  EXPECT_EQ(asker.looks, 1U);
  EXPECT_EQ(floor.looks, 0U);
  EXPECT_FALSE(floor.asks_for_its_floor()) << "the slot is another's";
  EXPECT_TRUE(asker.asks());
  asker.opens();
  EXPECT_EQ(floor.looks, 0U);
  cap().slot_freed();
  EXPECT_EQ(floor.looks, 1U);
  EXPECT_TRUE(floor.asks_for_its_floor());
}

TEST_F(connection_cap, a_floor_is_told_once_of_a_slot_for_each_time_that_it_asks) {
  fake_member floor(cap());
  fake_member other(cap());
  open(2);
  EXPECT_FALSE(floor.asks_for_its_floor());
  EXPECT_FALSE(floor.asks_for_its_floor());
  EXPECT_FALSE(other.asks_for_its_floor());
  cap().slot_freed();
  EXPECT_EQ(floor.looks, 1U);
  EXPECT_EQ(other.looks, 0U);
  cap().slot_freed();
  EXPECT_EQ(floor.looks, 1U);
  EXPECT_EQ(other.looks, 1U);
}

TEST_F(connection_cap, a_slot_that_the_line_gives_up_goes_to_a_floor) {
  fake_member floor(cap());
  fake_member asker(cap());
  asker.ticket = 1;
  open(2);
  EXPECT_FALSE(asker.asks());
  EXPECT_FALSE(floor.asks_for_its_floor());
  cap().slot_freed();
  asker.ticket.reset();  // its caller has gone
  EXPECT_EQ(floor.looks, 0U);
  cap().demand_looked_at(asker);
  EXPECT_EQ(floor.looks, 1U);
}

// --- The limit, the shortage, the end

TEST_F(connection_cap, what_is_closing_is_no_longer_over_a_lowered_limit) {
  fake_member one(cap());
  one.has({used(1s), used(2s)});
  open(2);
  EXPECT_FALSE(cap().over_limit());
  limit(1);
  EXPECT_TRUE(cap().over_limit());
  EXPECT_TRUE(cap().evict_coldest(nullptr, close_reason::over_limit));
  EXPECT_FALSE(cap().over_limit());
  EXPECT_EQ(cap().connections(), 2U) << "its slot is not free yet";
  one.one_is_gone();
  EXPECT_FALSE(cap().over_limit());
  EXPECT_EQ(cap().connections(), 1U);
}

TEST_F(connection_cap, returns_are_looked_at_from_the_beginning_of_a_shortage_on) {
  fake_member one(cap());
  fake_member other(cap());
  cap().returns_are_quick(one);
  cap().returns_are_quick(other);
  one.ticket = 1;
  open(2);
  EXPECT_FALSE(one.asks());
  EXPECT_TRUE(cap().in_shortage());
  EXPECT_EQ(one.told_to_look_at_returns, 1U);
  EXPECT_EQ(other.told_to_look_at_returns, 1U);
  EXPECT_FALSE(one.asks());
  other.ticket = 2;
  EXPECT_FALSE(other.asks());
  EXPECT_EQ(other.told_to_look_at_returns, 1U) << "it goes on";
  one.ticket.reset();
  cap().demand_looked_at(one);
  EXPECT_TRUE(cap().in_shortage());
  other.ticket.reset();
  cap().demand_looked_at(other);
  EXPECT_FALSE(cap().in_shortage());
  // Who has looked at a return since then is told again.
  cap().returns_are_quick(other);
  one.ticket = 3;
  EXPECT_FALSE(one.asks());
  EXPECT_EQ(other.told_to_look_at_returns, 2U);
}

TEST_F(connection_cap, an_eviction_under_way_is_no_shortage) {
  fake_member asker(cap());
  fake_member giver(cap());
  giver.has({used(1s)});
  cap().returns_are_quick(giver);
  asker.ticket = 1;
  open(2);
  EXPECT_FALSE(asker.asks());
  EXPECT_EQ(giver.closed.size(), 1U);
  EXPECT_FALSE(cap().in_shortage());
  EXPECT_EQ(giver.told_to_look_at_returns, 0U);
  fake_member second(cap());
  second.ticket = 2;
  EXPECT_FALSE(second.asks());
  EXPECT_TRUE(cap().in_shortage()) << "nothing is closed for this one";
}

TEST_F(connection_cap, an_endpoint_that_is_forgotten_leaves_the_line) {
  fake_member other(cap());
  {
    fake_member forgotten(cap());
    forgotten.ticket = 1;
    open(2);
    EXPECT_FALSE(forgotten.asks());
    EXPECT_FALSE(forgotten.asks_for_its_floor());
    EXPECT_TRUE(cap().in_shortage());
  }
  EXPECT_FALSE(cap().in_shortage());
  cap().slot_freed();
  other.ticket = 2;
  EXPECT_TRUE(other.asks());
}

TEST_F(connection_cap, after_the_end_slots_are_offered_to_nobody) {
  fake_member asker(cap());
  fake_member floor(cap());
  asker.ticket = 1;
  open(2);
  EXPECT_FALSE(asker.asks());
  EXPECT_FALSE(floor.asks_for_its_floor());
  cap().shut_down();
  EXPECT_FALSE(asker.in_line());
  EXPECT_FALSE(cap().in_shortage());
  cap().slot_freed();
  cap().slot_freed();
  EXPECT_EQ(asker.looks + floor.looks, 0U);
  EXPECT_EQ(cap().connections(), 0U);
}

}  // namespace
}  // namespace conpool::test

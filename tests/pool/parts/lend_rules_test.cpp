// What lends and returns look at, as it is computed from the configuration, the pool and the
// protocol. No connection is made.
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include <conpool/pool/detail/lend_rules.h>

#include <tests/pool/parts/fake_member.h>
#include <tests/pool/parts/parts_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;
using look = conpool::lend_rules::look;

class lend_rules : public parts_fixture {
 protected:
  conpool::lend_rules computed() {
    conpool::lend_rules rules;
    rules.refresh(facts());
    return rules;
  }
  template <protocol P>
  conpool::lend_rules computed_for(P speaks) {
    speak(std::move(speaks));
    return computed();
  }
};

TEST_F(lend_rules, until_they_are_computed_everything_is_looked_at) {
  const conpool::lend_rules rules;
  EXPECT_EQ(rules.lends, look::closely);
  EXPECT_EQ(rules.idle_room, 0U);
  EXPECT_EQ(rules.dirty, ~0U);
}

TEST_F(lend_rules, the_policy_says_how_closely_a_lend_looks) {
  struct {
    validation_policy policy;
    look lends;
    bool watch;
  } const rows[] = {
      {validation_policy::watch, look::at_completions, true},
      {validation_policy::none, look::not_at_all, false},
      {validation_policy::probe, look::closely, true},
      {validation_policy::ping, look::closely, true},
  };
  for (const auto& row : rows) {
    settings().validation = row.policy;
    const conpool::lend_rules rules = computed();
    EXPECT_EQ(rules.lends, row.lends) << to_string(row.policy);
    EXPECT_EQ(rules.watch, row.watch) << to_string(row.policy);
    EXPECT_FALSE(rules.supervised) << to_string(row.policy);
  }
}

TEST_F(lend_rules, what_has_to_be_seen_takes_the_slow_way) {
  const pool_config plain;
  const auto set = [this](auto field, auto value) {
    settings().*field = value;
  };
  struct {
    const char* what;
    std::function<void()> begin;
    std::function<void()> end;
    look lends;
    bool supervised;
    bool detects_leaks;
  } const rows[] = {
      {"nothing", [] {}, [] {}, look::at_completions, false, false},
      {"a pause", [&] { pool().set_paused(true); }, [&] { pool().set_paused(false); },
       look::closely, false, false},
      {"an observer", [&] { pool().observe([](const pool_event&) {}); },
       [&] { pool().observe({}); }, look::closely, true, false},
      {"leak detection", [&] { set(&pool_config::leak_threshold, 1s); },
       [&] { settings() = plain; }, look::closely, true, true},
      {"a limit of uses", [&] { set(&pool_config::max_connection_uses, 1U); },
       [&] { settings() = plain; }, look::at_completions, true, false},
  };
  for (const auto& row : rows) {
    row.begin();
    const conpool::lend_rules rules = computed();
    row.end();
    EXPECT_EQ(rules.lends, row.lends) << row.what;
    EXPECT_EQ(rules.supervised, row.supervised) << row.what;
    EXPECT_EQ(rules.detects_leaks, row.detects_leaks) << row.what;
    EXPECT_FALSE(rules.shares) << row.what;
  }
}

TEST_F(lend_rules, a_policy_of_none_does_not_outweigh_a_pause) {
  settings().validation = validation_policy::none;
  pool().set_paused(true);
  EXPECT_EQ(computed().lends, look::closely);
  EXPECT_FALSE(computed().watch);
}

struct asked_on_lends {
  struct state {};
  bool on_acquire(connection&, state&) { return true; }
};
struct asked_if_healthy {
  struct state {};
  bool is_healthy(const connection&, const state&) { return true; }
};
struct asked_on_returns {
  struct state {};
  bool on_release(connection&, state&) { return true; }
};
struct cleans_on_returns {
  struct state {};
  task<bool> on_release(connection&, state&) { co_return true; }
};
struct shares {
  struct state {};
  access access_mode(const connection&, const state&) { return access::shared(2); }
};
struct asked_otherwise {
  struct state {};
  task<result<void>> on_connect(connection&, state&) { co_return result<void>{}; }
  task<result<void>> ping(connection&, state&) { co_return result<void>{}; }
  idle_data on_idle_data(connection&, state&, std::span<const std::byte>) {
    return idle_data::keep;
  }
  void on_close(connection&, state&, close_reason) noexcept {}
};

::testing::AssertionResult are(const conpool::lend_rules& rules, look lends, bool supervised,
                               bool shared) {
  if (rules.lends == lends && rules.supervised == supervised && rules.shares == shared) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure()
         << "look " << static_cast<int>(rules.lends) << ", supervised " << rules.supervised
         << ", shares " << rules.shares;
}

TEST_F(lend_rules, hooks_take_the_slow_way_where_they_are_asked_and_nowhere_else) {
  EXPECT_TRUE(are(computed_for(asked_on_lends{}), look::closely, false, false));
  EXPECT_TRUE(are(computed_for(asked_if_healthy{}), look::closely, false, false));
  EXPECT_TRUE(are(computed_for(asked_on_returns{}), look::at_completions, true, false));
  EXPECT_TRUE(are(computed_for(cleans_on_returns{}), look::at_completions, true, false));
  EXPECT_TRUE(are(computed_for(shares{}), look::closely, true, true));
  EXPECT_TRUE(are(computed_for(asked_otherwise{}), look::at_completions, false, false));
}

TEST_F(lend_rules, a_last_write_without_an_answer_is_dirt_unless_it_is_allowed) {
  EXPECT_EQ(computed().dirty, ~0U);
  settings().reuse_unanswered = true;
  EXPECT_EQ(computed().dirty, ~std::uint32_t{stream::wrote_last});
}

TEST_F(lend_rules, returns_have_room_up_to_the_idle_limit_or_the_floor) {
  settings().max_connections_per_endpoint = 8;
  EXPECT_EQ(computed().idle_room, 8U);
  settings().max_idle_per_endpoint = 5;
  EXPECT_EQ(computed().idle_room, 5U);
  settings().min_idle_per_endpoint = 2;
  EXPECT_EQ(computed().idle_room, 2U) << "above it a return may make the coldest one due";
}

TEST_F(lend_rules, there_is_no_room_over_a_limit) {
  settings().max_connections_per_endpoint = 2;
  counts().active = 2;
  EXPECT_EQ(computed().idle_room, 2U);
  counts().idle = 1;
  EXPECT_EQ(computed().idle_room, 0U);
  counts().retiring = 1;  // one of them is on its way out
  EXPECT_EQ(computed().idle_room, 2U);
  counts() = {};
  settings().max_connections = 1;
  pool().cap().opened();
  EXPECT_EQ(computed().idle_room, 2U);
  pool().cap().opened();
  EXPECT_EQ(computed().idle_room, 0U);
}

TEST_F(lend_rules, there_is_no_room_during_a_shortage) {
  settings().max_connections = 1;
  pool().cap().opened();
  {
    fake_member asker(pool().cap());
    asker.ticket = 1;
    EXPECT_FALSE(asker.asks());
    EXPECT_EQ(computed().idle_room, 0U);
  }
  EXPECT_EQ(computed().idle_room, settings().idle_limit());
}

TEST_F(lend_rules, a_lend_at_the_floor_looks_whether_to_refill_it) {
  EXPECT_EQ(computed().floor, 0U);
  settings().min_idle_per_endpoint = 3;
  EXPECT_EQ(computed().floor, 3U);
}

TEST_F(lend_rules, there_is_no_room_after_the_end) {
  facts().shut_down = true;
  EXPECT_EQ(computed().idle_room, 0U);
}

TEST_F(lend_rules, nobody_passes_those_who_wait_until_a_refresh_finds_none_any_more) {
  conpool::lend_rules rules = computed();
  ++counts().waiting;
  rules.refresh(facts());
  EXPECT_EQ(rules.lends, look::at_completions) << "nothing is kept for them";
  rules.let_nobody_pass();
  EXPECT_EQ(rules.lends, look::closely);
  rules.refresh(facts());
  EXPECT_EQ(rules.lends, look::closely) << "they still wait";
  --counts().waiting;
  rules.refresh(facts());
  EXPECT_EQ(rules.lends, look::at_completions);
  rules.close();
  EXPECT_EQ(rules.lends, look::closely);
  EXPECT_EQ(rules.idle_room, 0U);
}

}  // namespace
}  // namespace conpool::test

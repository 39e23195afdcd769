// The hooks that talk: those that clean or recover a connection after its lease, and those that say
// farewell before its end.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>
#include <tests/support/run.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

// What the test lets the hooks say; what they were called for.
struct spoken {
  std::function<task<bool>(connection&)> clean;
  std::function<task<bool>(connection&, close_reason)> recover;
  std::function<task<void>(connection&)> farewell;
  bool needs_cleaning = true;
  unsigned closed = 0;
};
spoken* speech = nullptr;

struct talker {
  struct state {};
  bool needs_cleaning(const connection&, const state&) { return speech->needs_cleaning; }
  task<bool> on_release(connection& one, state&) {
    if (!speech->clean) co_return true;
    auto work = speech->clean(one);
    auto clean = co_await work;
    co_return clean;
  }
  task<bool> recover(connection& one, state&, close_reason why) {
    if (!speech->recover) co_return false;
    auto work = speech->recover(one, why);
    auto saved = co_await work;
    co_return saved;
  }
  task<void> farewell(connection& one, state&) {
    if (!speech->farewell) co_return;
    auto work = speech->farewell(one);
    co_await work;
  }
  void on_close(connection&, state&, close_reason) noexcept { ++speech->closed; }
};

class talking_hooks : public pool_fixture {
 protected:
  void SetUp() override {
    speech = &does_;
    pool_fixture::SetUp();
  }

  // Sends and reads back, within a hook.
  static task<bool> round_trip(connection& over) {
    auto sent = co_await over.write("clean");
    if (!sent) co_return false;
    std::array<char, 5> got{};
    auto read = co_await over.read_exactly(std::span<char>(got));
    co_return read.has_value();
  }
  // Never ends by itself.
  static task<bool> hang(connection& over) {
    auto slept = co_await over.home().sleep_for(1h);
    co_return slept.has_value();
  }
  // An exchange that is cut short: what was asked is not answered.
  void cut_short(lease& held) {
    bool ended = false;
    server().echo(false);
    start(
        [&]() -> task<void> {
          auto sent = co_await held->write("query");
          EXPECT_OK(sent);
          std::array<std::byte, 5> got{};
          auto read = co_await held->read_some(got, 5, 20ms);
          EXPECT_FALSE(read);
        },
        ended);
    settle();
    settle();
    pass(30ms);
    ASSERT_TRUE(until([&] { return ended; }));
    server().echo(true);
  }

  pool_config config_;
  spoken does_;
};

// --- Cleaning

TEST_F(talking_hooks, what_needs_no_cleaning_is_not_cleaned) {
  configure(config_, talker());
  unsigned cleaned = 0;
  does_.clean = [&](connection& one) {
    ++cleaned;
    return round_trip(one);
  };
  does_.needs_cleaning = false;
  hold().release();
  EXPECT_EQ(totals().idle, 1U) << "at once";
  EXPECT_EQ(cleaned, 0U);
  does_.needs_cleaning = true;
  hold().release();
  ASSERT_TRUE(until([&] { return totals().idle == 1; }));
  EXPECT_EQ(cleaned, 1U);
}

TEST_F(talking_hooks, more_returns_than_may_be_cleaned_at_once_wait_and_none_is_closed) {
  config_.max_releasing_per_endpoint = 8;
  configure(config_, talker());
  unsigned at_once = 0;
  unsigned most = 0;
  does_.clean = [&](connection& one) -> task<bool> {
    most = std::max(most, ++at_once);
    auto talk = round_trip(one);
    auto well = co_await talk;
    --at_once;
    co_return well;
  };
  hold(24);
  held_.clear();
  ASSERT_TRUE(until([&] { return totals().idle == 24; }));
  EXPECT_EQ(totals().closed(), 0U);
  EXPECT_EQ(most, 8U);
}

TEST_F(talking_hooks, a_connection_that_is_being_cleaned_is_capacity_on_its_way) {
  configure(config_, talker());
  does_.clean = [&](connection& one) {
    return round_trip(one);
  };
  hold(2);
  held_.clear();
  EXPECT_EQ(totals().idle, 0U);
  lease one = hold();
  lease another = hold();
  EXPECT_EQ(totals().created, 2U) << "no connect was begun for callers whom these serve";
}

TEST_F(talking_hooks, close_returns_when_the_last_hook_has_ended_and_on_close_has_run) {
  configure(config_, talker());
  does_.clean = [&](connection& one) {
    return hang(one);
  };
  hold(3);
  held_.clear();
  settle();
  bool ended = false;
  start(
      [this]() -> task<void> {
        auto closed = co_await backends().close();
        EXPECT_OK(closed);
      },
      ended);
  settle();
  EXPECT_FALSE(ended);
  pass(config_.release_timeout + 1ms);
  ASSERT_TRUE(until([&] { return ended; }));
  EXPECT_EQ(does_.closed, 3U);
  EXPECT_EQ(totals().created, totals().closed());
}

// --- Recovering

TEST_F(talking_hooks, what_a_lease_left_in_the_middle_may_be_recovered) {
  configure(config_, talker());
  std::vector<close_reason> asked;
  does_.recover = [&](connection& one, close_reason why) {
    asked.push_back(why);
    return round_trip(one);
  };
  lease held = hold();
  const std::uint64_t id = held->id();
  cut_short(held);
  held.release();
  ASSERT_TRUE(until([&] { return totals().idle == 1; }));
  EXPECT_EQ(asked, (std::vector{close_reason::interrupted}));
  lease again = hold();
  EXPECT_EQ(again->id(), id);
  EXPECT_TRUE(works(again));
  EXPECT_EQ(totals().closed(), 0U);
}

TEST_F(talking_hooks, what_cannot_be_recovered_is_closed_for_the_first_reason) {
  using deed = std::function<task<bool>(connection&)>;
  const std::array<deed, 3> all{
      [](connection&) -> task<bool> { co_return false; },
      [](connection& one) { return hang(one); },
      [](connection&) -> task<bool> {
        throw std::runtime_error("no");
        co_return true;
      },
  };
  for (std::size_t i = 0; i < all.size(); ++i) {
    SCOPED_TRACE(i);
    configure(config_, talker());
    does_.recover = [&](connection& one, close_reason) {
      return all[i](one);
    };
    lease held = hold();
    cut_short(held);
    held.release();
    settle();
    pass(config_.release_timeout + 1ms);
    ASSERT_TRUE(until([&] { return closed(close_reason::interrupted) == 1; }));
  }
}

TEST_F(talking_hooks, a_discarded_lease_is_not_recovered) {
  configure(config_, talker());
  unsigned asked = 0;
  does_.recover = [&](connection& one, close_reason) {
    ++asked;
    return round_trip(one);
  };
  lease held = hold();
  held.discard();
  ASSERT_TRUE(until([&] { return closed(close_reason::discarded) == 1; }));
  EXPECT_EQ(asked, 0U);
}

TEST_F(talking_hooks, recovery_stays_within_the_limits) {
  config_.max_connections_per_endpoint = 4;
  config_.max_releasing_per_endpoint = 2;
  configure(config_, talker());
  does_.recover = [&](connection& one, close_reason) {
    return round_trip(one);
  };
  for (unsigned round = 0; round < 5; ++round) {
    hold(4);
    for (lease& one : held_) cut_short(one);
    held_.clear();
    caller& next = call();
    ASSERT_TRUE(until([&] { return next.ended; }));
    EXPECT_OK(next.got);
    next.got->release();
    ASSERT_TRUE(until([&] { return totals().idle == 4; }));
  }
  EXPECT_EQ(totals().created, 4U);
}

// --- Farewell

TEST_F(talking_hooks, a_healthy_connection_says_farewell_before_the_pool_closes_it) {
  config_.max_idle_time = 1s;
  configure(config_, talker());
  std::string said;
  does_.farewell = [&](connection& one) -> task<void> {
    auto talk = round_trip(one);
    auto well = co_await talk;
    said += well ? "bye " : "cut ";
  };
  hold(2);
  held_.clear();
  ASSERT_TRUE(until([&] { return totals().idle == 2; }));
  pass(1100ms);
  ASSERT_TRUE(until([&] { return closed(close_reason::idle_timeout) == 2; }));
  EXPECT_EQ(said, "bye bye ");
  lease held = hold();
  held.release();
  ASSERT_TRUE(until([&] { return totals().idle == 1; }));
  ASSERT_TRUE(run([this]() -> task<void> {
    auto closed = co_await backends().close();
    EXPECT_OK(closed);
  }));
  EXPECT_EQ(said, "bye bye bye ") << "close() ends after the last farewell";
  EXPECT_EQ(does_.closed, 3U);
}

TEST_F(talking_hooks, nobody_says_farewell_on_what_is_broken_or_discarded) {
  configure(config_, talker());
  unsigned said = 0;
  does_.farewell = [&](connection&) -> task<void> {
    ++said;
    co_return;
  };
  hold().discard();
  hold().release();
  settle();
  server().close_all();
  ASSERT_TRUE(until([&] { return totals().closed() == 2; }));
  EXPECT_EQ(said, 0U);
}

TEST_F(talking_hooks, a_peer_that_does_not_listen_to_a_farewell_holds_nobody_up_for_long) {
  config_.max_releasing_per_endpoint = 2;
  configure(config_, talker());
  does_.farewell = [&](connection& one) -> task<void> {
    auto work = hang(one);
    [[maybe_unused]] auto hung = co_await work;
  };
  hold(4);
  held_.clear();
  ASSERT_TRUE(until([&] { return totals().idle == 4; }));
  bool ended = false;
  start(
      [this]() -> task<void> {
        auto closed = co_await backends().close();
        EXPECT_OK(closed);
      },
      ended);
  for (unsigned i = 0; i < 2; ++i) {
    settle();
    EXPECT_FALSE(ended);
    pass(config_.release_timeout + 1ms);
  }
  ASSERT_TRUE(until([&] { return ended; }));
  EXPECT_EQ(does_.closed, 4U);
}

}  // namespace
}  // namespace conpool::test

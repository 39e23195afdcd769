// When to dial and when to refuse: the rule alone, from facts that the test makes up, in a time
// that it sets by hand. No socket and no shard.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

#include <conpool/pool/detail/connect_gate.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;
using row = conpool::connect_gate::row;

class connect_gate : public ::testing::Test {
 protected:
  conpool::connect_gate& gate() { return gate_; }
  pool_config& config() { return config_; }
  conpool::connect_gate::facts& seen() { return seen_; }
  void pass(duration time) { seen_.now += time; }

  using dial = conpool::connect_gate::beginning;
  dial begin() { return gate_.begin(true); }
  // True if it opened the breaker.
  bool fail(const dial& begun, row whose = row::callers) {
    return gate_.failed({.whose = whose}, begun, seen_, config_, random_);
  }
  // One that begins now and fails; then its backoff passes.
  bool fail_next(row whose = row::callers) {
    const bool opened = fail(begin(), whose);
    seen_.now = std::max(seen_.now, gate_.next_spare_attempt());
    return opened;
  }
  bool refuse_for_good() {
    return gate_.failed({.permanent = true}, begin(), seen_, config_, random_);
  }
  // A new connection is lent, on whichever path.
  void lend_new_one() { ++seen_.first_lends; }
  std::uint32_t failures() { return gate_.failures(seen_.first_lends); }
  std::uint32_t at_once() { return gate_.at_once(seen_, 32); }

  random_source random_{1};

 private:
  pool_config config_;
  conpool::connect_gate gate_;
  conpool::connect_gate::facts seen_{.now = time_point{1h}};
};

// How long the connect after the `failures`-th failure in a row is put off.
duration backoff_after(unsigned failures, const pool_config& config, random_source& random) {
  conpool::connect_gate gate;
  const conpool::connect_gate::facts seen{.now = time_point{1h}};
  for (unsigned i = 0; i < failures; ++i) gate.failed({}, gate.begin(true), seen, config, random);
  EXPECT_FALSE(gate.next_attempt() > seen.now && gate.may_dial(seen.now));
  EXPECT_TRUE(gate.may_dial(gate.next_attempt()));
  return gate.next_attempt() - seen.now;
}

TEST_F(connect_gate, puts_connects_off_for_anything_between_nothing_and_a_doubling_limit) {
  for (unsigned failures = 1; failures <= 40; ++failures) {
    const duration limit =
        std::min<duration>(5s, 10ms * (std::int64_t{1} << std::min(failures - 1, 20U)));
    duration least = limit;
    duration most = 0ms;
    for (unsigned i = 0; i < 500; ++i) {
      const duration drawn = backoff_after(failures, config(), random_);
      least = std::min(least, drawn);
      most = std::max(most, drawn);
    }
    EXPECT_LE(most, limit) << "after failure " << failures;
    EXPECT_GE(most, limit * 9 / 10) << "after failure " << failures;
    EXPECT_LE(least, limit / 10) << "after failure " << failures;
  }
}

TEST_F(connect_gate, the_longest_backoff_does_not_overflow) {
  config().connect_backoff_min = config().connect_backoff_max = 24h;
  for (const unsigned failures : {1U, 2U, 31U, 32U, 33U, 1000U}) {
    const duration drawn = backoff_after(failures, config(), random_);
    EXPECT_GE(drawn, 0s);
    EXPECT_LE(drawn, 24h);
  }
}

TEST_F(connect_gate, opens_after_so_many_failures_and_closes_when_a_connect_stands) {
  config().breaker_failures = 3;
  EXPECT_FALSE(fail_next());
  EXPECT_FALSE(fail_next());
  EXPECT_FALSE(gate().open());
  EXPECT_TRUE(fail_next());
  EXPECT_TRUE(gate().open());
  EXPECT_FALSE(fail_next()) << "it is open already";
  EXPECT_EQ(failures(), 4U);
  EXPECT_TRUE(gate().stood(begin(), seen()));
  EXPECT_FALSE(gate().open());
  EXPECT_TRUE(gate().may_dial(seen().now));
}

TEST_F(connect_gate, the_row_ends_with_the_first_lend_of_a_new_connection_and_not_before) {
  config().breaker_failures = 3;
  for (unsigned i = 0; i < 3; ++i) fail_next();
  EXPECT_TRUE(gate().stood(begin(), seen()));
  EXPECT_EQ(failures(), 3U) << "it stood, and nobody could use it";
  EXPECT_TRUE(fail_next()) << "a server that accepts and closes at once is failing, too";
  EXPECT_TRUE(gate().stood(begin(), seen()));
  lend_new_one();
  EXPECT_EQ(failures(), 0U);
  EXPECT_FALSE(fail_next());
  EXPECT_EQ(failures(), 1U);
  EXPECT_FALSE(fail_next());
  EXPECT_TRUE(fail_next());
}

TEST_F(connect_gate, never_opens_when_the_breaker_is_off) {
  config().breaker_failures = 0;
  for (unsigned i = 0; i < 1000; ++i) EXPECT_FALSE(fail_next());
  EXPECT_FALSE(refuse_for_good());
  EXPECT_FALSE(gate().open());
}

TEST_F(connect_gate, a_dial_that_began_before_the_last_failure_does_not_count_again) {
  dial all[32];
  for (dial& one : all) one = begin();
  fail(all[0]);
  const time_point next = gate().next_attempt();
  for (const dial& one : all) EXPECT_FALSE(fail(one));
  EXPECT_EQ(failures(), 1U);
  EXPECT_EQ(gate().next_attempt(), next) << "and does not push the next one off";
  fail(begin());
  EXPECT_EQ(failures(), 2U);
}

TEST_F(connect_gate, after_a_failure_one_connect_at_a_time_goes_on_until_one_stands) {
  EXPECT_TRUE(!gate().stood(begin(), seen()));
  EXPECT_EQ(at_once(), 32U);
  const dial older = begin();
  fail(begin());
  EXPECT_EQ(at_once(), 1U);
  EXPECT_FALSE(gate().stood(older, seen()));
  EXPECT_EQ(at_once(), 1U) << "it says nothing newer than the failure";
  EXPECT_FALSE(gate().stood(begin(), seen()));
  EXPECT_EQ(at_once(), 32U) << "all limits hold at once";
}

TEST_F(connect_gate, of_an_untried_server_few_are_asked_at_once) {
  EXPECT_EQ(at_once(), conpool::connect_gate::untried_most);
  EXPECT_EQ(gate().at_once(seen(), 4), 4U);
  EXPECT_FALSE(gate().stood(begin(), seen()));
  EXPECT_EQ(at_once(), 32U);
  ++seen().lost;
  EXPECT_EQ(at_once(), conpool::connect_gate::untried_most) << "it has closed a connection since";
  EXPECT_FALSE(gate().stood(begin(), seen()));
  EXPECT_EQ(at_once(), 32U);
}

TEST_F(connect_gate, what_stood_of_an_older_round_and_was_of_no_use_opens_the_breaker_again) {
  config().breaker_failures = 1;
  const dial caller = begin();
  const dial spare = begin();
  EXPECT_TRUE(fail(begin()));
  for (const row whose : {row::callers, row::spare}) {
    EXPECT_TRUE(gate().stood(whose == row::callers ? caller : spare, seen()));
    EXPECT_TRUE(
        gate().failed({.whose = whose, .had_stood = true}, caller, seen(), config(), random_));
    EXPECT_TRUE(gate().open());
  }
  EXPECT_EQ(failures(), 1U);
}

TEST_F(connect_gate, while_something_stands_failures_hold_back_growth_and_nothing_opens) {
  seen().stands = true;
  for (unsigned i = 0; i < 1000; ++i) EXPECT_FALSE(fail_next());
  EXPECT_EQ(failures(), 1000U);
  fail(begin());
  EXPECT_TRUE(gate().holds_back(seen()));
  EXPECT_FALSE(refuse_for_good());
  EXPECT_FALSE(gate().open());
}

TEST_F(connect_gate, what_failed_beside_others_is_no_part_of_the_row_without_them) {
  config().breaker_failures = 3;
  seen().stands = true;
  for (unsigned i = 0; i < 20; ++i) fail_next();
  fail(begin());
  seen().stands = false;
  gate().nothing_stands(seen());
  EXPECT_TRUE(gate().may_dial(seen().now)) << "the old backoff says nothing of now";
  EXPECT_FALSE(fail_next());
  EXPECT_EQ(failures(), 1U);
  EXPECT_FALSE(fail_next());
  EXPECT_TRUE(fail_next());
}

TEST_F(connect_gate, a_row_that_was_counted_alone_keeps_its_backoff_when_what_stood_is_gone) {
  fail_next();
  fail(begin());
  const time_point next = gate().next_attempt();
  gate().nothing_stands(seen());
  EXPECT_EQ(gate().next_attempt(), next);
}

TEST_F(connect_gate, refills_put_off_other_refills_and_no_caller) {
  config().connect_backoff_min = config().connect_backoff_max = 1s;
  const dial caller = begin();
  for (unsigned i = 0; i < 100; ++i) EXPECT_FALSE(fail_next(row::spare));
  const dial first = begin();
  const dial second = begin();
  fail(first, row::spare);
  const time_point next = gate().next_spare_attempt();
  EXPECT_GT(next, seen().now);
  fail(second, row::spare);
  EXPECT_EQ(gate().next_spare_attempt(), next) << "one round";
  EXPECT_TRUE(gate().may_dial(seen().now));
  EXPECT_FALSE(gate().open());
  EXPECT_EQ(failures(), 0U);
  EXPECT_EQ(at_once(), 1U) << "the server is failing, so one at a time";
  // A caller's own failure puts off both.
  fail(caller);
  EXPECT_EQ(failures(), 1U);
  EXPECT_GE(gate().next_spare_attempt(), gate().next_attempt());
}

TEST_F(connect_gate, connections_that_ended_unused_do_not_make_the_server_a_failing_one) {
  EXPECT_FALSE(gate().stood(begin(), seen()));
  gate().failed({.whose = row::spare, .had_stood = true}, begin(), seen(), config(), random_);
  EXPECT_EQ(at_once(), 32U);
}

TEST_F(connect_gate, our_own_shortage_paces_all_connects_and_opens_nothing) {
  config().connect_backoff_min = config().connect_backoff_max = 1s;
  for (unsigned i = 0; i < 100; ++i) EXPECT_FALSE(fail_next(row::ourselves));
  EXPECT_EQ(failures(), 0U);
  EXPECT_FALSE(gate().open());
  const dial one = begin();
  const dial other = begin();
  fail(one, row::ourselves);
  const time_point next = gate().next_attempt();
  EXPECT_GT(next, seen().now);
  fail(other, row::ourselves);
  EXPECT_EQ(gate().next_attempt(), next);
  EXPECT_FALSE(gate().stood(begin(), seen()));
  EXPECT_TRUE(gate().may_dial(seen().now));
}

TEST_F(connect_gate, a_permanent_refusal_opens_at_once_and_puts_off_for_long) {
  for (unsigned i = 0; i < 100; ++i) {
    conpool::connect_gate one;
    EXPECT_TRUE(one.failed({.permanent = true}, one.begin(true), seen(), config(), random_));
    EXPECT_TRUE(one.permanent());
    EXPECT_GE(one.next_attempt() - seen().now, config().connect_backoff_max / 2);
    EXPECT_LE(one.next_attempt() - seen().now, config().connect_backoff_max);
    EXPECT_TRUE(one.stood(one.begin(true), seen()));
    EXPECT_FALSE(one.permanent());
  }
}

TEST_F(connect_gate, a_passing_failure_after_a_permanent_one_is_a_passing_one) {
  EXPECT_TRUE(refuse_for_good());
  seen().now = gate().next_attempt();
  fail(begin());
  EXPECT_FALSE(gate().permanent());
  EXPECT_TRUE(gate().open()) << "nothing stands yet";
}

TEST_F(connect_gate, what_is_adopted_closes_the_breaker_and_leaves_the_backoff) {
  EXPECT_TRUE(refuse_for_good());
  EXPECT_TRUE(gate().adopted());
  EXPECT_FALSE(gate().open());
  EXPECT_FALSE(gate().may_dial(seen().now));
  EXPECT_FALSE(gate().adopted());
}

}  // namespace
}  // namespace conpool::test

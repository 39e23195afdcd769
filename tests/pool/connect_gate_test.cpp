// Backoff and breaker of failed connects: the rule alone, and what leaves in one submission.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include <conpool/conpool.h>

#include <conpool/pool/detail/connect_gate.h>

#include <tests/support/pool_fixture.h>
#include <tests/support/silent_port.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

// How long the connect after the `failures`-th failure in a row is put off.
duration backoff_after(unsigned failures, const pool_config& config, random_source& random) {
  connect_gate gate;
  const time_point now{1h};
  for (unsigned i = 0; i < failures; ++i) gate.failed(now, config, random);
  EXPECT_FALSE(gate.next_attempt() > now && gate.may_dial(now));
  EXPECT_TRUE(gate.may_dial(gate.next_attempt()));
  return gate.next_attempt() - now;
}

TEST(connect_gate, puts_connects_off_for_anything_between_nothing_and_a_doubling_limit) {
  random_source random(1);
  const pool_config config;
  for (unsigned failures = 1; failures <= 40; ++failures) {
    const duration limit =
        std::min<duration>(5s, 10ms * (std::int64_t{1} << std::min(failures - 1, 20U)));
    duration least = limit;
    duration most = 0ms;
    for (unsigned i = 0; i < 500; ++i) {
      const duration drawn = backoff_after(failures, config, random);
      least = std::min(least, drawn);
      most = std::max(most, drawn);
    }
    EXPECT_LE(most, limit) << "after failure " << failures;
    EXPECT_GE(most, limit * 9 / 10) << "after failure " << failures;
    EXPECT_LE(least, limit / 10) << "after failure " << failures;
  }
}

TEST(connect_gate, the_longest_backoff_does_not_overflow) {
  random_source random(1);
  pool_config config;
  config.connect_backoff_min = config.connect_backoff_max = 24h;
  for (const unsigned failures : {1U, 2U, 31U, 32U, 33U, 1000U}) {
    const duration drawn = backoff_after(failures, config, random);
    EXPECT_GE(drawn, 0s);
    EXPECT_LE(drawn, 24h);
  }
}

TEST(connect_gate, opens_after_so_many_failures_and_closes_when_a_connect_stands) {
  random_source random(1);
  pool_config config;
  config.breaker_failures = 3;
  connect_gate gate;
  EXPECT_FALSE(gate.failed({}, config, random));
  EXPECT_FALSE(gate.failed({}, config, random));
  EXPECT_FALSE(gate.open());
  EXPECT_TRUE(gate.failed({}, config, random));
  EXPECT_TRUE(gate.open());
  EXPECT_FALSE(gate.failed({}, config, random)) << "it is open already";
  EXPECT_TRUE(gate.stood());
  EXPECT_FALSE(gate.open());
  EXPECT_TRUE(gate.may_dial({}));
  // The connection was never used: a server that accepts and closes at once is failing, too.
  EXPECT_TRUE(gate.failed({}, config, random));
  EXPECT_FALSE(!gate.stood());
  gate.served();
  EXPECT_EQ(gate.failures(), 0U);
  EXPECT_FALSE(gate.failed({}, config, random));
}

TEST(connect_gate, never_opens_when_the_breaker_is_off) {
  random_source random(1);
  pool_config config;
  config.breaker_failures = 0;
  connect_gate gate;
  for (unsigned i = 0; i < 1000; ++i) EXPECT_FALSE(gate.failed({}, config, random));
  EXPECT_FALSE(gate.open());
}

using breaker = pool_fixture;

TEST_F(breaker, probes_of_many_broken_endpoints_that_fall_due_together_leave_in_one_enter) {
  constexpr unsigned endpoints = 64;
  const silent_port nobody;
  pool_config config;
  config.breaker_failures = 1;
  configure(config);
  const std::string text = nobody.text();
  const std::string port = text.substr(text.rfind(':'));
  // Only 127.0.0.1 is bound, so nothing listens on that port of its neighbours' addresses.
  ASSERT_TRUE(run([&]() -> task<void> {
    for (unsigned i = 1; i <= endpoints; ++i) {
      const endpoint to = endpoint::parse("tcp://127.0.1." + std::to_string(i) + port).value();
      auto refused = co_await backends().acquire(to);
      EXPECT_FALSE(refused);
      if (!refused) {
        EXPECT_EQ(refused.error(), errc::connect_failed);
      }
    }
  }));
  EXPECT_EQ(totals().breaker_opened, endpoints);
  settle();
  // Endpoints that drew a backoff of zero may have been tried already.
  const std::uint64_t tried = totals().created;
  clock().advance(config.connect_backoff_max);  // all are due
  const ring_statistics before = home().ring().statistics();
  while (totals().created < tried + endpoints) home().run_once(duration::zero());
  EXPECT_EQ(totals().connecting, endpoints);
  home().run_once(duration::zero());
  const ring_statistics& after = home().ring().statistics();
  EXPECT_GE(after.submissions - before.submissions, endpoints);
  EXPECT_LE(after.submitting_enters - before.submitting_enters, 2U);
  EXPECT_TRUE(until([&] { return totals().connecting == 0; }));
  EXPECT_EQ(totals().connect_failures, tried + endpoints);
}

}  // namespace
}  // namespace conpool::test

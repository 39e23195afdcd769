// Backoff and breaker of failed connects: the rule alone, without a socket.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

#include <conpool/pool/detail/connect_gate.h>

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

}  // namespace
}  // namespace conpool::test

// Acquire and release against a real server on the same shard: hits, misses, waiters, the watch.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/echo_server.h>
#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using acquire = pool_fixture;

TEST_F(acquire, T1_the_first_acquire_dials_and_the_second_reuses_the_same) {
  ASSERT_TRUE(run([&]() -> task<void> {
    auto first = co_await backends().acquire(server().at());
    CO_ASSERT_OK(first);
    const std::uint64_t id = (*first)->id();
    EXPECT_FALSE(first->reused());
    first->release();
    auto second = co_await backends().acquire(server().at());
    CO_ASSERT_OK(second);
    EXPECT_EQ((*second)->id(), id);
    EXPECT_TRUE(second->reused());
  }));
  const pool_stats sum = backends().totals();
  EXPECT_EQ(sum.misses, 1U);
  EXPECT_EQ(sum.hits, 1U);
  EXPECT_EQ(sum.created, 1U);
  EXPECT_EQ(sum.idle, 1U);
}

TEST_F(acquire, bytes_go_there_and_back) {
  ASSERT_TRUE(run([&]() -> task<void> {
    auto lease = co_await backends().acquire(server().at());
    CO_ASSERT_OK(lease);
    for (int round = 0; round < 10; ++round) {
      const std::string sent(100 + round, static_cast<char>('a' + round));
      auto written = co_await (*lease)->write(sent);
      CO_ASSERT_OK(written);
      std::string got(sent.size(), '\0');
      auto read = co_await (*lease)->read_exactly(std::span<char>(got));
      CO_ASSERT_OK(read);
      EXPECT_EQ(got, sent);
    }
  }));
  EXPECT_EQ(backends().totals().idle, 1U);
}

}  // namespace
}  // namespace conpool::test

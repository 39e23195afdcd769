// One pool for each shard, on threads of their own.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>

#include <conpool/conpool.h>

#include <tests/support/descriptors.h>
#include <tests/support/echo_server.h>
#include <tests/support/expect.h>

namespace conpool::test {
namespace {

// An echo server that lives on shard 0 of a runtime.
class sharded_pool : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = open_descriptors();
    runtime_options options;
    options.shards = 2;
    auto made = runtime::create(options);
    ASSERT_OK(made);
    threads_ = std::move(*made);
    threads_->run([this]() -> task<void> {
      server_ = std::make_unique<echo_server>(threads_->at(0));
      co_return;
    });
  }
  void TearDown() override {
    threads_->stop();
    server_.reset();
    threads_.reset();
    EXPECT_EQ(open_descriptors(), before_);
  }

  std::size_t before_ = 0;
  std::unique_ptr<runtime> threads_;
  std::unique_ptr<echo_server> server_;
};

task<void> exchange(pool& local, const endpoint& to, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    auto one = co_await local.acquire(to);
    if (!one) {
      ADD_FAILURE() << one.error().message();
      co_return;
    }
    auto sent = co_await (*one)->write("ping");
    EXPECT_TRUE(sent);
    std::array<char, 4> got{};
    auto read = co_await (*one)->read_exactly(std::span<char>(got));
    EXPECT_TRUE(read);
  }
}

TEST_F(sharded_pool, each_shard_has_its_own_pool_and_statistics_add_up) {
  auto pools = sharded<pool>::create(*threads_, pool_config());
  ASSERT_OK(pools);
  threads_->run_on_all([&](shard& home) -> task<void> {
    pool& mine = pools->local();
    EXPECT_EQ(&mine.home(), &home);
    auto work = exchange(mine, server_->at(), 50);
    co_await work;
  });
  const pool_stats sum = pools->totals();
  EXPECT_EQ(sum.created, 2U);
  EXPECT_EQ(sum.idle, 2U);
  EXPECT_EQ(sum.hits, 98U);
  EXPECT_EQ(sum.misses, 2U);
  EXPECT_EQ(sum.endpoints, 2U);
}

TEST_F(sharded_pool, a_wrong_configuration_is_refused) {
  pool_config config;
  config.max_connections_per_endpoint = 0;
  const auto pools = sharded<pool>::create(*threads_, config);
  ASSERT_FALSE(pools);
  EXPECT_EQ(pools.error(), errc::invalid_config);
}

TEST_F(sharded_pool, pools_may_outlive_the_runtime_s_threads) {
  auto pools = sharded<pool>::create(*threads_, pool_config());
  ASSERT_TRUE(pools);
  threads_->run_on_all([&](shard&) -> task<void> {
    auto work = exchange(pools->local(), server_->at(), 3);
    co_await work;
  });
  threads_->stop();
  EXPECT_TRUE(pools->on(0).closed());
  EXPECT_TRUE(pools->on(1).closed());
  EXPECT_EQ(pools->on(0).totals().idle, 0U);
}

TEST_F(sharded_pool, stopping_under_load_ends_every_caller) {
  auto pools = sharded<pool>::create(*threads_, pool_config());
  ASSERT_TRUE(pools);
  std::atomic<int> running = 0;
  threads_->run_on_all([&](shard& home) -> task<void> {
    for (int i = 0; i < 500; ++i) {
      running.fetch_add(1);
      home.spawn([&]() -> task<void> {
        for (;;) {
          auto one = co_await pools->local().acquire(server_->at());
          if (!one && one.error() == errc::queue_full) {
            co_await shard::current()->yield();
            if (shard::current()->stopping()) break;
            continue;
          }
          if (!one) break;
          auto sent = co_await (*one)->write("ping");
          if (!sent) break;
          std::array<char, 4> got{};
          auto read = co_await (*one)->read_exactly(std::span<char>(got));
          if (!read) break;
        }
        running.fetch_sub(1);
      });
    }
    co_return;
  });
  threads_->stop();
  EXPECT_EQ(running.load(), 0);
  for (unsigned index = 0; index < 2; ++index) {
    const pool_stats sum = pools->on(index).totals();
    EXPECT_EQ(sum.active + sum.idle + sum.connecting + sum.closing + sum.waiting, 0U) << index;
    EXPECT_EQ(sum.created, sum.closed()) << index;
  }
}

}  // namespace
}  // namespace conpool::test

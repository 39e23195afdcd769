// One pool for each shard, on threads of their own.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

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

// What a service of a user's looks like: tasks of its own, on a pool of its own. It cannot be
// moved.
class service {
 public:
  service(shard& home, std::atomic<int>& running, unsigned fails_on)
      : home_(&home), clients_(home), backends_(pool::create(home).value()), running_(&running) {
    if (home.id() == fails_on) throw std::runtime_error("no service here");
    clients_.spawn(&service::work, std::ref(*this));
  }
  ~service() { EXPECT_EQ(shard::current() == home_ || home_->stopped(), true); }
  task<void> close() { co_await clients_.close(); }
  unsigned id() const { return home_->id(); }

 private:
  static task<void> work(service& self) {
    ++*self.running_;
    while (true) {
      auto slept = co_await self.home_->sleep_for(std::chrono::hours(1));
      if (!slept) break;
    }
    --*self.running_;
  }

  shard* home_;
  scope clients_;
  pool backends_;
  std::atomic<int>* running_;
};

TEST_F(sharded_pool, a_service_with_a_scope_is_made_in_place_and_closed_on_its_shard) {
  std::atomic<int> running = 0;
  {
    auto services = sharded<service>::create(*threads_, std::ref(running), 9U).value();
    threads_->run_on_all([](shard& home) -> task<void> { co_await home.yield(); });
    EXPECT_EQ(running, 2);
    threads_->run([&]() -> task<void> {
      auto ids = co_await services.gather(&service::id);
      CO_ASSERT_OK(ids);
      EXPECT_EQ(*ids, (std::vector<unsigned>{0, 1}));
    });
  }
  EXPECT_EQ(running, 0);
}

TEST_F(sharded_pool, a_service_that_outlives_its_stopped_shards_has_no_tasks_any_more) {
  std::atomic<int> running = 0;
  auto services = sharded<service>::create(*threads_, std::ref(running), 9U).value();
  threads_->run_on_all([](shard& home) -> task<void> { co_await home.yield(); });
  EXPECT_EQ(running, 2);
  threads_->stop();
  EXPECT_EQ(running, 0);
}

TEST_F(sharded_pool, what_a_constructor_throws_comes_out_and_the_others_are_closed) {
  std::atomic<int> running = 0;
  EXPECT_THROW(static_cast<void>(sharded<service>::create(*threads_, std::ref(running), 1U)),
               std::runtime_error);
  EXPECT_EQ(running, 0);
}

// One that says by a result what is wrong, and cannot be moved either.
class stationary {
 public:
  static result<std::unique_ptr<stationary>> create(shard& home, unsigned fails_on) {
    if (home.id() == fails_on) return fail(error(errc::invalid_config));
    return std::unique_ptr<stationary>(new stationary(home));
  }
  bool at_home() const { return shard::current() == home_; }

 private:
  explicit stationary(shard& home) : home_(&home), tasks_(home) {}
  shard* home_;
  scope tasks_;
};

// A destructor has nobody to throw to.
TEST_F(sharded_pool, what_a_close_throws_is_dropped_and_the_others_are_closed) {
  struct fails_to_close {
    explicit fails_to_close(shard&, std::atomic<int>& closed) : closed_(&closed) {}
    task<void> close() {
      ++*closed_;
      throw std::runtime_error("not today");
      co_return;
    }
    std::atomic<int>* closed_;
  };
  std::atomic<int> closed = 0;
  {
    auto services = sharded<fails_to_close>::create(*threads_, std::ref(closed)).value();
  }
  EXPECT_EQ(closed, 2);
}

TEST_F(sharded_pool, a_create_may_return_a_pointer) {
  auto refused = sharded<stationary>::create(*threads_, 1U);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), errc::invalid_config);
  auto made = sharded<stationary>::create(*threads_, 9U);
  ASSERT_OK(made);
  threads_->run([&]() -> task<void> {
    auto where = co_await made->gather(&stationary::at_home);
    CO_ASSERT_OK(where);
    EXPECT_EQ(*where, (std::vector<bool>{true, true}));
  });
}

}  // namespace
}  // namespace conpool::test

// A shard on the test's thread with a clock set by hand, a server, and a pool that talks to it.
//
// After each test the pool is closed, the shard stopped, and three things are checked: the counts
// add up, every descriptor is back, and the kernel has nothing in flight.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include <conpool/conpool.h>

#include <tests/support/descriptors.h>
#include <tests/support/echo_server.h>
#include <tests/support/run.h>

// In a coroutine: fails the test and returns if a result is an error.
#define CO_ASSERT_OK(outcome)                                         \
  if (!(outcome)) {                                                   \
    ADD_FAILURE() << #outcome << ": " << (outcome).error().message(); \
    co_return;                                                        \
  }                                                                   \
  static_assert(true)

namespace conpool::test {

// created = connecting + idle + active + closing + closed
inline ::testing::AssertionResult add_up(const pool_stats& sum) {
  const std::uint64_t there = sum.connecting + sum.idle + sum.active + sum.closing + sum.closed();
  if (sum.created == there) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "created " << sum.created << ", but connecting " << sum.connecting << " + idle "
         << sum.idle << " + active " << sum.active << " + closing " << sum.closing << " + closed "
         << sum.closed();
}

class pool_fixture : public ::testing::Test {
 protected:
  void SetUp() override {
    descriptors_before_ = open_descriptors();
    shard_options options;
    options.ring = ring_settings;
    options.clock = &clock_;
    auto made = shard::create(options);
    ASSERT_TRUE(made) << made.error().message();
    home_ = std::move(*made);
    ASSERT_TRUE(home_->attach());
    server_ = std::make_unique<echo_server>(*home_);
    configure({});
  }

  void TearDown() override {
    if (backends_) {
      EXPECT_TRUE(add_up(backends_->totals()));
      ASSERT_TRUE(run([this]() -> task<void> {
        auto closed = co_await backends_->close();
        EXPECT_TRUE(closed);
      }));
      const pool_stats sum = backends_->totals();
      EXPECT_TRUE(add_up(sum));
      EXPECT_EQ(sum.idle + sum.connecting + sum.closing + sum.waiting, 0U);
    }
    backends_.reset();
    if (server_) server_->stop();
    if (home_) {
      home_->stop();
      EXPECT_TRUE(run_until(*home_, [this] { return home_->stopped(); }));
    }
    server_.reset();
    home_.reset();
    EXPECT_EQ(open_descriptors(), descriptors_before_) << "a descriptor was leaked";
  }

  ring_options ring_settings;  // of the shard; to be set in a constructor

  // Replaces the pool by one with this configuration.
  void configure(const pool_config& config) {
    backends_.reset();
    auto made = pool::create(*home_, config);
    ASSERT_TRUE(made) << made.error().message();
    backends_ = std::make_unique<pool>(std::move(*made));
  }

  // The same, with what the connections speak.
  template <protocol P>
  void configure(const pool_config& config, P speaks) {
    backends_.reset();
    auto made = pool::create(*home_, config, std::move(speaks));
    ASSERT_TRUE(made) << made.error().message();
    backends_ = std::make_unique<pool>(std::move(*made));
  }

  shard& home() { return *home_; }
  echo_server& server() { return *server_; }
  pool& backends() { return *backends_; }
  manual_clock& clock() { return clock_; }
  pool_stats totals() { return backends_->totals(); }

  // Runs a coroutine without parameters to its end; the closure lives as long as it runs.
  bool run(std::function<task<void>()> body) {
    bool ended = false;
    home_->spawn([&body, &ended]() -> task<void> {
      auto work = body();
      co_await work;
      ended = true;
    });
    return run_until(*home_, [&] { return ended; });
  }
  // Starts one beside the test; true in `ended` when it is over.
  void start(std::function<task<void>()> body, bool& ended) {
    ended = false;
    home_->spawn(
        [](std::function<task<void>()> kept, bool* done) -> task<void> {
          auto work = kept();
          co_await work;
          *done = true;
        },
        std::move(body), &ended);
  }
  // Turns until done() is true.
  template <typename Done>
  bool until(Done done) {
    return run_until(*home_, std::move(done));
  }
  void settle() { test::settle(*home_); }
  // Lets virtual time pass and everything happen that this makes happen.
  void pass(duration time) {
    clock_.advance(time);
    settle();
  }

 private:
  std::size_t descriptors_before_ = 0;
  manual_clock clock_;
  std::unique_ptr<shard> home_;
  std::unique_ptr<echo_server> server_;
  std::unique_ptr<pool> backends_;
};

}  // namespace conpool::test

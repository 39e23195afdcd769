// A shard on the test's thread with a clock set by hand.
//
// After each test the shard is stopped, and two things are checked: the kernel has nothing in
// flight, and every descriptor is back.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

#include <conpool/runtime/shard.h>
#include <conpool/runtime/socket.h>
#include <conpool/runtime/task.h>

#include <tests/support/descriptors.h>
#include <tests/support/expect.h>
#include <tests/support/raw_sockets.h>
#include <tests/support/run.h>

namespace conpool::test {

class shard_fixture : public ::testing::Test {
 protected:
  void SetUp() override {
    descriptors_before_ = open_descriptors();
    shard_options options;
    options.ring = ring_settings;
    create(options);
  }

  void TearDown() override {
    end();
    EXPECT_EQ(open_descriptors(), descriptors_before_) << "a descriptor was leaked";
  }

  ring_options ring_settings;  // of the first shard; to be set in a constructor

  // Replaces the shard by one with these options and the test's clock.
  void create(shard_options options) {
    end();
    options.clock = &clock_;
    auto made = shard::create(options);
    ASSERT_OK(made);
    home_ = std::move(*made);
    ASSERT_TRUE(home_->attach());
  }

  // Stops the shard: everything on it ends, and may then be destroyed.
  void stop() {
    if (!home_) return;
    home_->stop();
    EXPECT_TRUE(run_until(*home_, [this] { return home_->stopped(); }));
    EXPECT_EQ(home_->ring().in_flight(), 0U);
  }
  // Stops the shard and frees it.
  void end() {
    stop();
    home_.reset();
  }

  shard& home() { return *home_; }
  std::unique_ptr<shard>& owned_home() { return home_; }
  manual_clock& clock() { return clock_; }

  // Takes over one end of a pair.
  socket adopt(unique_fd& fd, const io_timeouts& timeouts = {}) {
    return socket(*home_, fd.release(), "peer", timeouts);
  }

  // Runs a coroutine without parameters to its end; the closure lives as long as it runs.
  bool run(std::function<task<void>()> body) {
    bool ended = false;
    start(std::move(body), ended);
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
};

}  // namespace conpool::test

// What the tests of the adapters share: a shard with the machine's time, a pool and an echo server
// on it, and poll(2) beside the loop under test.
//
// The loop itself brings `run_until(done)`, which runs it until `done()` says so.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <memory>
#include <span>
#include <string>
#include <utility>

#include <conpool/conpool.h>

#include <tests/support/descriptors.h>
#include <tests/support/echo_server.h>
#include <tests/support/expect.h>

namespace conpool::test {

class foreign_loop : public ::testing::Test {
 protected:
  void SetUp() override {
    descriptors_before_ = open_descriptors();
    home_ = shard::create().value();
    ASSERT_TRUE(home_->attach());
    server_ = std::make_unique<echo_server>(*home_);
    backends_ = std::make_unique<pool>(pool::create(*home_).value());
  }
  // After the loop is gone.
  void TearDown() override {
    backends_.reset();
    server_->stop();
    home_->stop();
    home_->run();
    server_.reset();
    home_.reset();
    EXPECT_EQ(open_descriptors(), descriptors_before_) << "a descriptor was leaked";
  }

  shard& home() { return *home_; }
  echo_server& server() { return *server_; }
  pool& backends() { return *backends_; }

  // Whether the shard's descriptor is readable, as poll(2) sees it.
  bool readable() {
    pollfd watched{.fd = home_->fd(), .events = POLLIN, .revents = 0};
    return ::poll(&watched, 1, 0) == 1;
  }

  // A timer of the shard's that is no task.
  struct noted_timer : timer_node {
    noted_timer() noexcept : timer_node(&noted_timer::fire) {}
    static void fire(timer_node& node) noexcept { static_cast<noted_timer&>(node).fired = true; }
    bool fired = false;
  };

  static task<result<std::string>> hello(connection& peer) {
    auto sent = co_await peer.write("hello");
    if (!sent) co_return fail(std::move(sent.error()));
    std::string got(5, '\0');
    auto read = co_await peer.read_exactly(std::span<char>(got));
    if (!read) co_return fail(std::move(read.error()));
    co_return got;
  }
  // A lease that was used: giving it back posts a receive.
  static task<result<lease>> take(pool& from, endpoint to) {
    auto taken = co_await from.acquire(to);
    if (!taken) co_return taken;
    auto talk = hello(**taken);
    auto answer = co_await talk;
    if (!answer) co_return fail(std::move(answer.error()));
    co_return taken;
  }

 private:
  std::size_t descriptors_before_ = 0;
  std::unique_ptr<shard> home_;
  std::unique_ptr<echo_server> server_;
  std::unique_ptr<pool> backends_;
};

}  // namespace conpool::test

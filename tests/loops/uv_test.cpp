// conpool in a loop of libuv.
#include <conpool/loops/uv.h>

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <conpool/conpool.h>

#include <tests/loops/foreign_loop.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class uv_loops : public foreign_loop {
 protected:
  // libuv has descriptors of its own, which are there before a test and after it.
  uv_loops() { EXPECT_EQ(uv_loop_init(&uv_), 0); }
  ~uv_loops() override { EXPECT_EQ(uv_loop_close(&uv_), 0) << "a handle is open"; }

  void SetUp() override {
    foreign_loop::SetUp();
    ASSERT_EQ(uv_timer_init(&uv_, &callback_), 0);
    callback_.data = this;
    auto started = loops::uv_loop::start(uv_, home());
    ASSERT_OK(started);
    loop_ = std::make_unique<loops::uv_loop>(std::move(*started));
  }
  void TearDown() override {
    loop_.reset();
    close_callback();
    uv_run(&uv_, UV_RUN_DEFAULT);
    foreign_loop::TearDown();
  }

  uv_loop_t& uv() { return uv_; }
  loops::uv_loop& loop() { return *loop_; }
  void drop_loop() { loop_.reset(); }
  void close_callback() {
    auto* handle = reinterpret_cast<uv_handle_t*>(&callback_);
    if (uv_is_closing(handle) == 0) uv_close(handle, nullptr);
  }

  // A timer of the test's ends each uv_run() soon. It turns no shard, so a wake-up that is lost
  // fails.
  template <typename Done>
  bool run_until(Done done) {
    unsigned rounds = 0;
    calls_ = [&] {
      ++rounds;
    };
    uv_timer_start(&callback_, &uv_loops::call, 1, 1);
    while (rounds < 10'000 && !done()) uv_run(&uv_, UV_RUN_ONCE);
    uv_timer_stop(&callback_);
    return done();
  }
  void rest() {
    EXPECT_TRUE(run_until([this] { return !readable(); }));
  }
  // Runs `function` in a callback of libuv, while the shard rests.
  void in_a_callback(std::function<void()> function) {
    rest();
    bool called = false;
    calls_ = [&] {
      function();
      called = true;
    };
    uv_timer_start(&callback_, &uv_loops::call, 0, 0);
    while (!called) uv_run(&uv_, UV_RUN_ONCE);
  }

 private:
  static void call(uv_timer_t* timer) { static_cast<uv_loops*>(timer->data)->calls_(); }

  uv_loop_t uv_{};
  uv_timer_t callback_{};
  std::function<void()> calls_;
  std::unique_ptr<loops::uv_loop> loop_;
};

TEST_F(uv_loops, a_task_spawned_in_a_callback_makes_the_descriptor_readable_and_runs) {
  bool ran = false;
  in_a_callback([&] {
    home().spawn([&ran]() -> task<void> {
      ran = true;
      co_return;
    });
    EXPECT_TRUE(readable());
    EXPECT_FALSE(ran);
  });
  EXPECT_TRUE(run_until([&] { return ran; }));
}

TEST_F(uv_loops, a_timer_armed_in_a_callback_makes_the_descriptor_readable_and_fires) {
  noted_timer timer;
  in_a_callback([&] {
    home().timers().arm(timer, home().now() + 5ms);
    EXPECT_TRUE(readable());
  });
  EXPECT_TRUE(run_until([&] { return timer.fired; }));
}

TEST_F(uv_loops, a_lease_given_back_in_a_callback_makes_the_descriptor_readable) {
  lease held;
  home().spawn([&]() -> task<void> {
    auto taking = take(backends(), server().at());
    auto got = co_await taking;
    CO_ASSERT_OK(got);
    held = std::move(*got);
  });
  EXPECT_TRUE(run_until([&] { return static_cast<bool>(held); }));
  in_a_callback([&] {
    held.release();
    EXPECT_TRUE(readable());
  });
  rest();
  EXPECT_EQ(backends().totals().idle, 1U);
  // Its receive is in the kernel now, without any other turn: the end of the peer is seen.
  server().stop();
  EXPECT_TRUE(run_until([&] { return backends().totals().idle == 0; }));
}

TEST_F(uv_loops, requests_are_answered) {
  std::string answer;
  home().spawn([&]() -> task<void> {
    for (int round = 0; round < 3; ++round) {
      auto got = co_await backends().with_connection(server().at(), &uv_loops::hello);
      CO_ASSERT_OK(got);
      answer += *got;
    }
  });
  EXPECT_TRUE(run_until([&] { return answer == "hellohellohello"; }));
}

TEST_F(uv_loops, a_deadline_passes_without_any_other_event) {
  bool ended = false;
  home().spawn([&]() -> task<void> {
    auto slept = co_await home().sleep_for(3ms);
    EXPECT_TRUE(slept);
    ended = true;
  });
  EXPECT_TRUE(run_until([&] { return ended; }));
}

TEST_F(uv_loops, a_shard_that_is_always_busy_leaves_the_loop_to_others) {
  bool enough = false;
  bool ended = false;
  home().spawn([&]() -> task<void> {
    while (!enough) co_await home().yield();
    ended = true;
  });
  for (int rounds = 0; rounds < 10; ++rounds) uv_run(&uv(), UV_RUN_NOWAIT);
  EXPECT_FALSE(ended);
  enough = true;
  EXPECT_TRUE(run_until([&] { return ended; }));
}

TEST_F(uv_loops, run_returns_when_the_shard_was_stopped_and_has_ended) {
  close_callback();
  server().stop();
  home().stop();
  EXPECT_EQ(uv_run(&uv(), UV_RUN_DEFAULT), 0);
  EXPECT_TRUE(home().stopped());
  EXPECT_EQ(loop().home(), nullptr);
}

TEST_F(uv_loops, run_returns_when_the_adapter_is_gone_and_a_task_may_destroy_it) {
  close_callback();
  home().spawn([this]() -> task<void> {
    drop_loop();
    co_return;
  });
  EXPECT_EQ(uv_run(&uv(), UV_RUN_DEFAULT), 0);
  EXPECT_FALSE(home().stopped());
}

}  // namespace
}  // namespace conpool::test

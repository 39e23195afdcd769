// conpool in an io_context of Boost.Asio.
#include <conpool/loops/asio.h>

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <conpool/conpool.h>

#include <tests/loops/foreign_loop.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;
namespace asio = boost::asio;

class asio_loops : public foreign_loop {
 protected:
  void SetUp() override {
    foreign_loop::SetUp();
    auto started = loops::asio_loop::start(io_, home());
    ASSERT_OK(started);
    loop_ = std::make_unique<loops::asio_loop>(std::move(*started));
  }
  void TearDown() override {
    loop_.reset();
    foreign_loop::TearDown();
  }

  asio::io_context& io() { return io_; }
  loops::asio_loop& loop() { return *loop_; }
  void drop_loop() { loop_.reset(); }

  // Bounded only so that a wake-up that is lost fails instead of hanging.
  template <typename Done>
  bool run_until(Done done) {
    for (unsigned handlers = 0; handlers < 100'000 && !done(); ++handlers) {
      if (io_.run_one_for(10s) == 0) return done();
    }
    return done();
  }
  // Until the descriptor says that no turn has anything to do.
  void rest() {
    for (unsigned rounds = 0; rounds < 100'000; ++rounds) {
      if (io_.poll() == 0 && !readable()) return;
    }
    ADD_FAILURE() << "the shard does not rest";
  }
  // Runs `function` as a handler of the io_context, while the shard rests.
  void in_a_callback(std::function<void()> function) {
    rest();
    bool called = false;
    asio::post(io_, [&] {
      function();
      called = true;
    });
    EXPECT_TRUE(run_until([&] { return called; }));
  }
  // Runs a coroutine of Asio's to its end.
  void run(std::function<asio::awaitable<void>()> body) {
    bool ended = false;
    std::exception_ptr thrown;
    asio::co_spawn(io_, body(), [&](std::exception_ptr what) {
      thrown = what;
      ended = true;
    });
    EXPECT_TRUE(run_until([&] { return ended; }));
    if (thrown) std::rethrow_exception(thrown);
  }

 private:
  asio::io_context io_{1};
  asio::steady_timer reactor_{
      io_};  // so that the descriptors of Asio's own are there before a test
  std::unique_ptr<loops::asio_loop> loop_;
};

TEST_F(asio_loops, a_task_spawned_in_a_callback_makes_the_descriptor_readable_and_runs) {
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

TEST_F(asio_loops, a_timer_armed_in_a_callback_makes_the_descriptor_readable_and_fires) {
  noted_timer timer;
  in_a_callback([&] {
    home().timers().arm(timer, home().now() + 5ms);
    EXPECT_TRUE(readable());
  });
  EXPECT_TRUE(run_until([&] { return timer.fired; }));
}

TEST_F(asio_loops, a_lease_given_back_in_a_callback_makes_the_descriptor_readable) {
  lease held;
  run([&]() -> asio::awaitable<void> {
    auto got = co_await loops::as_asio(loop(), take(backends(), server().at()));
    held = std::move(got).value();
  });
  EXPECT_EQ(backends().totals().active, 1U);
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

TEST_F(asio_loops, an_asio_coroutine_awaits_a_request) {
  std::string answer;
  run([&]() -> asio::awaitable<void> {
    for (int round = 0; round < 3; ++round) {
      auto got = co_await loops::as_asio(loop(), backends().with_connection(server().at(), &hello));
      answer += got.value();
    }
  });
  EXPECT_EQ(answer, "hellohellohello");
  EXPECT_EQ(backends().totals().created, 1U);
}

TEST_F(asio_loops, tasks_of_nothing_and_exceptions_come_through) {
  int reached = 0;
  const auto nothing = [&]() -> task<void> {
    ++reached;
    co_return;
  };
  const auto throws = []() -> task<int> {
    throw std::runtime_error("from there");
    co_return 1;
  };
  run([&]() -> asio::awaitable<void> {
    co_await loops::as_asio(loop(), nothing());
    bool thrown = false;
    try {
      auto never = co_await loops::as_asio(loop(), throws());
      reached += never;
    } catch (const std::runtime_error& why) {
      thrown = std::string(why.what()) == "from there";
    }
    EXPECT_TRUE(thrown);
  });
  EXPECT_EQ(reached, 1);
}

TEST_F(asio_loops, a_deadline_ends_a_task_without_any_other_event) {
  const auto sleeps = [](shard& on) -> task<result<void>> {
    co_return co_await on.sleep_for(1h);
  };
  const auto briefly = [&](shard& on) -> task<result<void>> {
    auto work = sleeps(on);
    co_return co_await with_timeout(on, 3ms, std::move(work));
  };
  run([&]() -> asio::awaitable<void> {
    auto slept = co_await loops::as_asio(loop(), briefly(home()));
    EXPECT_FALSE(slept);
  });
}

TEST_F(asio_loops, a_shard_that_is_always_busy_leaves_the_loop_to_others) {
  bool enough = false;
  bool ended = false;
  home().spawn([&]() -> task<void> {
    while (!enough) co_await home().yield();
    ended = true;
  });
  asio::steady_timer timer(io(), 1ms);
  timer.async_wait([&](const boost::system::error_code&) { enough = true; });
  EXPECT_TRUE(run_until([&] { return ended; }));
}

TEST_F(asio_loops, run_returns_when_the_shard_was_stopped_and_has_ended) {
  bool cancelled = false;
  asio::co_spawn(
      io(),
      [&]() -> asio::awaitable<void> {
        const auto sleeps = [](shard& on) -> task<result<void>> {
          co_return co_await on.sleep_for(1h);
        };
        auto slept = co_await loops::as_asio(loop(), sleeps(home()));
        cancelled = !slept && slept.error() == errc::shard_stopped;
      },
      asio::detached);
  asio::post(io(), [&] {
    server().stop();
    home().stop();
  });
  io().run();
  EXPECT_TRUE(cancelled);
  EXPECT_TRUE(home().stopped());
  EXPECT_EQ(loop().home(), nullptr);
  // And nothing is awaited any more.
  io().restart();
  EXPECT_THROW(run([&]() -> asio::awaitable<void> {
                 auto got = co_await loops::as_asio(loop(), take(backends(), server().at()));
                 EXPECT_FALSE(got);
               }),
               std::system_error);
}

TEST_F(asio_loops, run_returns_when_the_adapter_is_gone_and_a_task_may_destroy_it) {
  home().spawn([this]() -> task<void> {
    drop_loop();
    co_return;
  });
  io().run();
  EXPECT_FALSE(home().stopped());
}

// The program ends with everything under way: the io_context outlives the shard.
TEST_F(asio_loops, what_was_under_way_at_the_end_is_cancelled_and_freed) {
  asio::co_spawn(
      io(),
      [&]() -> asio::awaitable<void> {
        const auto sleeps = [](shard& on) -> task<result<void>> {
          co_return co_await on.sleep_for(1h);
        };
        auto slept = co_await loops::as_asio(loop(), sleeps(home()));
        ADD_FAILURE() << "nobody runs the io_context any more: " << slept.has_value();
      },
      asio::detached);
  EXPECT_TRUE(run_until([&] { return home().next_deadline().has_value(); }));
}

}  // namespace
}  // namespace conpool::test

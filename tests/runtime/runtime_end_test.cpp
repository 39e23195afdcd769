// How a runtime ends, and what a shard does that has stopped before the others.
#include <gtest/gtest.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <system_error>
#include <thread>

#include <conpool/runtime/runtime.h>
#include <conpool/runtime/submit.h>

#include <tests/support/expect.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

task<void> stop_here() {
  shard::current()->stop();
  co_return;
}

task<int> answer() {
  co_return 42;
}

TEST(runtime_end, a_shard_that_has_stopped_sleeps_until_all_have) {
  auto rt = runtime::create({.shards = 2}).value();
  rt->run_on(1, stop_here);
  // Shard 0 goes on for a while. Who spins meanwhile takes as much of a processor's time.
  timespec before{};
  timespec after{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  rt->run([]() -> task<void> {
    auto slept = co_await shard::current()->sleep_for(200ms);
    EXPECT_TRUE(slept);
  });
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  rt->stop();
  const auto used = std::chrono::seconds(after.tv_sec - before.tv_sec) +
                    std::chrono::nanoseconds(after.tv_nsec - before.tv_nsec);
  EXPECT_LT(used, 60ms);
  EXPECT_LE(rt->at(1).statistics().enters, 50U);
}

TEST(runtime_end, a_shard_that_has_stopped_goes_on_answering_that_it_has) {
  auto rt = runtime::create({.shards = 2}).value();
  rt->run_on(1, stop_here);
  runtime& all = *rt;
  for (int round = 0; round < 20; ++round) {
    rt->run([&all]() -> task<void> {
      auto got = co_await submit_to(all.at(1), answer);
      EXPECT_FALSE(got);
      if (!got) {
        EXPECT_EQ(got.error(), errc::shard_stopped);
      }
    });
    EXPECT_THROW(rt->run_on(1, answer), std::system_error);
  }
}

TEST(runtime_end, run_on_all_reaches_all_shards_or_none) {
  for (int round = 0; round < 200; ++round) {
    auto rt = runtime::create({.shards = 2}).value();
    std::atomic<int> started = 0;
    std::atomic<int> ended = 0;
    std::thread stopper([&] { rt->stop(); });
    bool refused = false;
    try {
      rt->run_on_all([&](shard& home) -> task<void> {
        ++started;
        co_await home.yield();
        ++ended;
      });
    } catch (const std::system_error&) {
      refused = true;
    }
    EXPECT_EQ(started, ended);
    if (!refused) {
      EXPECT_EQ(ended, 2);
    }
    stopper.join();
  }
}

// Says on which shard it is destroyed, unless it has been moved from.
class witness {
 public:
  explicit witness(unsigned& died_on) : died_on_(&died_on) {}
  witness(witness&& other) noexcept : died_on_(std::exchange(other.died_on_, nullptr)) {}
  witness& operator=(witness&&) = delete;
  ~witness() {
    if (died_on_ != nullptr) *died_on_ = shard::current()->id();
  }

 private:
  unsigned* died_on_;
};

TEST(runtime_end, submit_to_destroys_the_function_and_its_arguments_where_it_runs) {
  auto rt = runtime::create({.shards = 2}).value();
  runtime& all = *rt;
  unsigned function_died_on = 99;
  unsigned argument_died_on = 99;
  rt->run([&]() -> task<void> {
    // A lambda itself could not be moved from here: g++ 12 has detail/compiler_bugs.h.
    std::move_only_function<task<unsigned>(const witness&)> work(
        [own = witness(function_died_on)](const witness&) -> task<unsigned> {
          co_return shard::current()->id();
        });
    witness passed(argument_died_on);
    auto ran_on = co_await submit_to(all.at(1), std::move(work), std::move(passed));
    CO_ASSERT_OK(ran_on);
    EXPECT_EQ(*ran_on, 1U);
    // Both are gone before the result is here.
    EXPECT_EQ(function_died_on, 1U);
    EXPECT_EQ(argument_died_on, 1U);
  });
}

TEST(runtime_end, submit_to_a_stopped_shard_destroys_them_there_too) {
  auto rt = runtime::create({.shards = 2}).value();
  runtime& all = *rt;
  rt->run_on(1, stop_here);
  unsigned died_on = 99;
  rt->run([&]() -> task<void> {
    std::move_only_function<task<void>()> work(
        [own = witness(died_on)]() -> task<void> { co_return; });
    auto ran = co_await submit_to(all.at(1), std::move(work));
    EXPECT_FALSE(ran);
    EXPECT_NE(died_on, 0U);
  });
}

}  // namespace
}  // namespace conpool::test

// The runtime: shards with threads of their own, calls from outside and between them, the end.
#include <gtest/gtest.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <semaphore>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <conpool/runtime/event.h>
#include <conpool/runtime/runtime.h>
#include <conpool/runtime/scope.h>
#include <conpool/runtime/socket.h>
#include <conpool/runtime/submit.h>

#include <tests/support/descriptors.h>
#include <tests/support/expect.h>
#include <tests/support/raw_sockets.h>
#include <tests/support/run.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class runtimes : public ::testing::Test {
 protected:
  void SetUp() override {
    descriptors_before_ = open_descriptors();
    create({.shards = 2});
  }
  void TearDown() override {
    rt_.reset();
    EXPECT_EQ(open_descriptors(), descriptors_before_) << "a descriptor was leaked";
  }
  void create(const runtime_options& options) {
    rt_.reset();
    auto made = runtime::create(options);
    ASSERT_OK(made);
    rt_ = std::move(*made);
  }
  runtime& rt() { return *rt_; }
  std::unique_ptr<runtime>& owned() { return rt_; }

 private:
  std::size_t descriptors_before_ = 0;
  std::unique_ptr<runtime> rt_;
};

task<int> add(int left, int right) {
  co_return left + right;
}

task<unsigned> current_id() {
  co_return shard::current()->id();
}

task<void> throw_here(std::string text) {
  co_await shard::current()->yield();
  throw std::runtime_error(text);
}

TEST_F(runtimes, run_returns_the_value_of_the_task) {
  EXPECT_EQ(rt().run(add, 2, 3), 5);
  auto owned = rt().run([]() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); });
  EXPECT_EQ(*owned, 7);
}

TEST_F(runtimes, run_on_runs_on_the_shard_that_was_named) {
  EXPECT_EQ(rt().run(current_id), 0U);
  EXPECT_EQ(rt().run_on(0, current_id), 0U);
  EXPECT_EQ(rt().run_on(1, current_id), 1U);
}

TEST_F(runtimes, run_passes_references_and_moves_values) {
  std::string text = "outside";
  auto number = std::make_unique<int>(4);
  rt().run(
      [](std::string& changed, std::unique_ptr<int> taken) -> task<void> {
        changed = "inside " + std::to_string(*taken);
        co_return;
      },
      std::ref(text), std::move(number));
  EXPECT_EQ(text, "inside 4");
}

TEST_F(runtimes, an_exception_comes_out_of_run_and_the_runtime_goes_on) {
  EXPECT_THROW(rt().run(throw_here, std::string("inside")), std::runtime_error);
  EXPECT_EQ(rt().run(add, 1, 1), 2);
}

TEST_F(runtimes, run_on_all_runs_once_on_each_thread_and_waits_for_all) {
  create({.shards = 4});
  std::mutex lock;
  std::set<std::thread::id> threads;
  std::set<unsigned> ids;
  rt().run_on_all([&](shard& home) -> task<void> {
    co_await home.yield();
    const std::lock_guard guard(lock);
    threads.insert(std::this_thread::get_id());
    ids.insert(home.id());
  });
  EXPECT_EQ(threads.size(), 4U);
  EXPECT_EQ(threads.count(std::this_thread::get_id()), 0U);
  EXPECT_EQ(ids, (std::set<unsigned>{0, 1, 2, 3}));
}

TEST_F(runtimes, run_on_all_throws_what_one_of_them_threw_after_all_have_ended) {
  std::atomic<int> ended = 0;
  EXPECT_THROW(rt().run_on_all([&](shard& home) -> task<void> {
    co_await home.yield();
    ++ended;
    if (home.id() == 1) throw std::logic_error("one of them");
  }),
               std::logic_error);
  EXPECT_EQ(ended, 2);
}

TEST_F(runtimes, zero_shards_means_one_for_each_usable_core) {
  cpu_set_t usable;
  ASSERT_EQ(::sched_getaffinity(0, sizeof usable, &usable), 0);
  create({});
  EXPECT_EQ(rt().size(), static_cast<unsigned>(CPU_COUNT(&usable)));
}

TEST_F(runtimes, pinned_shards_stay_on_one_core) {
  create({.shards = 1, .pin = true});
  const int cores = rt().run([]() -> task<int> {
    cpu_set_t mine;
    CPU_ZERO(&mine);
    EXPECT_EQ(::sched_getaffinity(0, sizeof mine, &mine), 0);
    co_return CPU_COUNT(&mine);
  });
  EXPECT_EQ(cores, 1);
}

TEST_F(runtimes, too_many_shards_are_refused) {
  auto made = runtime::create({.shards = 1025});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error(), errc::invalid_config);
  EXPECT_EQ(made.error().subject(), "runtime_options.shards");
}

TEST_F(runtimes, options_of_the_ring_that_are_refused_start_no_thread) {
  runtime_options options;
  options.shards = 2;
  options.shard.ring.sq_entries = 0;
  auto made = runtime::create(options);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error(), errc::invalid_config);
}

TEST_F(runtimes, submit_to_runs_there_and_comes_back) {
  const bool right = rt().run([this]() -> task<bool> {
    const auto here = std::this_thread::get_id();
    auto id = co_await submit_to(rt().at(1), current_id);
    EXPECT_EQ(id.value(), 1U);
    EXPECT_EQ(shard::current(), &rt().at(0));
    auto sum = co_await submit_to(rt().at(1), add, 20, 22);
    EXPECT_EQ(sum.value(), 42);
    co_return here == std::this_thread::get_id();
  });
  EXPECT_TRUE(right);
}

TEST_F(runtimes, submit_to_its_own_shard_works) {
  const unsigned id = rt().run_on(1, [this]() -> task<unsigned> {
    auto answer = co_await submit_to(rt().at(1), current_id);
    co_return answer.value();
  });
  EXPECT_EQ(id, 1U);
}

TEST_F(runtimes, submit_to_passes_results_and_exceptions_through) {
  rt().run([this]() -> task<void> {
    const auto refuse = []() -> task<result<int>> {
      co_return fail(error(errc::queue_full));
    };
    auto refused = co_await submit_to(rt().at(1), refuse);
    EXPECT_EQ(refused.error(), errc::queue_full);
    bool caught = false;
    try {
      auto thrown = co_await submit_to(rt().at(1), throw_here, std::string("over there"));
      static_cast<void>(thrown);
    } catch (const std::runtime_error&) {
      caught = true;
    }
    EXPECT_TRUE(caught);
    const auto nothing = []() -> task<void> {
      co_return;
    };
    auto done = co_await submit_to(rt().at(1), nothing);
    EXPECT_TRUE(done);
  });
}

TEST_F(runtimes, shards_call_each_other_thousands_of_times_at_once) {
  constexpr int calls = 2000;
  std::atomic<int> answered = 0;
  rt().run_on_all([&](shard& home) -> task<void> {
    scope callers(home);
    shard& other = rt().at(1 - home.id());
    const auto call = [](shard& target, std::atomic<int>& counted) -> task<void> {
      auto sum = co_await submit_to(target, add, 1, 2);
      if (sum && *sum == 3) ++counted;
    };
    for (int i = 0; i < calls; ++i) callers.spawn(call, std::ref(other), std::ref(answered));
    co_await callers.join();
  });
  EXPECT_EQ(answered, 2 * calls);
}

TEST_F(runtimes, submit_to_a_stopping_shard_gives_shard_stopped) {
  rt().run([this]() -> task<void> {
    const auto stop_it = []() -> task<void> {
      shard::current()->stop();
      co_return;
    };
    // The shard goes on answering, until the whole runtime has come to its end.
    auto told = co_await submit_to(rt().at(1), stop_it);
    EXPECT_TRUE(told);
    auto refused = co_await submit_to(rt().at(1), add, 1, 1);
    EXPECT_FALSE(refused);
    if (!refused) {
      EXPECT_EQ(refused.error(), errc::shard_stopped);
    }
  });
}

TEST_F(runtimes, stop_ends_a_call_that_another_thread_waits_for) {
  std::binary_semaphore started{0};
  errc how{};
  std::thread caller([&] {
    how = rt().run([&]() -> task<errc> {
      started.release();
      auto slept = co_await shard::current()->sleep_for(1h);
      co_return slept ? errc{} : slept.error().kind();
    });
  });
  started.acquire();
  rt().stop();
  caller.join();
  EXPECT_EQ(how, errc::shard_stopped);
}

TEST_F(runtimes, stop_with_thousands_of_operations_in_flight_ends_cleanly) {
  constexpr int pairs = 500;
  std::atomic<int> ended = 0;
  std::array<std::vector<unique_fd>, 2> far;
  const auto read_one = [](socket peer, std::atomic<int>& counted) -> task<void> {
    std::array<char, 8> memory;
    auto count = co_await peer->read(std::span<char>(memory));
    if (!count && count.error() == errc::shard_stopped) ++counted;
  };
  const auto sleep_long = [](shard& home, std::atomic<int>& counted) -> task<void> {
    auto slept = co_await home.sleep_for(1h);
    if (!slept && slept.error() == errc::shard_stopped) ++counted;
  };
  rt().run_on_all([&](shard& home) -> task<void> {
    for (int i = 0; i < pairs; ++i) {
      socket_pair pair = unix_pair();
      far[home.id()].push_back(std::move(pair.far));
      home.spawn(read_one, socket(home, pair.near.release(), "peer"), std::ref(ended));
    }
    for (int i = 0; i < 2000; ++i) home.spawn(sleep_long, std::ref(home), std::ref(ended));
    co_await home.yield();
  });
  rt().stop();
  EXPECT_EQ(ended, 2 * (pairs + 2000));
  EXPECT_EQ(rt().at(0).ring().in_flight(), 0U);
  EXPECT_EQ(rt().at(1).ring().in_flight(), 0U);
}

TEST_F(runtimes, stop_is_idempotent_and_its_flag_outlives_the_runtime) {
  const auto flag = rt().stopped_flag();
  EXPECT_FALSE(*flag);
  EXPECT_FALSE(rt().stopped());
  rt().stop();
  rt().stop();
  EXPECT_TRUE(rt().stopped());
  owned().reset();
  EXPECT_TRUE(*flag);
}

TEST_F(runtimes, run_after_stop_throws_shard_stopped) {
  rt().stop();
  try {
    rt().run(add, 1, 2);
    ADD_FAILURE() << "it ran";
  } catch (const std::system_error& thrown) {
    EXPECT_EQ(thrown.code(), errc::shard_stopped);
  }
  EXPECT_THROW(rt().run_on_all([](shard&) -> task<void> { co_return; }), std::system_error);
}

TEST_F(runtimes, stop_throws_once_what_left_a_task_that_nobody_awaited) {
  rt().run([]() -> task<void> {
    shard::current()->spawn(throw_here, std::string("alone"));
    co_return;
  });
  EXPECT_THROW(rt().stop(), std::runtime_error);
  EXPECT_NO_THROW(rt().stop());
}

TEST_F(runtimes, a_task_that_waits_for_another_shard_while_all_stop_gets_an_answer) {
  std::binary_semaphore started{0};
  std::atomic<bool> ended = false;
  rt().run([&]() -> task<void> {
    const auto wait_there = [](std::binary_semaphore& signal) -> task<bool> {
      signal.release();
      auto slept = co_await shard::current()->sleep_for(1h);
      co_return slept.has_value();
    };
    const auto ask = [](shard& other, auto body, std::binary_semaphore& signal,
                        std::atomic<bool>& done) -> task<void> {
      auto answer = co_await submit_to(other, body, std::ref(signal));
      EXPECT_TRUE(answer);
      EXPECT_FALSE(answer && *answer);
      done = true;
    };
    shard::current()->spawn(ask, std::ref(rt().at(1)), wait_there, std::ref(started),
                            std::ref(ended));
    co_return;
  });
  started.acquire();
  rt().stop();
  EXPECT_TRUE(ended);
}

TEST_F(runtimes, twenty_runtimes_one_after_the_other_leave_nothing) {
  for (int i = 0; i < 20; ++i) {
    create({.shards = 2});
    if (i % 2 == 0) {
      EXPECT_EQ(rt().run(add, i, 1), i + 1);
    }
  }
}

}  // namespace
}  // namespace conpool::test

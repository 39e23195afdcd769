// The runtime without memory: each allocation in turn fails, and nothing is lost or used too late.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <conpool/runtime/listener.h>
#include <conpool/runtime/runtime.h>
#include <conpool/runtime/socket.h>
#include <conpool/runtime/when.h>

#include <tests/support/descriptors.h>
#include <tests/support/expect.h>
#include <tests/support/failing_new.h>
#include <tests/support/raw_sockets.h>
#include <tests/support/run.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t allocations_max = 200;

// Runs `step` with its first, second ... allocation failing, until none of them does.
template <typename Step>
void fail_each_allocation(Step step) {
  for (std::size_t number = 1; number < allocations_max; ++number) {
    const std::size_t before = open_descriptors();
    failing_allocation = number;
    try {
      step();
    } catch (const std::bad_alloc&) {
    }
    const bool failed = failing_allocation == 0;
    failing_allocation = 0;
    EXPECT_EQ(open_descriptors(), before) << "allocation " << number;
    if (!failed) return;
  }
  FAIL() << "it never went through";
}

TEST(runtime_memory, a_ring_and_a_shard_that_cannot_be_made_leave_no_descriptor) {
  fail_each_allocation([] { auto made = shard::create({}); });
}

TEST(runtime_memory, a_socket_that_cannot_be_made_closes_its_descriptor) {
  auto home = shard::create({}).value();
  ASSERT_TRUE(home->attach());
  fail_each_allocation([&] {
    socket_pair pair = unix_pair();
    socket made(*home, pair.near.release(), "a name that is too long to be kept in the string");
  });
}

// Counts the tasks that have begun and not ended.
task<int> counted_task(shard& home, int& running) {
  ++running;
  for (int rounds = 0; rounds < 3; ++rounds) co_await home.yield();
  --running;
  co_return 1;
}

// Each of their allocations in turn fails; that of a task's own frame is among them.
template <typename Together>
void fail_each_allocation_of(Together together) {
  auto home = shard::create({}).value();
  ASSERT_TRUE(home->attach());
  for (std::size_t number = 1; number < allocations_max; ++number) {
    int running = 0;
    bool failed = false;
    bool ended = false;
    home->spawn([&]() -> task<void> {
      release_cached_frames();
      failing_allocation = number;
      try {
        auto work = together(*home, running);
        auto done = co_await work;
        static_cast<void>(done);
      } catch (const std::bad_alloc&) {
        failed = true;
      }
      EXPECT_EQ(running, 0) << "allocation " << number;
      ended = true;
    });
    ASSERT_TRUE(run_until(*home, [&] { return ended; }));
    failing_allocation = 0;
    if (!failed) return;
  }
  FAIL() << "it never went through";
}

TEST(runtime_memory, what_when_all_could_not_spawn_ends_with_what_had_begun) {
  fail_each_allocation_of([](shard& home, int& running) {
    return when_all(counted_task(home, running), counted_task(home, running));
  });
}

TEST(runtime_memory, what_when_any_could_not_spawn_ends_with_what_had_begun) {
  fail_each_allocation_of([](shard& home, int& running) {
    std::vector<task<int>> work;
    for (int each = 0; each < 3; ++each) work.push_back(counted_task(home, running));
    return when_any(std::move(work));
  });
}

TEST(runtime_memory, a_runtime_that_cannot_be_made_leaves_no_descriptor) {
  fail_each_allocation([] { auto made = runtime::create({.shards = 2}); });
}

TEST(runtime_memory, a_listener_that_cannot_accept_leaves_no_descriptor) {
  auto home = shard::create({}).value();
  ASSERT_TRUE(home->attach());
  const socket_address at = socket_address::ip("::1", 0).value();
  auto door = listener::open(*home, at);
  if (!door) GTEST_SKIP() << door.error().message();
  for (std::size_t number = 1; number < allocations_max; ++number) {
    const std::size_t before = open_descriptors();
    bool threw = false;
    bool failed = false;
    bool ended = false;
    home->spawn([&]() -> task<void> {
      auto asking = door->accept();
      // Only what comes after the kernel's answer is of interest.
      try {
        auto peer = co_await asking;
        EXPECT_OK(peer);
      } catch (const std::bad_alloc&) {
        threw = true;
      }
      failed = failing_allocation == 0;
      failing_allocation = 0;
      ended = true;
    });
    settle(*home);
    unique_fd client(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(client.get(), door->address().data(), door->address().size()), 0);
    failing_allocation = number;
    ASSERT_TRUE(run_until(*home, [&] { return ended; }));
    client.reset();
    settle(*home);
    EXPECT_EQ(open_descriptors(), before) << "allocation " << number;
    EXPECT_EQ(threw, failed);
    if (!failed) return;
  }
  FAIL() << "it never went through";
}

TEST(runtime_memory, a_connect_that_fails_for_want_of_memory_leaves_no_descriptor) {
  auto home = shard::create({}).value();
  ASSERT_TRUE(home->attach());
  const raw_listener door = listen_on_loopback(64);
  const auto to = socket_address::ip("127.0.0.1", ntohs(door.address.sin_port)).value();
  for (std::size_t number = 1; number < allocations_max; ++number) {
    const std::size_t before = open_descriptors();
    bool failed = false;
    bool ended = false;
    home->spawn([&]() -> task<void> {
      auto connecting = connect_socket(*home, to, {}, 3s);
      failing_allocation = number;
      try {
        auto peer = co_await connecting;
        EXPECT_OK(peer);
      } catch (const std::bad_alloc&) {
      }
      failed = failing_allocation == 0;
      failing_allocation = 0;
      ended = true;
    });
    ASSERT_TRUE(run_until(*home, [&] { return ended; }));
    settle(*home);
    EXPECT_EQ(open_descriptors(), before) << "allocation " << number;
    if (!failed) return;
  }
  FAIL() << "it never went through";
}

// A caller who unwinds while a task of its call still runs would pull the memory away from it.
TEST(runtime_memory, run_on_all_without_memory_starts_nothing_or_waits_for_all) {
  auto rt = runtime::create({.shards = 2}).value();
  for (std::size_t number = 1; number < allocations_max; ++number) {
    std::atomic<int> started = 0;
    std::atomic<int> ended = 0;
    bool threw = false;
    failing_allocation = number;
    try {
      rt->run_on_all([&](shard& home) -> task<void> {
        failing_allocation = 0;
        ++started;
        auto slept = co_await home.sleep_for(2ms);
        EXPECT_TRUE(slept);
        ++ended;
      });
    } catch (const std::bad_alloc&) {
      threw = true;
    }
    const int ended_then = ended;
    failing_allocation = 0;
    EXPECT_EQ(started, ended_then) << "allocation " << number;
    if (!threw) return;
  }
  FAIL() << "it never went through";
}

}  // namespace
}  // namespace conpool::test

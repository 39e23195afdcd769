// What must crash in debug builds: a shard, or something of it, used on another thread.
#include <gtest/gtest.h>

#include <chrono>
#ifndef NDEBUG

#include <array>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <conpool/conpool.h>
#include <conpool/runtime/socket.h>

#include <tests/support/echo_server.h>
#include <tests/support/raw_sockets.h>
#include <tests/support/run.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

constexpr const char* wrong_thread = "was used on another thread";

// Runs on another thread and waits for it.
template <typename F>
void elsewhere(F function) {
  std::thread other(std::move(function));
  other.join();
}

std::unique_ptr<shard> attached_shard() {
  auto made = shard::create({});
  EXPECT_TRUE((*made)->attach());
  return std::move(*made);
}

class wrong_threads : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(wrong_threads, turning_a_shard_is_asserted) {
  EXPECT_DEATH(
      {
        auto home = attached_shard();
        elsewhere([&] { home->run_once(0ms); });
      },
      "belongs to the first thread that turned it");
}

TEST_F(wrong_threads, stopping_a_shard_is_asserted) {
  EXPECT_DEATH(
      {
        auto home = attached_shard();
        elsewhere([&] { home->stop(); });
      },
      wrong_thread);
}

TEST_F(wrong_threads, destroying_a_shard_is_asserted) {
  EXPECT_DEATH(
      {
        auto home = attached_shard();
        elsewhere([&] { home.reset(); });
      },
      wrong_thread);
}

TEST_F(wrong_threads, spawning_on_a_shard_is_asserted) {
  EXPECT_DEATH(
      {
        auto home = attached_shard();
        elsewhere([&] { home->spawn([]() -> task<void> { co_return; }); });
      },
      "another thread|first thread that turned it");
}

TEST_F(wrong_threads, opening_a_listener_or_a_socket_is_asserted) {
  const auto listen = [] {
    auto home = attached_shard();
    elsewhere(
        [&] { auto door = listener::open(*home, socket_address::ip("127.0.0.1", 0).value()); });
  };
  EXPECT_DEATH(listen(), wrong_thread);
  const auto open = [] {
    auto home = attached_shard();
    socket_pair pair = tcp_pair();
    elsewhere([&] { socket peer(*home, pair.near.release(), "peer"); });
  };
  EXPECT_DEATH(open(), wrong_thread);
}

TEST_F(wrong_threads, closing_a_socket_is_asserted) {
  const auto close = [] {
    auto home = attached_shard();
    socket_pair pair = tcp_pair();
    socket peer(*home, pair.near.release(), "peer");
    elsewhere([&] { peer.close(); });
  };
  EXPECT_DEATH(close(), wrong_thread);
}

TEST_F(wrong_threads, awaiting_a_socket_of_another_shard_is_asserted) {
  const auto read = [] {
    auto home = attached_shard();
    socket_pair pair = tcp_pair();
    socket peer(*home, pair.near.release(), "peer");
    elsewhere([&] {
      auto other = attached_shard();
      run_on(*other, [](socket& from) -> task<void> {
        std::array<char, 4> memory;
        auto count = co_await from->read(std::span<char>(memory));
        static_cast<void>(count);
      }(peer));
    });
  };
  EXPECT_DEATH(read(), wrong_thread);
}

// A lease of a connection to a server on the same shard.
task<lease> borrow(pool& backends, endpoint to) {
  auto lent = co_await backends.acquire(to);
  co_return std::move(*lent);
}

TEST_F(wrong_threads, acquiring_from_a_pool_is_asserted) {
  const auto acquire = [] {
    auto home = attached_shard();
    echo_server server(*home);
    auto backends = pool::create(*home, {});
    elsewhere([&] { static_cast<void>(backends->acquire(server.at()).await_ready()); });
  };
  EXPECT_DEATH(acquire(), wrong_thread);
}

TEST_F(wrong_threads, releasing_a_lease_is_asserted) {
  const auto release = [] {
    auto home = attached_shard();
    echo_server server(*home);
    auto backends = pool::create(*home, {});
    std::optional<lease> lent = run_on(*home, borrow(*backends, server.at()));
    elsewhere([&] { lent->release(); });
  };
  EXPECT_DEATH(release(), wrong_thread);
}

TEST_F(wrong_threads, blocking_a_shard_in_run_is_asserted) {
  const auto block = [] {
    auto rt = runtime::create({.shards = 1});
    (*rt)->run([&]() -> task<void> {
      (*rt)->run([]() -> task<void> { co_return; });
      co_return;
    });
  };
  EXPECT_DEATH(block(), "run\\(\\) blocks");
}

TEST_F(wrong_threads, destroying_a_scope_with_tasks_in_it_is_asserted) {
  const auto forget = [] {
    auto home = attached_shard();
    scope forgotten(*home);
    forgotten.spawn([]() -> task<void> { co_return; });
  };
  EXPECT_DEATH(forget(), "before its tasks were joined");
}

TEST_F(wrong_threads, destroying_an_operation_in_flight_is_asserted) {
  const auto drop = [] {
    auto home = attached_shard();
    operation op([](operation&) noexcept {});
    home->ring().nop(op);
  };
  EXPECT_DEATH(drop(), "destroyed while in flight");
}

TEST_F(wrong_threads, awaiting_a_task_twice_is_asserted) {
  const auto twice = [] {
    auto home = attached_shard();
    run_on(*home, []() -> task<void> {
      auto once = []() -> task<int> {
        co_return 1;
      }();
      auto first = co_await once;
      auto second = co_await once;
      static_cast<void>(first + second);
    }());
  };
  EXPECT_DEATH(twice(), "a task is awaited once");
}

}  // namespace
}  // namespace conpool::test

#endif

// The end of a shard: stop() and the destructor, with tasks, sockets and operations of all kinds.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <conpool/runtime/event.h>
#include <conpool/runtime/listener.h>
#include <conpool/runtime/scope.h>
#include <conpool/runtime/socket.h>

#include <tests/support/raw_sockets.h>
#include <tests/support/shard_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

using shard_stop = shard_fixture;

TEST_F(shard_stop, cancels_spawned_tasks_and_waits_for_them) {
  errc how{};
  bool cleaned_up = false;
  bool ended = false;
  start(
      [&]() -> task<void> {
        auto slept = co_await home().sleep_for(1h);
        how = slept ? errc{} : slept.error().kind();
        for (int i = 0; i < 100; ++i) co_await home().yield();
        cleaned_up = true;
      },
      ended);
  settle();
  home().stop();
  EXPECT_TRUE(home().stopping());
  EXPECT_FALSE(home().stopped());
  EXPECT_TRUE(until([&] { return home().stopped(); }));
  EXPECT_TRUE(cleaned_up);
  EXPECT_EQ(how, errc::shard_stopped);
}

TEST_F(shard_stop, may_be_called_twice_and_by_a_task) {
  bool ended = false;
  start(
      [&]() -> task<void> {
        home().stop();
        home().stop();
        auto slept = co_await home().sleep_for(1h);
        EXPECT_FALSE(slept);
      },
      ended);
  home().run();
  EXPECT_TRUE(ended);
  EXPECT_TRUE(home().stopped());
}

TEST_F(shard_stop, of_an_idle_shard_leaves_nothing_in_flight) {
  home().stop();
  home().run();
  EXPECT_EQ(home().ring().in_flight(), 0U);
}

TEST_F(shard_stop, a_task_spawned_afterwards_finds_itself_cancelled) {
  errc how{};
  bool ended = false;
  home().stop();
  start(
      [&]() -> task<void> {
        auto slept = co_await home().sleep_for(1h);
        how = slept ? errc{} : slept.error().kind();
      },
      ended);
  EXPECT_TRUE(until([&] { return home().stopped(); }));
  EXPECT_TRUE(ended);
  EXPECT_EQ(how, errc::shard_stopped);
}

TEST_F(shard_stop, before_the_first_turn_cancels_what_is_spawned_later) {
  auto made = shard::create({.clock = &clock()});
  ASSERT_TRUE(made);
  shard& other = **made;
  other.stop();
  ASSERT_TRUE(other.attach());
  errc how{};
  other.spawn([&]() -> task<void> {
    auto slept = co_await other.sleep_for(1h);
    how = slept ? errc{} : slept.error().kind();
  });
  EXPECT_TRUE(run_until(other, [&] { return how != errc{}; }));
  EXPECT_EQ(how, errc::shard_stopped);
  clock().advance(2h);  // lets it end in any case
}

TEST_F(shard_stop, the_destructor_ends_tasks_that_sleep_wait_and_join) {
  std::vector<errc> how;
  event never(home());
  home().spawn([&]() -> task<void> {
    auto slept = co_await home().sleep_for(1h);
    how.push_back(slept ? errc{} : slept.error().kind());
  });
  home().spawn([&]() -> task<void> {
    auto woken = co_await never.wait();
    how.push_back(woken ? errc{} : woken.error().kind());
  });
  home().spawn([&]() -> task<void> {
    scope inner(home());
    inner.spawn([&]() -> task<void> {
      auto slept = co_await home().sleep_for(1h);
      how.push_back(slept ? errc{} : slept.error().kind());
    });
    co_await inner.join();
  });
  settle();
  owned_home().reset();
  EXPECT_EQ(how, std::vector<errc>(3, errc::shard_stopped));
}

TEST_F(shard_stop, the_destructor_of_a_shard_that_never_turned_does_nothing) {
  ASSERT_TRUE(shard::create({}));
}

TEST_F(shard_stop, the_destructor_closes_sockets_that_outlive_it) {
  socket_pair read_from = tcp_pair();
  socket_pair idle = tcp_pair();
  socket reader = adopt(read_from.near);
  socket quiet = adopt(idle.near);
  errc how{};
  home().spawn([&]() -> task<void> {
    std::array<char, 4> memory;
    auto count = co_await reader->read(std::span<char>(memory));
    how = count ? errc{} : count.error().kind();
  });
  settle();
  owned_home().reset();
  EXPECT_EQ(how, errc::shard_stopped);
  EXPECT_TRUE(reader->closed());
  EXPECT_TRUE(quiet->closed());
  char byte;
  EXPECT_EQ(::recv(read_from.far.get(), &byte, 1, MSG_DONTWAIT), 0);  // a FIN, not a reset
  EXPECT_EQ(::recv(idle.far.get(), &byte, 1, MSG_DONTWAIT), 0);
}

TEST_F(shard_stop, the_destructor_ends_an_accept) {
  errc how{};
  home().spawn([&]() -> task<void> {
    auto door = listener::open(home(), socket_address::ip("127.0.0.1", 0).value());
    CO_ASSERT_OK(door);
    auto peer = co_await door->accept();
    how = peer ? errc{} : peer.error().kind();
  });
  settle();
  owned_home().reset();
  EXPECT_EQ(how, errc::shard_stopped);
}

TEST_F(shard_stop, a_connection_accepted_with_the_stop_is_closed_even_if_kept) {
  std::optional<socket> kept;
  unique_fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  std::optional<listener> door;
  auto opened = listener::open(home(), socket_address::ip("127.0.0.1", 0).value());
  ASSERT_TRUE(opened);
  door.emplace(std::move(*opened));
  home().spawn([&]() -> task<void> {
    auto peer = co_await door->accept();
    CO_ASSERT_OK(peer);
    kept = std::move(*peer);
  });
  settle();
  ASSERT_EQ(::connect(client.get(), door->address().data(), door->address().size()), 0);
  home().ring().enter(0ms);  // accepted, and not harvested
  home().stop();
  EXPECT_TRUE(until([&] { return home().stopped(); }));
  ASSERT_TRUE(kept);
  EXPECT_TRUE((*kept)->closed());
  door.reset();
}

TEST_F(shard_stop, a_task_that_opens_a_socket_while_it_stops_keeps_nothing_alive) {
  socket_pair pair = tcp_pair();
  std::optional<socket> kept;
  bool ended = false;
  start(
      [&]() -> task<void> {
        auto slept = co_await home().sleep_for(1h);
        EXPECT_FALSE(slept);
        kept.emplace(adopt(pair.near));
      },
      ended);
  settle();
  home().stop();
  const bool stopped = until([&] { return home().stopped(); });
  EXPECT_TRUE(stopped);
  if (!stopped) kept.reset();
}

TEST_F(shard_stop, thousands_of_operations_in_flight_end_cleanly) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const std::size_t available = static_cast<std::size_t>(limit.rlim_cur) - open_descriptors() - 32;
  const std::size_t count = std::min<std::size_t>(2500, available / 2);
  const raw_listener door = listen_on_loopback(128);
  std::vector<unique_fd> far;
  std::vector<socket> near;
  near.reserve(count);
  std::size_t ended = 0;
  const auto read_one = [](socket& from, std::size_t& counted) -> task<void> {
    std::array<char, 8> memory;
    auto read = co_await from->read(std::span<char>(memory));
    EXPECT_FALSE(read);
    ++counted;
  };
  // One operation for each connection: every other one has a posted receive that a read waits on,
  // the others a receive of the read's own.
  const auto post = [](socket& on) -> task<void> {
    on->post_receive();
    co_return;
  };
  for (std::size_t i = 0; i < count; ++i) {
    socket_pair pair = connect_to(door);
    near.push_back(adopt(pair.near));
    far.push_back(std::move(pair.far));
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (i % 2 == 0) home().spawn(post, std::ref(near[i]));
    home().spawn(read_one, std::ref(near[i]), std::ref(ended));
  }
  EXPECT_TRUE(until([&] { return home().ring().in_flight() == count + 1; }));
  home().stop();
  EXPECT_TRUE(until([&] { return home().stopped(); }));
  EXPECT_EQ(ended, count);
  EXPECT_EQ(home().ring().in_flight(), 0U);
  for (const socket& each : near) ASSERT_TRUE(each->closed());
}

TEST_F(shard_stop, five_thousand_operations_at_once_end_cleanly) {
  // Reads and sleeps cost no descriptor each: many operations on few sockets.
  constexpr std::size_t count = 5000;
  const unique_fd never(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  struct one : operation {
    one() noexcept : operation(&one::done) {}
    static void done(operation& op) noexcept { ++static_cast<one&>(op).calls; }
    unsigned calls = 0;
  };
  std::vector<std::unique_ptr<one>> ops;
  std::array<std::byte, 8> memory{};
  for (std::size_t i = 0; i < count; ++i) {
    ops.push_back(std::make_unique<one>());
    home().ring().receive(*ops.back(), never.get(), memory);
  }
  settle();
  EXPECT_EQ(home().ring().in_flight(), count + 1);
  for (const auto& op : ops) home().ring().cancel(*op);
  home().stop();
  EXPECT_TRUE(until([&] { return home().stopped(); }));
  for (const auto& op : ops) {
    ASSERT_EQ(op->calls, 1U);
    ASSERT_EQ(op->returned(), -ECANCELED);
  }
}

}  // namespace
}  // namespace conpool::test

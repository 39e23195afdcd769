// Shards, sockets and listeners on the simulated network: the library's own code above the ring.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <conpool/runtime/detail/mailbox.h>
#include <conpool/runtime/listener.h>
#include <conpool/runtime/socket.h>

#include <tests/sim/sim_fixture.h>
#include <tests/support/expect.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

class sim_stream : public sim_fixture {
 protected:
  server& add(server_plan plan = {}) { return net().add_server("10.0.0.1", 1000, std::move(plan)); }

  // Connects and keeps the socket; why it failed, if it did.
  std::optional<errc> connect(const server& to, duration timeout = 3s) {
    std::optional<errc> why;
    EXPECT_TRUE(here().run([this, &to, timeout, &why]() -> task<void> {
      const socket_options options;
      auto made = co_await connect_socket(home(), to.address(), options, timeout);
      if (made) {
        peer_.emplace(std::move(*made));
      } else {
        why = made.error().kind();
      }
    }));
    return why;
  }

  std::optional<conpool::socket> peer_;
};

TEST_F(sim_stream, a_request_is_answered_after_the_latency_in_no_real_time) {
  server& peer = add({.latency_least = 1s, .latency_most = 2s, .in_pieces = 0});
  ASSERT_EQ(connect(peer, 10s), std::nullopt);
  const time_point before = here().now();
  ASSERT_TRUE(here().run([this]() -> task<void> {
    auto sent = co_await (*peer_)->write("hello");
    CO_ASSERT_OK(sent);
    std::array<char, 5> got{};
    auto read = co_await (*peer_)->read_exactly(std::span<char>(got));
    CO_ASSERT_OK(read);
    EXPECT_EQ(std::string(got.data(), got.size()), "hello");
  }));
  EXPECT_GE(here().now() - before, 2s);
  EXPECT_LE(here().now() - before, 5s);
  peer_.reset();
}

TEST_F(sim_stream, a_connect_to_a_black_hole_times_out_at_its_deadline) {
  server& peer = add({.black_hole = 1});
  const time_point before = here().now();
  EXPECT_EQ(connect(peer, 3s), errc::connect_timeout);
  EXPECT_GE(here().now() - before, 3s);
  EXPECT_LE(here().now() - before, 3100ms);
}

TEST_F(sim_stream, a_server_that_is_down_refuses_until_it_is_up_again) {
  server& peer = add();
  peer.go_down();
  EXPECT_EQ(connect(peer), errc::connect_failed);
  peer.come_up();
  EXPECT_EQ(connect(peer), std::nullopt);
  peer_.reset();
}

TEST_F(sim_stream, a_read_from_a_server_that_hangs_ends_at_its_deadline) {
  server& peer = add({.swallow = 1});
  ASSERT_EQ(connect(peer), std::nullopt);
  const time_point before = here().now();
  ASSERT_TRUE(here().run([this]() -> task<void> {
    auto sent = co_await (*peer_)->write("hello");
    CO_ASSERT_OK(sent);
    std::array<char, 5> got{};
    auto read = co_await (*peer_)->read(std::span<char>(got));
    EXPECT_FALSE(read);
    if (!read) {
      EXPECT_EQ(read.error(), errc::read_timeout);
    }
  }));
  EXPECT_GE(here().now() - before, 30s);
  EXPECT_LE(here().now() - before, 31s);
  peer_.reset();
}

TEST_F(sim_stream, a_write_to_a_server_that_hangs_ends_at_its_deadline) {
  server& peer = add({.window = 1000, .swallow = 1});
  ASSERT_EQ(connect(peer), std::nullopt);
  ASSERT_TRUE(here().run([this]() -> task<void> {
    auto first = co_await (*peer_)->write("hello");
    CO_ASSERT_OK(first);
    const std::string much(100'000, 'x');
    auto sent = co_await (*peer_)->write(much);
    EXPECT_FALSE(sent);
    if (!sent) {
      EXPECT_EQ(sent.error(), errc::write_timeout);
    }
  }));
  peer_.reset();
}

TEST_F(sim_stream, a_closed_socket_sends_its_fin_although_a_receive_was_posted) {
  server& peer = add();
  ASSERT_EQ(connect(peer), std::nullopt);
  EXPECT_EQ(peer.counts().open, 1U);
  (*peer_)->post_receive();
  peer_.reset();
  here().pass(20ms);
  EXPECT_EQ(peer.counts().open, 0U);
}

TEST_F(sim_stream, a_listener_of_the_same_shard_serves_a_client) {
  auto door = listener::open(home(), socket_address::ip("127.0.0.1", 0).value());
  ASSERT_TRUE(door);
  const std::shared_ptr<bool> served = here().start([&door]() -> task<void> {
    auto peer = co_await door->accept();
    CO_ASSERT_OK(peer);
    std::array<char, 4> got{};
    auto read = co_await (*peer)->read_exactly(std::span<char>(got));
    CO_ASSERT_OK(read);
    auto sent = co_await (*peer)->write(std::string_view(got.data(), got.size()));
    CO_ASSERT_OK(sent);
  });
  ASSERT_TRUE(here().run([&]() -> task<void> {
    const socket_options options;
    auto peer = co_await connect_socket(home(), door->address(), options, 3s);
    CO_ASSERT_OK(peer);
    auto sent = co_await (*peer)->write("ping");
    CO_ASSERT_OK(sent);
    std::array<char, 5> got{};
    auto read = co_await (*peer)->read_some(std::as_writable_bytes(std::span(got)), 4, 3s);
    CO_ASSERT_OK(read);
    EXPECT_EQ(std::string(got.data(), *read), "ping");
    auto end = co_await (*peer)->read(std::span<char>(got));
    CO_ASSERT_OK(end);
    EXPECT_EQ(*end, 0U);
  }));
  EXPECT_TRUE(*served);
  door->close();
}

TEST_F(sim_stream, a_shard_that_sleeps_is_woken_from_outside) {
  struct letter : mail {
    letter() noexcept : mail(&letter::deliver) {}
    static void deliver(mail& item) noexcept { static_cast<letter&>(item).read = true; }
    bool read = false;
  };
  letter item;
  home().run_once(1s);  // asleep afterwards
  home().post(item);
  const time_point before = here().now();
  ASSERT_TRUE(here().until([&] { return item.read; }));
  EXPECT_LT(here().now() - before, 1s);
}

TEST_F(sim_stream, a_shard_wakes_another_one_of_its_network) {
  struct letter : mail {
    letter() noexcept : mail(&letter::deliver) {}
    static void deliver(mail& item) noexcept { static_cast<letter&>(item).read = true; }
    bool read = false;
  };
  shard_options options;
  options.clock = &net().clock();
  options.seed = 2;
  auto other = shard::create(options);
  ASSERT_TRUE(other);
  (*other)->run_once(1ms);
  letter item;
  ASSERT_TRUE(here().run([&]() -> task<void> {
    (*other)->post(item);
    co_await home().yield();
  }));
  home().run_once(0ms);  // hands over the wake
  EXPECT_TRUE((*other)->ring().completions_pending());
  (*other)->run_once(0ms);
  EXPECT_TRUE(item.read);
  (*other).reset();
}

// --- one seed, one run

// A little of everything; what it came to, and the trace.
std::pair<std::string, std::uint64_t> play(std::uint64_t seed) {
  world here(seed);
  fault_plan& faults = here.net().faults();
  faults.call_most = 5us;
  faults.wait_cut_short = 0.1;
  faults.submits_less = 0.1;
  faults.no_buffer = 0.05;
  faults.no_descriptor = 0.05;
  server& peer = here.net().add_server("10.0.0.1", 1000,
                                       {.refuse = 0.1,
                                        .think_most = 3ms,
                                        .in_pieces = 0.5,
                                        .swallow = 0.05,
                                        .close_after_reply = 0.1,
                                        .reset_after_reply = 0.1});
  std::string log;
  const auto talk = [&]() -> task<void> {
    const socket_options options;
    auto made = co_await connect_socket(here.home(), peer.address(), options, 100ms);
    if (!made) {
      log += made.error().message() + "\n";
      co_return;
    }
    for (unsigned i = 0; i < 5; ++i) {
      auto sent = co_await (*made)->write("0123456789");
      std::array<std::byte, 10> got{};
      auto read = co_await (*made)->read_some(got, 10, 50ms);
      log += read ? "read " + std::to_string(*read) + "\n" : read.error().message() + "\n";
    }
  };
  for (unsigned i = 0; i < 20; ++i) here.start(talk);
  here.pass(1min);
  here.end();
  return {log, here.net().trace_hash()};
}

TEST(sim_replay, the_same_seed_gives_the_same_run_and_another_seed_another_one) {
  std::uint64_t previous = 0;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const auto first = play(seed);
    const auto second = play(seed);
    EXPECT_FALSE(first.first.empty());
    EXPECT_EQ(first.first, second.first) << "seed " << seed;
    EXPECT_EQ(first.second, second.second) << "seed " << seed;
    EXPECT_NE(first.second, previous) << "seed " << seed;
    previous = first.second;
  }
}

}  // namespace
}  // namespace conpool::sim

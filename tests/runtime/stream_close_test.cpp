// The close protocol: nothing dies before its last completion, whatever was under way.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <conpool/runtime/detail/open_streams.h>
#include <conpool/runtime/scope.h>
#include <conpool/runtime/socket.h>

#include <tests/support/raw_sockets.h>
#include <tests/support/shard_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class stream_close : public shard_fixture {
 protected:
  // Reads once and says how that ended; errc{} for bytes or the end of the stream.
  static task<errc> read_once(socket& from) {
    std::array<char, 16> memory;
    auto count = co_await from->read(std::span<char>(memory));
    co_return count ? errc{} : count.error().kind();
  }
  static task<errc> write_much(socket& to, std::string text) {
    auto sent = co_await to->write(text);
    co_return sent ? errc{} : sent.error().kind();
  }
  // What the other end sees: 0 an orderly end, else an errno.
  static int end_seen_by(const unique_fd& far) {
    std::array<char, 65536> memory;
    for (;;) {
      const ssize_t count = ::recv(far.get(), memory.data(), memory.size(), MSG_DONTWAIT);
      if (count == 0) return 0;
      if (count < 0) return errno;
    }
  }
};

TEST_F(stream_close, an_idle_socket_is_closed_at_once) {
  socket_pair pair = tcp_pair();
  const std::size_t before = open_descriptors();
  socket peer = adopt(pair.near);
  peer.close();
  EXPECT_FALSE(peer);
  EXPECT_EQ(open_descriptors(), before - 1);
  peer.close();
  EXPECT_EQ(end_seen_by(pair.far), 0);
}

TEST_F(stream_close, while_reading_ends_the_read_with_connection_closed) {
  socket_pair pair = tcp_pair();
  socket peer = adopt(pair.near);
  const auto how = start_on(home(), read_once(peer));
  settle();
  peer->begin_close();
  peer->begin_close();
  ASSERT_TRUE(until([&] { return how->has_value(); }));
  EXPECT_EQ(how->value(), errc::connection_closed);
  EXPECT_TRUE(peer->closed());
  EXPECT_EQ(end_seen_by(pair.far), 0);
}

TEST_F(stream_close, while_reading_on_a_posted_receive_ends_both) {
  socket_pair pair = tcp_pair();
  socket peer = adopt(pair.near);
  peer->post_receive();
  const auto how = start_on(home(), read_once(peer));
  settle();
  peer->begin_close();
  ASSERT_TRUE(until([&] { return how->has_value() && peer->closed(); }));
  EXPECT_EQ(how->value(), errc::connection_closed);
  EXPECT_EQ(end_seen_by(pair.far), 0);
}

TEST_F(stream_close, while_writing_ends_the_write_with_connection_closed) {
  socket_pair pair = unix_pair();
  socket peer = adopt(pair.near);
  const auto how = start_on(home(), write_much(peer, std::string(4 << 20, 'x')));
  settle();
  EXPECT_FALSE(how->has_value());
  peer->begin_close();
  ASSERT_TRUE(until([&] { return how->has_value() && peer->closed(); }));
  EXPECT_TRUE(how->value() == errc::connection_closed || how->value() == errc::connection_reset);
}

TEST_F(stream_close, while_reading_and_writing_ends_all_three_operations) {
  socket_pair pair = unix_pair();
  socket peer = adopt(pair.near);
  peer->post_receive();
  const auto reading = start_on(home(), read_once(peer));
  const auto writing = start_on(home(), write_much(peer, std::string(4 << 20, 'x')));
  settle();
  peer->begin_close();
  ASSERT_TRUE(until([&] { return peer->closed(); }));
  EXPECT_TRUE(until([&] { return reading->has_value() && writing->has_value(); }));
  EXPECT_EQ(reading->value(), errc::connection_closed);
  EXPECT_NE(writing->value(), errc{});
}

TEST_F(stream_close, before_the_read_was_submitted_ends_it) {
  socket_pair pair = tcp_pair();
  socket peer = adopt(pair.near);
  const auto how = start_on(home(), read_once(peer));
  bool closed = false;
  start(
      [&]() -> task<void> {
        peer->begin_close();
        closed = true;
        co_return;
      },
      closed);
  ASSERT_TRUE(until([&] { return how->has_value() && peer->closed(); }));
  EXPECT_EQ(how->value(), errc::connection_closed);
}

TEST_F(stream_close, destroying_the_socket_ends_the_task_that_waits_on_it) {
  socket_pair pair = tcp_pair();
  auto peer = std::make_optional<socket>(adopt(pair.near));
  const auto how = start_on(home(), read_once(*peer));
  settle();
  peer.reset();
  ASSERT_TRUE(until([&] { return how->has_value(); }));
  EXPECT_EQ(how->value(), errc::connection_closed);
  EXPECT_EQ(end_seen_by(pair.far), 0);
}

TEST_F(stream_close, destroying_the_socket_while_the_last_bytes_complete_delivers_them) {
  socket_pair pair = tcp_pair();
  auto peer = std::make_optional<socket>(adopt(pair.near));
  const auto how = start_on(home(), read_once(*peer));
  settle();
  send_all(pair.far, "x");
  home().ring().enter(0ms);  // completed, and not harvested
  peer.reset();
  ASSERT_TRUE(until([&] { return how->has_value(); }));
  EXPECT_EQ(how->value(), errc{});
}

TEST_F(stream_close, a_reset_is_seen_as_one) {
  socket_pair pair = tcp_pair();
  socket peer = adopt(pair.near);
  const auto how = start_on(home(), read_once(peer));
  settle();
  peer.reset();
  ASSERT_TRUE(until([&] { return how->has_value(); }));
  EXPECT_EQ(how->value(), errc::connection_closed);
  settle();
  EXPECT_EQ(end_seen_by(pair.far), ECONNRESET);
}

TEST_F(stream_close, reads_and_writes_on_a_closed_stream_fail) {
  socket_pair pair = tcp_pair();
  socket peer = adopt(pair.near);
  peer->begin_close();
  EXPECT_TRUE(peer->closed());
  auto reading = run_on(home(), read_once(peer));
  auto writing = run_on(home(), write_much(peer, "x"));
  auto nothing = run_on(home(), write_much(peer, ""));
  EXPECT_EQ(reading, errc::connection_closed);
  EXPECT_EQ(writing, errc::connection_closed);
  EXPECT_EQ(nothing, errc::connection_closed);
}

TEST_F(stream_close, cancel_and_close_in_the_same_turn_end_it_once) {
  socket_pair pair = tcp_pair();
  socket peer = adopt(pair.near);
  peer->post_receive();
  std::optional<errc> how;
  scope readers(home());
  readers.spawn([&]() -> task<void> {
    auto ended = co_await read_once(peer);
    how = ended;
  });
  settle();
  peer->begin_close();
  readers.cancel();
  ASSERT_TRUE(until([&] { return how && peer->closed(); }));
  EXPECT_EQ(*how, errc::cancelled);
  EXPECT_TRUE(until([&] { return readers.running() == 0; }));
}

TEST_F(stream_close, a_deadline_that_passes_while_it_closes_changes_nothing) {
  socket_pair pair = tcp_pair();
  socket peer = adopt(pair.near);
  const auto how = start_on(home(), read_once(peer));
  settle();
  peer.close();
  clock().advance(1h);
  ASSERT_TRUE(until([&] { return how->has_value(); }));
  EXPECT_NE(how->value(), errc{});
}

TEST_F(stream_close, bytes_that_arrive_on_a_posted_receive_with_the_close_give_their_buffer_back) {
  shard_options options;
  options.ring.receive_buffers = 1;
  create(options);
  for (int round = 0; round < 3; ++round) {
    socket_pair pair = tcp_pair();
    socket peer = adopt(pair.near);
    peer->post_receive();
    settle();
    send_all(pair.far, "x");
    home().ring().enter(0ms);  // completed with the buffer, and not harvested
    peer.close();
    settle();
  }
  EXPECT_EQ(home().ring().statistics().buffer_misses, 0U);
}

TEST_F(stream_close, unread_bytes_give_their_buffer_back) {
  shard_options options;
  options.ring.receive_buffers = 1;
  create(options);
  for (int round = 0; round < 3; ++round) {
    socket_pair pair = tcp_pair();
    socket peer = adopt(pair.near);
    peer->post_receive();
    settle();
    send_all(pair.far, "x");
    ASSERT_TRUE(until([&] { return (peer->conditions() & stream::has_data) != 0; }));
  }
  EXPECT_EQ(home().ring().statistics().buffer_misses, 0U);
}

TEST_F(stream_close, a_moved_socket_stays_open_and_an_assigned_one_is_closed) {
  socket_pair first = tcp_pair();
  socket_pair second = tcp_pair();
  socket kept = adopt(first.near);
  socket other = adopt(second.near);
  kept = std::move(other);
  settle();
  EXPECT_FALSE(other);
  EXPECT_EQ(end_seen_by(first.far), 0);
  EXPECT_EQ(end_seen_by(second.far), EAGAIN);
}

TEST_F(stream_close, a_hundred_sockets_closed_in_every_state_leave_nothing) {
  std::vector<std::shared_ptr<std::optional<errc>>> reads;
  std::vector<unique_fd> far;
  for (int i = 0; i < 100; ++i) {
    socket_pair pair = tcp_pair();
    socket peer = adopt(pair.near);
    if (i % 2 == 0) peer->post_receive();
    if (i % 3 == 0) {
      reads.push_back(start_on(home(), read_once(peer)));
      settle();
    }
    if (i % 5 == 0) send_all(pair.far, "x");
    if (i % 7 == 0) pair.far.reset_connection();
    if (i % 4 == 0) home().run_once(0ms);
    far.push_back(std::move(pair.far));
  }
  EXPECT_TRUE(until([&] {
    bool all = true;
    for (const auto& each : reads) all = all && each->has_value();
    return all;
  }));
}

// When a server goes, thousands of connections end at once, and each close takes some microseconds.
TEST_F(stream_close, a_thousand_that_end_at_once_are_closed_over_several_turns) {
  constexpr std::size_t count = 1000;
  const std::size_t before = open_descriptors();
  std::vector<socket> sockets;
  std::vector<unique_fd> peers;
  for (std::size_t i = 0; i < count; ++i) {
    socket_pair pair = unix_pair();
    sockets.push_back(adopt(pair.near));
    sockets.back()->post_receive();
    peers.push_back(std::move(pair.far));
  }
  settle();
  peers.clear();
  settle();
  sockets.clear();
  std::size_t most_in_a_turn = 0;
  std::size_t open = open_descriptors() - before;
  EXPECT_GE(open, count - open_streams::closes_max);
  for (unsigned turns = 0; turns < 100 && open > 0; ++turns) {
    home().run_once(0ms);
    const std::size_t left = open_descriptors() - before;
    most_in_a_turn = std::max(most_in_a_turn, open - left);
    open = left;
  }
  EXPECT_EQ(open, 0U);
  EXPECT_LE(most_in_a_turn, open_streams::closes_max);
}

}  // namespace
}  // namespace conpool::test

// Streams over real sockets: reads, writes, the posted receive, ends, timeouts, cancellation.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <conpool/runtime/scope.h>
#include <conpool/runtime/socket.h>

#include <tests/support/pair_fixture.h>
#include <tests/support/raw_sockets.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class streams : public pair_fixture {
 protected:
  // A shard whose posted receives have few, small buffers.
  void use_buffers(unsigned count, unsigned bytes) {
    shard_options options;
    options.ring.receive_buffers = count;
    options.ring.receive_buffer_bytes = bytes;
    connect_on(options);
  }

  // What one read of at most `bytes_max` gives, or how it failed.
  std::shared_ptr<std::optional<result<std::string>>> start_read(std::size_t bytes_max = 16) {
    return start_on(home(), read_text(near(), bytes_max, false));
  }
  result<std::string> read(std::size_t bytes_max = 16) {
    const auto got = start_read(bytes_max);
    EXPECT_TRUE(until([&] { return got->has_value(); }));
    return **got;
  }
  result<std::string> read_exactly(std::size_t bytes) {
    auto got = run_on(home(), read_text(near(), bytes, true));
    EXPECT_TRUE(got);
    return *got;
  }
  std::shared_ptr<std::optional<result<void>>> start_write(const std::string& text) {
    return start_on(home(), write_text(near(), text));
  }

  static task<result<std::string>> read_text(socket& from, std::size_t bytes, bool all) {
    std::string text(bytes, '\0');
    const std::span<char> into(text);
    auto reading = all ? from->read_exactly(into) : from->read(into);
    auto count = co_await reading;
    if (!count) co_return fail(count.error());
    text.resize(*count);
    co_return text;
  }
  static task<result<void>> write_text(socket& to, std::string text) {
    auto sent = co_await to->write(text);
    co_return sent;
  }
  void post() {
    near()->post_receive();
    settle();
  }
};

TEST_F(streams, reads_what_is_there) {
  send_all(far(), "hello");
  EXPECT_EQ(read().value(), "hello");
  EXPECT_EQ(near()->bytes_received(), 5U);
}

TEST_F(streams, a_read_waits_for_the_first_byte) {
  const auto got = start_read();
  settle();
  EXPECT_FALSE(got->has_value());
  EXPECT_NE(near()->conditions() & stream::reading, 0U);
  send_all(far(), "x");
  ASSERT_TRUE(until([&] { return got->has_value(); }));
  EXPECT_EQ((*got)->value(), "x");
  EXPECT_EQ(near()->conditions(), 0U);
}

TEST_F(streams, reading_no_bytes_ends_at_once_with_none) {
  EXPECT_EQ(read(0).value(), "");
  EXPECT_EQ(read_exactly(0).value(), "");
  EXPECT_EQ(near()->conditions(), 0U);
}

TEST_F(streams, writes_and_reads_of_every_size_arrive_whole) {
  for (const std::size_t bytes : {0UL, 1UL, 64UL, 4096UL, 4097UL, 1UL << 20}) {
    SCOPED_TRACE(bytes);
    socket_pair pair = tcp_pair();
    socket from = adopt(pair.near);
    socket to = adopt(pair.far);
    const std::string sent = pattern(bytes);
    const auto writing = start_on(home(), write_text(from, sent));
    const auto reading = start_on(home(), read_text(to, bytes, true));
    ASSERT_TRUE(until([&] { return writing->has_value() && reading->has_value(); }));
    EXPECT_TRUE(writing->value());
    EXPECT_TRUE(reading->value().value() == sent);
    EXPECT_EQ(from->bytes_sent(), bytes);
    EXPECT_EQ(to->bytes_received(), bytes);
  }
}

TEST_F(streams, a_large_write_into_a_small_buffer_is_completed_piece_by_piece) {
  connect(true);
  const std::string sent = pattern(1 << 20);
  const auto writing = start_write(sent);
  settle();
  EXPECT_FALSE(writing->has_value());
  std::string got;
  ASSERT_TRUE(
      run_until(home(), [&] { return writing->has_value(); }, [&] { got += receive_now(far()); }));
  EXPECT_TRUE(writing->value());
  while (got.size() < sent.size()) {
    const std::string more = receive_now(far());
    ASSERT_FALSE(more.empty() && !run_until(home(), [] { return true; }));
    got += more;
  }
  EXPECT_TRUE(got == sent);
}

TEST_F(streams, read_exactly_gathers_pieces) {
  const auto got = start_on(home(), read_text(near(), 6, true));
  for (const char* piece : {"ab", "cd", "ef"}) {
    settle();
    EXPECT_FALSE(got->has_value());
    send_all(far(), piece);
  }
  ASSERT_TRUE(until([&] { return got->has_value(); }));
  EXPECT_EQ((*got)->value(), "abcdef");
}

TEST_F(streams, a_minimum_beyond_the_memory_means_all_of_the_memory) {
  for (const bool posted : {false, true}) {
    SCOPED_TRACE(posted);
    if (posted) post();
    send_all(far(), "abcdef");
    ASSERT_TRUE(run([this]() -> task<void> {
      std::array<char, 4> memory;
      const auto into = std::as_writable_bytes(std::span<char>(memory));
      auto count = co_await near()->read_some(into, 100, 30s);
      CO_ASSERT_OK(count);
      EXPECT_EQ(*count, 4U);
    }));
    EXPECT_EQ(read().value(), "ef");
    EXPECT_EQ(near()->conditions() & (stream::ended | stream::failed), 0U);
  }
}

TEST_F(streams, the_end_of_the_stream_is_a_read_of_zero_bytes_again_and_again) {
  send_all(far(), "last");
  far().reset();
  EXPECT_EQ(read().value(), "last");
  EXPECT_EQ(read().value(), "");
  EXPECT_EQ(read().value(), "");
  EXPECT_NE(near()->conditions() & stream::ended, 0U);
}

TEST_F(streams, the_end_within_read_exactly_is_connection_closed) {
  send_all(far(), "ab");
  far().reset();
  const auto got = read_exactly(4);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::connection_closed);
  EXPECT_EQ(got.error().where(), phase::read);
  EXPECT_EQ(got.error().subject(), "peer");
  EXPECT_EQ(got.error().detail(), "after 2 of 4 bytes");
}

TEST_F(streams, the_end_in_place_of_a_single_byte_is_connection_closed_too) {
  far().reset();
  const auto got = read_exactly(1);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::connection_closed);
  EXPECT_EQ(read(1).value(), "");
}

TEST_F(streams, a_reset_fails_reads_and_then_writes) {
  const auto reading = start_read();
  settle();
  far().reset_connection();
  ASSERT_TRUE(until([&] { return reading->has_value(); }));
  EXPECT_EQ((*reading)->error(), errc::connection_reset);
  EXPECT_EQ((*reading)->error().system_errno(), ECONNRESET);
  EXPECT_EQ(near()->failure(), ECONNRESET);
  EXPECT_NE(near()->conditions() & stream::failed, 0U);
  EXPECT_EQ(read().error(), errc::connection_reset);
  const auto writing = start_write("x");
  ASSERT_TRUE(until([&] { return writing->has_value(); }));
  EXPECT_EQ((*writing)->error(), errc::connection_reset);
}

TEST_F(streams, a_read_ends_with_read_timeout_and_the_stream_still_works) {
  const auto got = start_read();
  settle();
  pass(30s - 1ms);
  EXPECT_FALSE(got->has_value());
  clock().advance(1ms);
  ASSERT_TRUE(until([&] { return got->has_value(); }));
  EXPECT_EQ((*got)->error(), errc::read_timeout);
  EXPECT_EQ(near()->conditions() & stream::interrupted, 0U)
      << "nothing was taken, nothing is broken";
  send_all(far(), "late");
  EXPECT_EQ(read().value(), "late");
}

TEST_F(streams, a_read_on_a_posted_receive_times_out_and_loses_no_byte) {
  post();
  const auto got = start_read();
  settle();
  clock().advance(30s);
  ASSERT_TRUE(until([&] { return got->has_value(); }));
  EXPECT_EQ((*got)->error(), errc::read_timeout);
  EXPECT_TRUE(near()->receive_posted());
  send_all(far(), "late");
  EXPECT_EQ(read().value(), "late");
}

TEST_F(streams, a_write_ends_with_write_timeout_when_the_peer_does_not_read) {
  connect(true);
  const auto writing = start_write(std::string(1 << 20, 'x'));
  settle();
  pass(30s - 1ms);
  EXPECT_FALSE(writing->has_value());
  clock().advance(1ms);
  ASSERT_TRUE(until([&] { return writing->has_value(); }));
  ASSERT_FALSE(writing->value());
  EXPECT_EQ((*writing)->error(), errc::write_timeout);
  EXPECT_EQ((*writing)->error().where(), phase::write);
  EXPECT_TRUE((*writing)->error().detail().starts_with("after "));
  EXPECT_NE(near()->conditions() & stream::interrupted, 0U);
}

TEST_F(streams, cancelling_a_large_write_ends_it_and_tells_how_far_it_came) {
  connect(true);
  const std::string sent = pattern(1 << 20);
  std::optional<error> why;
  scope writers(home());
  writers.spawn([&]() -> task<void> {
    auto written = co_await near()->write(sent);
    if (!written) why = written.error();
  });
  settle();
  writers.cancel();
  ASSERT_TRUE(until([&] { return writers.running() == 0; }));
  ASSERT_TRUE(why);
  EXPECT_EQ(*why, errc::cancelled);
  EXPECT_GT(near()->bytes_sent(), 0U);
  EXPECT_LT(near()->bytes_sent(), sent.size());
  EXPECT_EQ(why->detail(), "after " + std::to_string(near()->bytes_sent()) + " of 1048576 bytes");
  // What arrives is what was counted: no byte more.
  near().close();
  settle();
  std::string got;
  for (;;) {
    std::array<char, 65536> memory;
    const ssize_t count = ::recv(far().get(), memory.data(), memory.size(), 0);
    if (count <= 0) break;
    got.append(memory.data(), static_cast<std::size_t>(count));
  }
  EXPECT_TRUE(std::string_view(sent).starts_with(got));
}

TEST_F(streams, in_a_cancelled_scope_reads_and_writes_end_at_once) {
  std::vector<errc> how;
  scope cancelled(home());
  cancelled.cancel();
  cancelled.spawn([&]() -> task<void> {
    std::array<char, 4> memory;
    auto count = co_await near()->read(std::span<char>(memory));
    how.push_back(count ? errc{} : count.error().kind());
    auto sent = co_await near()->write("never sent");
    how.push_back(sent ? errc{} : sent.error().kind());
  });
  ASSERT_TRUE(until([&] { return cancelled.running() == 0; }));
  EXPECT_EQ(how, std::vector<errc>(2, errc::cancelled));
  EXPECT_EQ(near()->bytes_sent(), 0U);
  EXPECT_NE(near()->conditions() & stream::interrupted, 0U);
}

TEST_F(streams, a_second_read_or_write_at_the_same_time_is_refused_and_harms_nothing) {
  connect(true);
  const auto first_read = start_read();
  const auto first_write = start_write(std::string(1 << 20, 'x'));
  settle();
  const auto second_read = start_read();
  const auto second_write = start_write("second");
  settle();
  ASSERT_TRUE(second_read->has_value());
  ASSERT_TRUE(second_write->has_value());
  EXPECT_EQ((*second_read)->error(), errc::invalid_argument);
  EXPECT_EQ((*second_write)->error(), errc::invalid_argument);
  send_all(far(), "for the first");
  ASSERT_TRUE(run_until(
      home(), [&] { return first_read->has_value() && first_write->has_value(); },
      [&] { receive_now(far()); }));
  EXPECT_EQ((*first_read)->value(), "for the first");
  EXPECT_TRUE(first_write->value());
}

TEST_F(streams, a_posted_receive_is_the_first_read) {
  post();
  EXPECT_TRUE(near()->receive_posted());
  const std::uint64_t before = home().ring().statistics().submissions;
  const auto got = start_read();
  settle();
  send_all(far(), "first");
  ASSERT_TRUE(until([&] { return got->has_value(); }));
  EXPECT_EQ((*got)->value(), "first");
  EXPECT_EQ(home().ring().statistics().submissions, before);  // no other receive was needed
  EXPECT_FALSE(near()->receive_posted());
  EXPECT_EQ(near()->conditions(), 0U);
}

TEST_F(streams, what_a_posted_receive_brought_is_read_in_pieces) {
  post();
  send_all(far(), "abcdef");
  ASSERT_TRUE(until([&] { return (near()->conditions() & stream::has_data) != 0; }));
  EXPECT_EQ(read(2).value(), "ab");
  EXPECT_NE(near()->conditions() & stream::has_data, 0U);
  EXPECT_EQ(read(100).value(), "cdef");
  EXPECT_EQ(near()->conditions() & stream::has_data, 0U);
  send_all(far(), "more");
  EXPECT_EQ(read().value(), "more");
}

TEST_F(streams, data_larger_than_the_buffer_is_read_in_order) {
  use_buffers(2, 64);
  for (int round = 0; round < 10; ++round) {
    post();
    const std::string sent = pattern(1000);
    const auto got = start_on(home(), read_text(near(), sent.size(), true));
    settle();
    send_all(far(), sent);
    ASSERT_TRUE(until([&] { return got->has_value(); }));
    ASSERT_TRUE((*got)->value() == sent);
    EXPECT_EQ(near()->conditions() & (stream::has_data | stream::more_data), 0U);
  }
}

TEST_F(streams, bytes_left_in_the_kernel_are_marked) {
  use_buffers(2, 64);
  post();
  send_all(far(), std::string(65, 'x'));
  ASSERT_TRUE(until([&] { return (near()->conditions() & stream::has_data) != 0; }));
  EXPECT_NE(near()->conditions() & stream::more_data, 0U);
  EXPECT_EQ(read(64).value().size(), 64U);
  EXPECT_NE(near()->conditions() & stream::more_data, 0U);
  EXPECT_EQ(read(64).value().size(), 1U);
  EXPECT_EQ(near()->conditions() & stream::more_data, 0U);
}

TEST_F(streams, with_all_buffers_in_use_the_bytes_are_read_directly) {
  use_buffers(1, 64);
  socket_pair other = tcp_pair();
  socket holder = adopt(other.near);
  holder->post_receive();
  post();
  send_all(other.far, "held");
  ASSERT_TRUE(until([&] { return (holder->conditions() & stream::has_data) != 0; }));
  const auto got = start_read();
  settle();
  send_all(far(), "direct");
  ASSERT_TRUE(until([&] { return got->has_value(); }));
  EXPECT_EQ((*got)->value(), "direct");
  EXPECT_EQ(home().ring().statistics().buffer_misses, 1U);
  EXPECT_EQ(near()->failure(), 0);
}

TEST_F(streams, the_end_and_a_reset_complete_a_posted_receive) {
  post();
  far().reset();
  ASSERT_TRUE(until([&] { return !near()->receive_posted(); }));
  EXPECT_NE(near()->conditions() & stream::ended, 0U);
  EXPECT_EQ(read().value(), "");
  connect();
  post();
  far().reset_connection();
  ASSERT_TRUE(until([&] { return !near()->receive_posted(); }));
  EXPECT_EQ(read().error(), errc::connection_reset);
}

TEST_F(streams, a_timeout_that_is_never_waits_for_ever) {
  socket_pair pair = tcp_pair();
  io_timeouts never;
  never.read = duration::max();
  never.write = duration::max();
  socket patient = adopt(pair.near, never);
  bool ended = false;
  start(
      [&]() -> task<void> {
        auto sent = co_await patient->write("x");
        CO_ASSERT_OK(sent);
        std::array<char, 4> memory;
        auto count = co_await patient->read(std::span<char>(memory));
        CO_ASSERT_OK(count);
      },
      ended);
  settle();
  pass(1000h);
  EXPECT_FALSE(ended);
  send_all(pair.far, "x");
  EXPECT_TRUE(until([&] { return ended; }));
}

TEST_F(streams, a_reader_that_always_finds_bytes_lets_others_run) {
  send_all(far(), std::string(4000, 'x'));
  post();
  ASSERT_TRUE(until([&] { return (near()->conditions() & stream::has_data) != 0; }));
  bool other_ran = false;
  bool seen = false;
  bool ended = false;
  start(
      [&]() -> task<void> {
        for (int i = 0; i < 4000; ++i) {
          std::array<char, 1> one;
          auto count = co_await near()->read(std::span<char>(one));
          CO_ASSERT_OK(count);
          seen = seen || other_ran;
        }
      },
      ended);
  bool other_ended = false;
  start(
      [&]() -> task<void> {
        other_ran = true;
        co_return;
      },
      other_ended);
  ASSERT_TRUE(until([&] { return ended; }));
  EXPECT_TRUE(seen);
}

}  // namespace
}  // namespace conpool::test

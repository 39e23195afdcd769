// A buffered_reader over real sockets, plain and with a codec: messages in any pieces, limits,
// ends, and what becomes of the bytes that nobody has consumed.
#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <conpool/runtime/buffered_reader.h>
#include <conpool/runtime/scope.h>

#include <tests/runtime/wire_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

constexpr frame_format plain_frame{};
constexpr frame_format postgres_frame{
    .header_bytes = 5, .length_at = 1, .length_bytes = 4, .uncounted_bytes = 1};
constexpr frame_format http2_frame{
    .header_bytes = 9, .length_at = 0, .length_bytes = 3, .uncounted_bytes = 9};

class buffered : public wire_fixture {
 protected:
  using text = result<std::string>;

  // One message each, as text of its own; they suspend or not.
  static task<text> line_of(buffered_reader in, std::string_view delimiter = "\r\n") {
    auto line = co_await in.read_until(delimiter);
    if (!line) co_return fail(std::move(line.error()));
    co_return std::string(*line);
  }
  static task<text> bytes_of(buffered_reader in, std::size_t count) {
    auto bytes = co_await in.read_exactly(count);
    if (!bytes) co_return fail(std::move(bytes.error()));
    co_return std::string(*bytes);
  }
  template <frame_format Format>
  static task<text> frame_of(buffered_reader in) {
    auto frame = co_await in.read_frame<Format>();
    if (!frame) co_return fail(std::move(frame.error()));
    co_return std::string(*frame);
  }
  buffered_reader reader(const reader_options& options = {}) {
    return buffered_reader(*near(), options);
  }
  text line(std::string_view delimiter = "\r\n") {
    return result_of(start_on(home(), line_of(reader(), delimiter)));
  }
  text bytes(std::size_t count) { return result_of(start_on(home(), bytes_of(reader(), count))); }
  text result_of(const std::shared_ptr<std::optional<text>>& reading) {
    EXPECT_TRUE(until([&] { return reading->has_value(); }));
    return reading->has_value() ? **reading : fail(error(errc::cancelled));
  }
  bool has_ahead() { return (near()->conditions() & stream::read_ahead) != 0; }
};

TEST_P(buffered, lines_arrive_one_by_one_however_they_were_sent) {
  const std::string wire = "first\r\n\r\nthird line\r\n";
  for (std::size_t cut = 0; cut <= wire.size(); ++cut) {
    SCOPED_TRACE(cut);
    connect();
    const auto first = start_on(home(), line_of(reader()));
    far_sends(wire.substr(0, cut));
    settle();
    far_sends(wire.substr(cut));
    EXPECT_EQ(result_of(first).value(), "first");
    EXPECT_EQ(line().value(), "");
    EXPECT_EQ(line().value(), "third line");
    EXPECT_EQ(near()->conditions(), 0U);
    EXPECT_EQ(near()->bytes_received(), wire.size());
  }
}

TEST_P(buffered, a_posted_receive_is_its_first_read) {
  near()->post_receive();
  settle();
  far_sends("one\r\ntwo\r\n");
  EXPECT_EQ(line().value(), "one");
  EXPECT_TRUE(has_ahead());
  EXPECT_EQ(line().value(), "two");
  EXPECT_EQ(near()->conditions(), 0U);
}

TEST_P(buffered, what_is_there_neither_suspends_nor_allocates_a_frame) {
  far_sends("12345678" + std::string(3, 'x') + "line\n");
  EXPECT_EQ(bytes(1).value(), "1");
  buffered_reader in = reader();
  auto exact = in.read_exactly(7);
  ASSERT_TRUE(exact.await_ready());
  EXPECT_EQ(exact.await_resume().value(), "2345678");
  auto some = in.peek();
  ASSERT_TRUE(some.await_ready());
  EXPECT_EQ(some.await_resume().value(), "xxxline\n");
  in.consume(3);
  auto last = in.read_until("\n");
  ASSERT_TRUE(last.await_ready());
  EXPECT_EQ(last.await_resume().value(), "line");
  EXPECT_FALSE(has_ahead());
  auto none = in.read_exactly(0);
  ASSERT_TRUE(none.await_ready());
  EXPECT_EQ(none.await_resume().value(), "");
  EXPECT_FALSE(in.peek().await_ready());
}

TEST_P(buffered, a_view_is_valid_until_the_next_read_that_waits) {
  far_sends("abcdefgh");
  std::string_view first;
  ASSERT_TRUE(run([&]() -> task<void> {
    buffered_reader in(*near());
    auto one = co_await in.read_exactly(4);
    CO_ASSERT_OK(one);
    auto two = co_await in.read_exactly(4);
    CO_ASSERT_OK(two);
    first = *one;
    EXPECT_EQ(*two, "efgh");
  }));
  EXPECT_EQ(first, "abcd");
}

TEST_P(buffered, numbers_are_in_network_byte_order) {
  std::string wire;
  append_big_endian<std::uint8_t>(wire, 0x01);
  append_big_endian<std::uint16_t>(wire, 0x0203);
  append_big_endian<std::uint32_t>(wire, 0x04050607);
  append_big_endian<std::uint64_t>(wire, 0x08090A0B0C0D0E0F);
  EXPECT_EQ(wire, std::string("\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17"));
  EXPECT_EQ(big_endian<std::uint16_t>(wire, 13), 0x0E0FU);
  EXPECT_EQ(big_endian<std::uint16_t>(wire, 14), 0U) << "cut short";
  far_sends(wire);
  ASSERT_TRUE(run([&]() -> task<void> {
    buffered_reader in(*near());
    auto one = co_await in.read_big_endian<std::uint8_t>();
    auto two = co_await in.read_big_endian<std::uint16_t>();
    auto four = co_await in.read_big_endian<std::uint32_t>();
    auto eight = co_await in.read_big_endian<std::uint64_t>();
    EXPECT_EQ(one.value(), 0x01U);
    EXPECT_EQ(two.value(), 0x0203U);
    EXPECT_EQ(four.value(), 0x04050607U);
    EXPECT_EQ(eight.value(), 0x08090A0B0C0D0E0FU);
  }));
}

TEST_P(buffered, frames_of_every_format_come_whole) {
  const std::string wire = std::string("\0\0\0\3abc", 7) + std::string("D\0\0\0\6xy", 7) +
                           std::string("\0\0\2\1\2\0\0\0\7hi", 11) + std::string("\0\0\0\0", 4);
  for (std::size_t cut = 0; cut <= wire.size(); ++cut) {
    connect();
    const auto first = start_on(home(), frame_of<plain_frame>(reader()));
    far_sends(wire.substr(0, cut));
    settle();
    far_sends(wire.substr(cut));
    EXPECT_EQ(result_of(first).value(), wire.substr(0, 7));
    EXPECT_EQ(result_of(start_on(home(), frame_of<postgres_frame>(reader()))).value(),
              wire.substr(7, 7));
    EXPECT_EQ(result_of(start_on(home(), frame_of<http2_frame>(reader()))).value(),
              wire.substr(14, 11));
    EXPECT_EQ(result_of(start_on(home(), frame_of<plain_frame>(reader()))).value(),
              wire.substr(25));
    EXPECT_FALSE(has_ahead());
  }
}

TEST_P(buffered, messages_larger_than_its_memory_make_that_grow) {
  const std::string large = pattern(700'000);
  const auto got = start_on(home(), bytes_of(reader(), large.size()));
  std::string wire = has_codec() ? toy_codec::frames(large) : large;
  ASSERT_TRUE(run_until(
      home(), [&] { return got->has_value(); },
      [&] {
        const ssize_t sent =
            ::send(far().get(), wire.data(), wire.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) wire.erase(0, static_cast<std::size_t>(sent));
      }));
  EXPECT_TRUE((*got)->value() == large);
  EXPECT_FALSE(has_ahead());
}

// Each read moves what is left to the front, or makes the memory larger.
TEST_P(buffered, a_long_stream_of_messages_of_all_sizes_comes_in_order) {
  std::string wire;
  std::vector<std::string> messages;
  for (std::size_t i = 0; i < 2000; ++i) {
    messages.push_back(pattern(i * 37 % 3000));
    append_big_endian<std::uint32_t>(wire, static_cast<std::uint32_t>(messages.back().size()));
    wire += messages.back();
  }
  if (has_codec()) wire = toy_codec::frames(wire);
  std::size_t right = 0;
  bool ended = false;
  start(
      [&]() -> task<void> {
        buffered_reader in(*near());
        for (const std::string& message : messages) {
          auto frame = co_await in.read_frame<plain_frame>();
          CO_ASSERT_OK(frame);
          right += frame->substr(4) == message ? 1 : 0;
        }
      },
      ended);
  std::size_t sent = 0;
  ASSERT_TRUE(run_until(
      home(), [&] { return ended; },
      [&] {
        const ssize_t count =
            ::send(far().get(), wire.data() + sent,
                   std::min<std::size_t>(wire.size() - sent, 30'000), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count > 0) sent += static_cast<std::size_t>(count);
      }));
  EXPECT_EQ(right, messages.size());
  EXPECT_EQ(near()->conditions() & ~std::uint32_t{stream::more_data}, 0U);
}

TEST_P(buffered, a_message_above_the_limit_is_an_error_that_says_the_limit) {
  const reader_options small{.limit = 10};
  far_sends("0123456789abcdef\n");
  const auto line = result_of(start_on(home(), line_of(reader(small), "\n")));
  ASSERT_FALSE(line);
  EXPECT_EQ(line.error(), errc::message_too_long);
  EXPECT_TRUE(says(line.error(), "limit of 10 bytes"));
  EXPECT_TRUE(says(line.error(), "reader_options::limit"));
  EXPECT_TRUE(has_ahead()) << "its bytes are nobody's";
  const auto bytes = result_of(start_on(home(), bytes_of(reader(small), 11)));
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error(), errc::message_too_long);
  EXPECT_EQ(result_of(start_on(home(), bytes_of(reader(small), 10))).value(), "0123456789");
  EXPECT_EQ(result_of(start_on(home(), line_of(reader(small), "\n"))).value(), "abcdef");
}

TEST_P(buffered, a_delimiter_counts_for_the_limit_and_may_be_cut_anywhere) {
  ASSERT_TRUE(run([&]() -> task<void> {
    buffered_reader in(*near());
    far_sends("1234\r");
    auto there = co_await in.peek(5);
    CO_ASSERT_OK(there);
    far_sends("\n123\r\n");
    auto too_long = co_await in.read_until("\r\n", 5);
    EXPECT_TRUE(!too_long && too_long.error() == errc::message_too_long);
    auto fits = co_await in.read_until("\r\n", 6);
    EXPECT_TRUE(fits && *fits == "1234");
    auto next = co_await in.read_until("\r\n", 5);
    EXPECT_TRUE(next && *next == "123");
  }));
}

TEST_P(buffered, a_frame_that_says_nonsense_is_an_error) {
  far_sends(std::string("D\0\0\0\3", 5) + std::string("D\xff\xff\xff\xff", 5));
  const auto small = result_of(start_on(home(), frame_of<postgres_frame>(reader())));
  ASSERT_FALSE(small);
  EXPECT_EQ(small.error(), errc::io_failed);
  EXPECT_TRUE(says(small.error(), "smaller than its header"));
  ASSERT_TRUE(run([&]() -> task<void> {
    buffered_reader in(*near());
    auto there = co_await in.peek(10);
    CO_ASSERT_OK(there);
    in.consume(5);
    auto large = co_await in.read_frame<postgres_frame>();
    EXPECT_TRUE(!large && large.error() == errc::message_too_long);
  }));
}

TEST_P(buffered, the_end_between_two_messages_is_told_from_one_within) {
  for (const bool within : {false, true}) {
    SCOPED_TRACE(within);
    connect();
    far_sends(within ? "whole\r\nhalf" : "whole\r\n");
    if (has_codec()) send_all(far(), toy_codec::frame('E', ""));
    ::shutdown(far().get(), SHUT_WR);
    EXPECT_EQ(line().value(), "whole");
    const auto end = line();
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error(), errc::connection_closed);
    EXPECT_TRUE(says(end.error(), within ? "after 4 bytes of a message" : "between two messages"));
    EXPECT_EQ(reader().buffered(), within ? "half" : "");
  }
}

TEST_P(buffered, a_timeout_or_a_cancel_loses_no_byte) {
  const auto waiting = start_on(home(), line_of(reader({.timeout = 5ms})));
  far_sends("half of ");
  settle();
  pass(5ms);
  const auto late = result_of(waiting);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(), errc::read_timeout);
  scope readers(home());
  std::optional<text> cancelled;
  readers.spawn([&]() -> task<void> {
    auto work = line_of(reader());
    cancelled = co_await work;
  });
  settle();
  far_sends("it, ");
  settle();
  readers.cancel();
  ASSERT_TRUE(until([&] { return readers.running() == 0; }));
  EXPECT_EQ(cancelled->error(), errc::cancelled);
  far_sends("and the rest\r\n");
  EXPECT_EQ(line().value(), "half of it, and the rest");
}

TEST_P(buffered, beside_another_read_it_is_refused_and_harms_nothing) {
  const auto first = start_on(home(), line_of(reader()));
  settle();
  const auto second = line();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error(), errc::invalid_argument);
  EXPECT_FALSE(reader().put_back("x"));
  far_sends("the first's\r\n");
  EXPECT_EQ(result_of(first).value(), "the first's");
}

TEST_P(buffered, closing_ends_it) {
  const auto waiting = start_on(home(), line_of(reader()));
  far_sends("half");
  settle();
  near()->begin_close();
  EXPECT_EQ(result_of(waiting).error(), errc::connection_closed);
  ASSERT_TRUE(until([&] { return near()->closed(); }));
  EXPECT_EQ(reader().buffered(), "half") << "a view lives as long as the stream";
  EXPECT_EQ(line().error(), errc::connection_closed);
}

TEST_P(buffered, what_it_has_not_handed_out_comes_first_in_plain_reads) {
  far_sends("line\r\nthe rest");
  EXPECT_EQ(line().value(), "line");
  EXPECT_TRUE(has_ahead());
  const std::uint64_t received = near()->bytes_received();
  ASSERT_TRUE(run([&]() -> task<void> {
    auto there = co_await near()->wait_readable(1ms);
    CO_ASSERT_OK(there);
    std::array<char, 4> some;
    auto count = co_await near()->read(some);
    CO_ASSERT_OK(count);
    EXPECT_EQ(std::string_view(some.data(), *count), "the ");
    EXPECT_TRUE(has_ahead());
    far_sends("!");
    std::array<char, 5> all;
    auto rest = co_await near()->read_exactly(all);
    CO_ASSERT_OK(rest);
    EXPECT_EQ(std::string_view(all.data(), all.size()), "rest!");
    EXPECT_FALSE(has_ahead());
  }));
  EXPECT_EQ(near()->bytes_received(), received + 1) << "each byte counts once";
}

TEST_P(buffered, bytes_that_were_put_back_come_next) {
  far_sends("56789");
  ASSERT_TRUE(run([&]() -> task<void> {
    buffered_reader in(*near());
    auto first = co_await in.read_exactly(1);
    CO_ASSERT_OK(first);
    EXPECT_TRUE(in.put_back("12345"));
    EXPECT_TRUE(in.put_back(""));
    EXPECT_EQ(in.buffered(), "123456789");
    auto all = co_await in.read_exactly(9);
    CO_ASSERT_OK(all);
    const std::string large(10'000, 'x');
    EXPECT_TRUE(in.put_back(large));
    EXPECT_TRUE(in.buffered() == large);
    in.consume(20'000);
    EXPECT_FALSE(has_ahead());
  }));
}

// A message that somebody else is to read: the bytes are the reader's own.
TEST_P(buffered, what_was_handed_out_may_be_put_back_itself) {
  for (const std::size_t behind : {std::size_t{0}, std::size_t{10}, std::size_t{5000}}) {
    SCOPED_TRACE(behind);
    connect();
    const std::string rest = pattern(behind);
    far_sends("one\r\ntwo\r\n" + rest);
    EXPECT_EQ(line().value(), "one");
    ASSERT_TRUE(until([&] {
      settle();
      return reader().buffered().size() >= 5;
    }));
    buffered_reader in = reader();
    auto reading = in.read_until("\r\n");
    ASSERT_TRUE(reading.await_ready());
    const std::string_view two = reading.await_resume().value();
    ASSERT_EQ(two, "two");
    EXPECT_TRUE(in.put_back("\r\n"));
    EXPECT_TRUE(in.put_back(two));
    EXPECT_EQ(line().value(), "two");
    EXPECT_EQ(bytes(behind).value(), rest);
  }
}

TEST_P(buffered, what_is_there_may_be_put_back_twice) {
  far_sends("abcdef");
  EXPECT_EQ(bytes(1).value(), "a");
  buffered_reader in = reader();
  ASSERT_EQ(in.buffered(), "bcdef");
  EXPECT_TRUE(in.put_back(in.buffered()));
  EXPECT_EQ(in.buffered(), "bcdefbcdef");
  EXPECT_TRUE(in.put_back(in.buffered().substr(2, 7)));
  EXPECT_EQ(in.buffered(), "defbcdebcdefbcdef");
}

TEST_P(buffered, what_it_has_goes_along_with_a_detached_descriptor) {
  if (has_codec()) GTEST_SKIP() << "a descriptor carries no codec";
  far_sends("line\r\nahead, ");
  EXPECT_EQ(line().value(), "line");
  near()->post_receive();
  far_sends("held");
  ASSERT_TRUE(until([&] { return (near()->conditions() & stream::has_data) != 0; }));
  ASSERT_TRUE(run([&]() -> task<void> {
    auto out = co_await near()->detach();
    CO_ASSERT_OK(out);
    const auto unread = out->unread();
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(unread.data()), unread.size()),
              "ahead, held");
  }));
}

TEST_P(buffered, its_memory_is_freed_when_nothing_is_in_it) {
  far_sends("line\r\nmore");
  EXPECT_EQ(line().value(), "line");
  near()->free_read_ahead();
  EXPECT_EQ(bytes(4).value(), "more") << "not while something is";
  near()->free_read_ahead();
  far_sends("again\r\n");
  EXPECT_EQ(line().value(), "again");
}

INSTANTIATE_TEST_SUITE_P(wire, buffered, over_both, name_of_wire);

}  // namespace
}  // namespace conpool::test

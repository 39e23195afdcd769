// A write and a read at once, over real sockets: plain and with a codec.
#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <conpool/runtime/scope.h>

#include <tests/runtime/wire_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class exchanges : public wire_fixture {
 protected:
  using answer = result<std::string>;
  static task<answer> ask(socket& peer, std::string request, std::size_t room,
                          std::size_t minimum) {
    std::string got(room, '\0');
    auto count = co_await peer->exchange(request, got, minimum);
    if (!count) co_return fail(std::move(count.error()));
    got.resize(*count);
    co_return got;
  }
  std::shared_ptr<std::optional<answer>> begin(std::string request, std::size_t room,
                                               std::size_t minimum) {
    return start_on(home(), ask(near(), std::move(request), room, minimum));
  }
  answer result_of(const std::shared_ptr<std::optional<answer>>& asked) {
    EXPECT_TRUE(until([&] { return asked->has_value(); }));
    if (!asked->has_value()) return fail(error(errc::cancelled));
    return **asked;
  }
  // Turns until the kernel takes no more of what is being written.
  void until_blocked() {
    for (std::uint64_t before = ~std::uint64_t{0}; before != near()->bytes_sent();) {
      before = near()->bytes_sent();
      settle();
    }
  }
};

TEST_P(exchanges, a_request_gets_its_answer) {
  for (const bool posted : {false, true}) {
    SCOPED_TRACE(posted);
    connect();
    if (posted) near()->post_receive();
    const auto asked = begin("request", 100, 6);
    ASSERT_TRUE(far_receives(7));
    far_sends("ans");
    settle();
    EXPECT_FALSE(asked->has_value()) << "less than was asked for";
    far_sends("wer");
    EXPECT_EQ(result_of(asked).value(), "answer");
    EXPECT_EQ(far_received(), "request");
    EXPECT_EQ(near()->conditions(), 0U);
    EXPECT_EQ(near()->bytes_sent(), 7U);
    EXPECT_EQ(near()->bytes_received(), 6U);
  }
}

// The completion of a send wakes nobody.
TEST_P(exchanges, a_task_is_woken_once) {
  const auto asked = begin("request", 100, 1);
  ASSERT_TRUE(far_receives(7));
  settle();
  EXPECT_EQ(near()->conditions() & (stream::reading | stream::writing), stream::reading + 0U);
  far_sends("a");
  unsigned turns = 0;
  ASSERT_TRUE(run_until(home(), [&] { return asked->has_value(); }, [&] { ++turns; }));
  EXPECT_LE(turns, 2U);
}

TEST_P(exchanges, an_answer_before_the_end_of_the_request_waits_for_that) {
  connect(true);
  const std::string request = pattern(1 << 20);
  const auto asked = begin(request, 100, 5);
  until_blocked();
  far_sends("early");
  settle();
  EXPECT_FALSE(asked->has_value()) << "the request's memory is still the kernel's";
  EXPECT_EQ(near()->conditions() & (stream::reading | stream::writing), stream::writing + 0U);
  ASSERT_TRUE(far_receives(request.size()));
  EXPECT_EQ(result_of(asked).value(), "early");
  EXPECT_TRUE(far_received() == request);
}

// With a write and then a read, both sides would wait for each other.
TEST_P(exchanges, a_large_echo_needs_no_second_task) {
  connect(true);
  const std::string text = pattern(1 << 20);
  const auto asked = begin(text, text.size(), text.size());
  std::size_t echoed = 0;
  ASSERT_TRUE(run_until(
      home(), [&] { return asked->has_value(); },
      [&] {
        // A peer that echoes in frames of its own, and takes no more than it can say.
        const std::string& so_far = far_received();
        const std::size_t count = std::min<std::size_t>(so_far.size() - echoed, 2000);
        const std::string next = so_far.substr(echoed, count);
        const std::string wire = has_codec() ? toy_codec::frames(next) : next;
        send_all(far(), wire);
        echoed += count;
      }));
  EXPECT_TRUE((*asked)->value() == text);
}

TEST_P(exchanges, what_had_come_before_is_the_beginning_of_the_answer) {
  near()->post_receive();
  far_sends("abc");
  ASSERT_TRUE(until([&] { return (near()->conditions() & stream::has_data) != 0; }));
  const auto asked = begin("request", 6, 6);
  ASSERT_TRUE(far_receives(7));
  far_sends("def");
  EXPECT_EQ(result_of(asked).value(), "abcdef");
}

TEST_P(exchanges, an_answer_that_is_there_already_needs_the_write_alone) {
  near()->post_receive();
  far_sends("abcdef");
  ASSERT_TRUE(until([&] { return (near()->conditions() & stream::has_data) != 0; }));
  EXPECT_EQ(result_of(begin("request", 3, 3)).value(), "abc");
  EXPECT_TRUE(far_receives(7));
  EXPECT_EQ(result_of(begin("", 3, 3)).value(), "def") << "and with nothing to write, nothing";
}

TEST_P(exchanges, with_no_answer_asked_for_only_writes) {
  EXPECT_EQ(result_of(begin("request", 0, 0)).value(), "");
  EXPECT_TRUE(far_receives(7));
  far().reset_connection();
  ASSERT_TRUE(until([&] { return !result_of(begin("more", 0, 0)); }));
}

TEST_P(exchanges, after_the_peers_end_nothing_is_sent) {
  near()->post_receive();
  if (has_codec()) send_all(far(), toy_codec::frame('E', ""));
  ::shutdown(far().get(), SHUT_WR);
  ASSERT_TRUE(until([&] { return (near()->conditions() & stream::ended) != 0 || has_codec(); }));
  settle();
  const answer got = result_of(begin("request", 100, 1));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::connection_closed);
  EXPECT_EQ(got.error().where(), phase::read);
  EXPECT_EQ(near()->bytes_sent(), 0U);
}

TEST_P(exchanges, the_peers_end_in_place_of_the_answer_ends_both_parts) {
  connect(true);
  const auto asked = begin(pattern(1 << 20), 100, 5);
  until_blocked();
  far_sends("ans");
  if (has_codec()) send_all(far(), toy_codec::frame('E', ""));
  ::shutdown(far().get(), SHUT_WR);
  const answer got = result_of(asked);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::connection_closed);
  EXPECT_EQ(got.error().where(), phase::read);
  EXPECT_EQ(got.error().detail(), "after 3 of 5 bytes");
  EXPECT_EQ(near()->conditions() & (stream::reading | stream::writing), 0U);
}

TEST_P(exchanges, an_answer_that_came_whole_counts_though_the_request_fails) {
  connect(true);
  const auto asked = begin(pattern(1 << 20), 100, 5);
  until_blocked();
  far_sends("never");
  settle();
  far().reset_connection();
  EXPECT_EQ(result_of(asked).value(), "never");
  EXPECT_NE(near()->conditions() & (stream::failed | stream::torn), 0U);
}

TEST_P(exchanges, a_reset_ends_both_parts) {
  connect(true);
  const auto asked = begin(pattern(1 << 20), 100, 5);
  until_blocked();
  far().reset_connection();
  const answer got = result_of(asked);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::connection_reset);
  EXPECT_EQ(near()->conditions() & (stream::reading | stream::writing), 0U);
}

TEST_P(exchanges, without_an_answer_the_read_timeout_ends_it) {
  const auto asked = begin("request", 100, 1);
  settle();
  pass(30s - 1ms);
  EXPECT_FALSE(asked->has_value());
  clock().advance(1ms);
  const answer got = result_of(asked);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::read_timeout);
  EXPECT_NE(near()->conditions() & stream::interrupted, 0U);
}

TEST_P(exchanges, a_peer_that_takes_nothing_ends_it_by_a_timeout_and_tears_it) {
  connect(true);
  const auto asked = begin(pattern(1 << 20), 100, 1);
  until_blocked();
  pass(30s);
  const answer got = result_of(asked);
  ASSERT_FALSE(got);
  EXPECT_TRUE(got.error() == errc::read_timeout || got.error() == errc::write_timeout);
  EXPECT_NE(near()->conditions() & stream::torn, 0U);
}

TEST_P(exchanges, a_call_has_a_timeout_of_its_own) {
  std::optional<errc> why;
  bool ended = false;
  start(
      [&]() -> task<void> {
        std::array<char, 4> memory;
        const std::array<const_buffer, 2> request{"re", "quest"};
        auto count = co_await near()->exchange(request, memory, 1, 5ms);
        if (!count) why = count.error().kind();
      },
      ended);
  settle();
  pass(4ms);
  EXPECT_FALSE(ended);
  EXPECT_EQ(far_received(), "request");
  clock().advance(1ms);
  ASSERT_TRUE(until([&] { return ended; }));
  EXPECT_EQ(why, errc::read_timeout);
}

TEST_P(exchanges, a_cancelled_one_ends_when_the_kernel_has_let_go_of_both_memories) {
  for (const bool large : {false, true}) {
    SCOPED_TRACE(large);
    connect(true);
    scope callers(home());
    std::optional<answer> got;
    const std::string request = pattern(large ? 1 << 20 : 100);
    callers.spawn([&]() -> task<void> {
      auto work = ask(near(), request, 100, 1);
      got = co_await work;
    });
    until_blocked();
    callers.cancel();
    ASSERT_TRUE(until([&] { return callers.running() == 0; }));
    ASSERT_TRUE(got && !*got);
    EXPECT_EQ(got->error(), errc::cancelled);
    EXPECT_EQ(near()->conditions() & (stream::reading | stream::writing), 0U);
    EXPECT_EQ(near()->conditions() & stream::interrupted, stream::interrupted + 0U);
    EXPECT_EQ((near()->conditions() & stream::torn) != 0, large);
  }
}

TEST_P(exchanges, in_a_cancelled_scope_nothing_is_sent) {
  scope cancelled(home());
  cancelled.cancel();
  std::optional<answer> got;
  cancelled.spawn([&]() -> task<void> {
    auto work = ask(near(), "never sent", 100, 1);
    got = co_await work;
  });
  ASSERT_TRUE(until([&] { return cancelled.running() == 0; }));
  EXPECT_EQ(got->error(), errc::cancelled);
  EXPECT_EQ(near()->bytes_sent(), 0U);
}

TEST_P(exchanges, beside_a_read_or_a_write_it_is_refused_and_harms_nothing) {
  const auto first = begin("first", 100, 1);
  settle();
  const answer second = result_of(begin("second", 100, 1));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error(), errc::invalid_argument);
  far_sends("answer");
  EXPECT_EQ(result_of(first).value(), "answer");
  EXPECT_EQ(far_received(), "first");
}

TEST_P(exchanges, closing_ends_both_parts) {
  for (const bool large : {false, true}) {
    SCOPED_TRACE(large);
    connect(true);
    const auto asked = begin(pattern(large ? 1 << 20 : 100), 100, 1);
    until_blocked();
    near()->begin_close();
    const answer got = result_of(asked);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error(), errc::connection_closed);
    EXPECT_TRUE(until([&] { return near()->closed(); }));
  }
}

TEST_P(exchanges, a_codec_that_cannot_write_says_why) {
  if (!has_codec()) GTEST_SKIP() << "it is about codecs";
  coder().refuses_to_write = true;
  const answer got = result_of(begin("request", 100, 1));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::record_limit);
  EXPECT_EQ(near()->conditions() & (stream::reading | stream::writing), 0U);
}

INSTANTIATE_TEST_SUITE_P(wire, exchanges, over_both, name_of_wire);

}  // namespace
}  // namespace conpool::test

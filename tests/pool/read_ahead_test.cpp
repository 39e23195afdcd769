// What a buffered_reader has received and nobody has consumed: it keeps a connection from being
// lent again, whoever ends first, and its protocol's hooks find it.
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <conpool/conpool.h>

#include <tests/pool/multiplexed.h>
#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

// Hooks that read with readers of their own.
struct reading_script {
  bool rest_in_connect = false;  // on_connect leaves a part of what it was greeted with
  bool recovers = false;
  unsigned asked_to_recover = 0;
  std::string found{};  // by recover() or run()
};

struct greeted {
  struct state {};
  reading_script* part;

  task<result<void>> on_connect(connection& to, state&) const {
    buffered_reader in(to);
    auto greeting = co_await in.read_until("\n");
    if (!greeting) co_return fail(std::move(greeting.error()));
    if (!part->rest_in_connect) in.consume(in.buffered().size());
    co_return result<void>{};
  }
};

struct recovering {
  struct state {};
  reading_script* part;

  task<bool> recover(connection& one, state&, close_reason why) const {
    ++part->asked_to_recover;
    EXPECT_EQ(why, close_reason::unread_data);
    buffered_reader in(one);
    auto rest = co_await in.read_until("\n");
    if (rest) part->found = *rest;
    co_return part->recovers&& rest.has_value();
  }
};

struct greeted_then_run : greeted {
  task<void> run(connection& with, state&) const {
    buffered_reader in(with);
    auto line = co_await in.read_until("\n");
    if (line) part->found = *line;
    auto end = co_await in.read_until("\n");
    EXPECT_FALSE(end);
  }
};

class read_ahead : public pool_fixture {
 protected:
  // A line of two is read, with a reader that ends before its lease.
  void read_first_of_two(lease& held) {
    ASSERT_TRUE(run([&held]() -> task<void> {
      auto sent = co_await held->write("one\ntwo\n");
      CO_ASSERT_OK(sent);
      buffered_reader in(*held);
      auto line = co_await in.read_until("\n");
      CO_ASSERT_OK(line);
      EXPECT_EQ(*line, "one");
      auto more = co_await in.peek(4);
      CO_ASSERT_OK(more);
    }));
  }
  reading_script says_;
  multiplexed_settings shares_;
};

TEST_F(read_ahead, a_lease_that_has_read_all_of_it_is_lent_again) {
  for (int i = 0; i < 3; ++i) {
    lease held = hold();
    read_first_of_two(held);
    buffered_reader(*held).consume(4);
  }
  EXPECT_EQ(totals().created, 1U);
  EXPECT_EQ(totals().closed(), 0U);
}

TEST_F(read_ahead, bytes_left_behind_by_a_reader_that_has_gone_close_the_connection) {
  lease held = hold();
  read_first_of_two(held);
  held.release();
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(closed(close_reason::unread_data), 1U);
  EXPECT_EQ(totals().idle, 0U);
}

TEST_F(read_ahead, a_reader_may_end_after_its_lease) {
  std::optional<buffered_reader> in;
  lease held = hold();
  in.emplace(*held);
  read_first_of_two(held);
  held.release();
  settle();
  in.reset();
  EXPECT_EQ(closed(close_reason::unread_data), 1U);
}

TEST_F(read_ahead, a_message_that_did_not_end_closes_the_connection) {
  lease held = hold();
  ASSERT_TRUE(run([&]() -> task<void> {
    auto sent = co_await held->write("half");
    CO_ASSERT_OK(sent);
    const reader_options options{.limit = 2};
    buffered_reader in(*held, options);
    auto line = co_await in.read_until("\n");
    EXPECT_TRUE(!line && line.error() == errc::message_too_long);
  }));
  held.release();
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(closed(close_reason::unread_data), 1U);
}

TEST_F(read_ahead, recover_finds_what_was_left) {
  for (const bool saves : {true, false}) {
    says_ = {.recovers = saves};
    configure({}, recovering{&says_});
    lease held = hold();
    read_first_of_two(held);
    held.release();
    ASSERT_TRUE(until([&] { return totals().active == 0 && totals().closing == 0; }));
    EXPECT_EQ(says_.found, "two");
    EXPECT_EQ(says_.asked_to_recover, 1U);
    EXPECT_EQ(totals().idle, saves ? 1U : 0U);
    EXPECT_EQ(closed(close_reason::unread_data), saves ? 0U : 1U);
  }
}

TEST_F(read_ahead, a_hello_that_leaves_bytes_is_a_failed_connect) {
  server().greet_with("hello\nand more\n");
  says_.rest_in_connect = true;
  configure({}, greeted{&says_});
  const error why = refused(server().at());
  EXPECT_EQ(why, errc::unsolicited_data);
  EXPECT_TRUE(says(why, "buffered_reader"));
  says_.rest_in_connect = false;
  configure({}, greeted{&says_});
  lease held = hold();
  EXPECT_TRUE(works(held));
}

TEST_F(read_ahead, run_goes_on_where_the_hello_has_stopped) {
  server().greet_with("hello\nand more\n");
  says_.rest_in_connect = true;
  configure({}, greeted_then_run{{&says_}});
  hold(1);
  EXPECT_TRUE(until([&] { return says_.found == "and more"; }));
}

TEST_F(read_ahead, a_greeting_left_by_the_hello_is_the_first_leases_where_servers_speak_first) {
  server().greet_with("hello\nand more\n");
  says_.rest_in_connect = true;
  pool_config config;
  config.server_speaks_first = true;
  configure(config, greeted{&says_});
  lease held = hold();
  std::string got(9, '\0');
  ASSERT_TRUE(run([&]() -> task<void> {
    auto count = co_await held->read_exactly(got);
    CO_ASSERT_OK(count);
  }));
  EXPECT_EQ(got, "and more\n");
  held.release();
  EXPECT_EQ(totals().idle, 1U);
}

// A shared connection's run() reads for all leases with one reader.
TEST_F(read_ahead, half_a_message_in_the_reader_of_a_shared_connection_is_no_fault) {
  configure({}, multiplexed{&shares_});
  lease first = hold();
  bool ended = false;
  start(
      [&]() -> task<void> {
        auto asked = call_over(*first, "text");
        auto answer = co_await asked;
        EXPECT_TRUE(answer && *answer == "text");
      },
      ended);
  ASSERT_TRUE(until([&] { return ended; }));
  server().send_to_all("MAX 5");
  ASSERT_TRUE(until([&] { return (first->conditions() & stream::read_ahead) != 0; }));
  first.release();
  EXPECT_EQ(totals().idle, 1U);
  lease again = hold();
  server().send_to_all("0\n");
  ASSERT_TRUE(until([&] { return (again->conditions() & stream::read_ahead) == 0; }));
  again.release();
  EXPECT_EQ(totals().created, 1U);
}

TEST_F(read_ahead, detach_hands_it_over) {
  lease held = hold();
  read_first_of_two(held);
  ASSERT_TRUE(run([&]() -> task<void> {
    auto taking = held.detach();
    auto taken = co_await taking;
    CO_ASSERT_OK(taken);
    EXPECT_EQ(taken->unread().size(), 4U);
  }));
  EXPECT_EQ(closed(close_reason::detached), 1U);
}

}  // namespace
}  // namespace conpool::test

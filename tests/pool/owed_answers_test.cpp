// Answers that are owed: a pipelined answer that was not read keeps its connection from being lent
// again, though a read came after the last write and nothing has arrived yet.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <utility>

#include <conpool/conpool.h>

#include <tests/pool/multiplexed.h>
#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

struct owing_script {
  bool owes_after_hello = false;
  unsigned asked_to_recover = 0;
  unsigned reads_in_recovery = 0;
};

// Answers of one byte, as an echo server gives them.
struct pipelining {
  struct state {};
  owing_script* part;

  task<result<void>> on_connect(connection& to, state&) const {
    if (part->owes_after_hello) to.expect_answers();
    co_return result<void>{};
  }
  task<bool> recover(connection& one, state&, close_reason why) const {
    ++part->asked_to_recover;
    EXPECT_EQ(why, close_reason::unanswered);
    for (unsigned i = 0; i < part->reads_in_recovery; ++i) {
      std::array<char, 1> answer{};
      auto count = co_await one.read_exactly(answer);
      if (!count) co_return false;
      one.answered();
    }
    co_return true;
  }
};

class owed_answers : public pool_fixture {
 protected:
  // Sends requests of one byte and reads so many of their answers. The server does not answer more.
  void pipeline(lease& held, unsigned requests, unsigned read) {
    server().echo(false);
    ASSERT_TRUE(run([&]() -> task<void> {
      held->expect_answers(requests);
      const std::string all(requests, 'x');
      auto sent = co_await held->write(all);
      CO_ASSERT_OK(sent);
      server().send_to_all(std::string(read, 'x'));
      std::string answers(read, '\0');
      auto got = co_await held->read_exactly(answers);
      CO_ASSERT_OK(got);
      held->answered(read);
    }));
    EXPECT_EQ(held->answers_owed(), std::int64_t{requests} - read);
  }
  owing_script says_;
  multiplexed_settings shares_;
};

TEST_F(owed_answers, whose_lease_has_read_them_all_leave_a_connection_to_be_lent_again) {
  for (int i = 0; i < 3; ++i) {
    lease held = hold();
    pipeline(held, 3, 3);
    EXPECT_EQ(held->conditions(), 0U);
  }
  EXPECT_EQ(totals().created, 1U);
}

TEST_F(owed_answers, that_are_still_to_come_close_the_connection) {
  lease held = hold();
  pipeline(held, 3, 2);
  held.release();
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(closed(close_reason::unanswered), 1U);
  EXPECT_EQ(totals().idle, 0U);
}

TEST_F(owed_answers, count_also_where_unanswered_writes_do_not) {
  pool_config config;
  config.reuse_unanswered = true;
  configure(config);
  lease held = hold();
  pipeline(held, 1, 0);
  held.release();
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(closed(close_reason::unanswered), 1U);
}

TEST_F(owed_answers, of_which_more_came_than_were_expected_close_the_connection) {
  lease held = hold();
  pipeline(held, 2, 2);
  held->answered();
  EXPECT_EQ(held->answers_owed(), -1);
  held.release();
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(closed(close_reason::unanswered), 1U);
}

TEST_F(owed_answers, may_be_counted_before_they_are_expected) {
  lease held = hold();
  held->answered(2);
  held->expect_answers(2);
  held.release();
  EXPECT_EQ(totals().idle, 1U);
}

TEST_F(owed_answers, are_read_away_by_recover) {
  for (const unsigned reads : {2U, 1U}) {
    says_ = {.reads_in_recovery = reads};
    configure({}, pipelining{&says_});
    lease held = hold();
    pipeline(held, 3, 1);
    held.release();
    server().send_to_all(std::string(reads, 'x'));
    ASSERT_TRUE(until([&] { return totals().active == 0 && totals().closing == 0; }));
    EXPECT_EQ(says_.asked_to_recover, 1U);
    EXPECT_EQ(totals().idle, reads == 2 ? 1U : 0U);
    EXPECT_EQ(closed(close_reason::unanswered), reads == 2 ? 0U : 1U);
  }
}

TEST_F(owed_answers, that_a_hello_leaves_are_a_failed_connect) {
  says_.owes_after_hello = true;
  configure({}, pipelining{&says_});
  const error why = refused(server().at());
  EXPECT_EQ(why, errc::unsolicited_data);
  EXPECT_TRUE(says(why, "answers owed"));
}

// Those of the others are always on their way.
TEST_F(owed_answers, of_a_shared_connection_are_its_protocols_business) {
  configure({}, multiplexed{&shares_});
  lease first = hold();
  lease second = hold();
  ASSERT_EQ(first->id(), second->id());
  first->expect_answers(2);
  first.release();
  second.release();
  EXPECT_EQ(totals().idle, 1U);
  EXPECT_EQ(totals().closed(), 0U);
  lease again = hold();
  EXPECT_EQ(again->answers_owed(), 2);
}

}  // namespace
}  // namespace conpool::test

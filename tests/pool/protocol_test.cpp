// The hooks of a protocol, one by one: what each is asked, and what its answer does.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <conpool/conpool.h>

#include <tests/pool/scripted.h>
#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class protocols : public pool_fixture {
 protected:
  void TearDown() override {
    pool_fixture::TearDown();
    EXPECT_LE(says_.ended, says_.begun);
  }
  // Begins an acquire; its error, if it ends with one, is in error_.
  void begin_acquire(bool& done) {
    start(
        [this]() -> task<void> {
          auto one = co_await backends().acquire(server().at());
          if (one) {
            held_.push_back(std::move(*one));
          } else {
            error_.emplace(std::move(one.error()));
          }
        },
        done);
  }
  // Lends one and gives it back at once, within a turn if it is a hit.
  void lend_once() {
    hold(1);
    held_.clear();
  }

  script says_;
  pool_config config_;
  std::optional<error> error_;
};

// --- on_connect

TEST_F(protocols, on_connect_logs_in_before_the_first_lease) {
  configure(config_, logging_in{&says_});
  hold(2);
  EXPECT_EQ(says_.ended, 2U);
  for (const lease& one : held_) {
    EXPECT_EQ(one->state<logging_in>().user, "user of " + std::to_string(one->id()));
    EXPECT_EQ(one->bytes_sent(), 0U) << "the login was no lease's";
    EXPECT_FALSE(one.reused());
  }
  held_.clear();
  hold(2);
  EXPECT_EQ(says_.ended, 2U) << "once for each connection";
  EXPECT_EQ(totals().idle, 0U);
}

TEST_F(protocols, on_connect_that_fails_is_a_failed_connect_of_its_own_kind) {
  says_.does = act::fails;
  configure(config_, logging_in{&says_});
  bool done = false;
  begin_acquire(done);
  ASSERT_TRUE(until([&] { return done; }));
  ASSERT_TRUE(error_);
  EXPECT_EQ(*error_, errc::io_failed);
  EXPECT_EQ(error_->where(), phase::handshake);
  EXPECT_NE(error_->message().find("on_connect"), std::string::npos) << error_->message();
  EXPECT_EQ(totals().closed(close_reason::connect_failed), 1U);
  ASSERT_TRUE(until([&] { return server().open() == 0; }));
}

TEST_F(protocols, on_connect_that_throws_is_a_failed_connect_with_what_it_said) {
  says_.does = act::throws;
  configure(config_, logging_in{&says_});
  bool done = false;
  begin_acquire(done);
  ASSERT_TRUE(until([&] { return done; }));
  ASSERT_TRUE(error_);
  EXPECT_EQ(*error_, errc::connect_failed);
  EXPECT_NE(error_->message().find("as the script says"), std::string::npos) << error_->message();
}

TEST_F(protocols, on_connect_that_hangs_ends_with_the_connection_timeout) {
  server().echo(false);
  config_.connection_timeout = 500ms;
  config_.max_connections_per_endpoint = 1;
  configure(config_, logging_in{&says_});
  bool done = false;
  begin_acquire(done);
  ASSERT_TRUE(until([&] { return says_.begun == 1; }));
  pass(400ms);
  EXPECT_FALSE(done);
  pass(200ms);
  ASSERT_TRUE(until([&] { return done; }));
  ASSERT_TRUE(error_);
  EXPECT_EQ(*error_, errc::connect_timeout);
  EXPECT_EQ(error_->where(), phase::handshake);
  server().echo(true);
  begin_acquire(done);
  pass(1s);  // the backoff
  ASSERT_TRUE(until([&] { return done; }));
  EXPECT_EQ(held_.size(), 1U) << "the place is free again";
}

TEST_F(protocols, on_connect_meets_a_server_that_closes) {
  says_.does = act::hangs;
  configure(config_, logging_in{&says_});
  bool done = false;
  begin_acquire(done);
  ASSERT_TRUE(until([&] { return says_.begun == 1 && server().open() == 1; }));
  server().close_all();
  ASSERT_TRUE(until([&] { return done; }));
  ASSERT_TRUE(error_);
  EXPECT_EQ(*error_, errc::connection_closed);
}

// --- on_acquire, is_healthy

TEST_F(protocols, on_acquire_is_asked_once_for_each_lease_however_it_is_served) {
  config_.max_connections_per_endpoint = 1;
  configure(config_, choosing{{&says_}});
  hold(1);  // a new one
  EXPECT_EQ(says_.begun, 1U);
  bool done = false;
  begin_acquire(done);
  settle();
  held_.clear();  // handed over
  ASSERT_TRUE(until([&] { return done; }));
  EXPECT_EQ(says_.begun, 2U);
  held_.clear();
  hold(1);  // idle
  EXPECT_EQ(says_.begun, 3U);
  EXPECT_EQ(held_[0]->state<choosing>().lends, 3U);
}

TEST_F(protocols, on_acquire_that_says_no_closes_the_connection_and_another_one_is_lent) {
  configure(config_, choosing{{&says_}});
  make_idle(3);
  says_.says = false;
  bool done = false;
  begin_acquire(done);
  settle();
  EXPECT_GE(totals().closed(close_reason::vetoed), 3U);
  EXPECT_FALSE(done);
  says_.says = true;
  for (int i = 0; i < 10 && !done; ++i) pass(10ms);  // the backoff after a new one was refused
  ASSERT_TRUE(until([&] { return done; }));
  ASSERT_EQ(held_.size(), 1U);
  EXPECT_FALSE(held_[0].reused());
}

TEST_F(protocols, a_handed_over_connection_that_is_refused_leaves_its_waiter_the_first) {
  config_.max_connections_per_endpoint = 1;
  configure(config_, choosing{{&says_}});
  hold(1);
  bool first = false;
  bool second = false;
  begin_acquire(first);
  begin_acquire(second);
  settle();
  says_.says = false;
  ASSERT_TRUE(run([this]() -> task<void> {
    held_.clear();
    co_await home().yield();
    co_await home().yield();
    says_.says = true;
  }));
  ASSERT_TRUE(until([&] { return first; }));
  EXPECT_FALSE(second);
  EXPECT_FALSE(held_[0].reused());
  EXPECT_EQ(totals().closed(close_reason::vetoed), 1U);
  held_.clear();
  ASSERT_TRUE(until([&] { return second; }));
}

TEST_F(protocols, a_protocol_that_refuses_every_new_connection_does_not_dial_without_end) {
  says_.says = false;
  config_.acquire_timeout = 1s;
  configure(config_, choosing{{&says_}});
  bool done = false;
  begin_acquire(done);
  for (int i = 0; i < 110 && !done; ++i) pass(10ms);
  ASSERT_TRUE(until([&] { return done; }));
  ASSERT_TRUE(error_);
  EXPECT_EQ(*error_, errc::breaker_open);
  EXPECT_NE(error_->message().find("gave up"), std::string::npos) << error_->message();
  EXPECT_LT(totals().created, 20U);
}

TEST_F(protocols, one_that_is_not_healthy_is_closed_and_another_one_is_lent) {
  configure(config_, healthy{{&says_}});
  for (const bool throws : {false, true}) {
    says_.throws = false;
    says_.says = true;
    lend_once();
    says_.throws = throws;
    says_.says = throws;
    bool done = false;
    begin_acquire(done);
    home().run_once(duration::zero());
    says_.throws = false;
    says_.says = true;
    ASSERT_TRUE(until([&] { return done; }));
    EXPECT_FALSE(held_.at(0).reused());
    held_.clear();
  }
  EXPECT_EQ(totals().closed(close_reason::vetoed), 2U);
}

// --- on_release

TEST_F(protocols, on_release_may_veto) {
  configure(config_, releasing{{&says_}});
  lend_once();
  EXPECT_EQ(totals().idle, 1U);
  says_.says = false;
  lend_once();
  EXPECT_EQ(totals().closed(close_reason::vetoed) + totals().closing, 1U);
  says_.says = true;
  says_.throws = true;
  lend_once();
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::vetoed) == 2; }));
  EXPECT_EQ(totals().idle, 0U);
}

TEST_F(protocols, on_release_as_a_coroutine_cleans_before_the_next_one_gets_it) {
  config_.max_connections_per_endpoint = 1;
  configure(config_, cleaning{{&says_}});
  hold(1);
  bool done = false;
  begin_acquire(done);
  settle();
  held_.clear();
  EXPECT_EQ(says_.ended, 0U);
  ASSERT_TRUE(until([&] { return done; }));
  EXPECT_EQ(says_.ended, 1U);
  EXPECT_TRUE(held_[0].reused());
  EXPECT_EQ(held_[0]->bytes_sent(), 0U) << "what cleaned it was no lease's";
  held_.clear();
  ASSERT_TRUE(until([&] { return totals().idle == 1; }));
  EXPECT_EQ(says_.ended, 2U);
}

TEST_F(protocols, on_release_as_a_coroutine_that_does_not_succeed_closes_the_connection) {
  unsigned closed = 0;
  for (const act does : {act::fails, act::throws, act::hangs, act::sleeps}) {
    says_.does = does;
    configure(config_, cleaning{{&says_}});
    lend_once();
    settle();
    EXPECT_EQ(totals().closed(), does == act::fails || does == act::throws ? 1U : 0U);
    pass(config_.release_timeout + 1ms);
    const close_reason why =
        does == act::fails ? close_reason::vetoed : close_reason::cleaning_failed;
    ASSERT_TRUE(until([&] { return totals().closed(why) == 1; })) << static_cast<int>(does);
    EXPECT_EQ(says_.ended, ++closed);
  }
}

TEST_F(protocols, at_most_so_many_are_cleaned_at_a_time_and_the_others_wait_for_their_turn) {
  config_.max_releasing_per_endpoint = 2;
  says_.does = act::hangs;
  configure(config_, cleaning{{&says_}});
  hold(5);
  held_.clear();
  settle();
  EXPECT_EQ(says_.begun, 2U);
  EXPECT_EQ(totals().active, 5U);
  for (unsigned cleaned = 2; cleaned < 5; cleaned += 2) {
    server().send_to_all("CLEAN");
    ASSERT_TRUE(until([&] { return totals().idle >= cleaned; }));
  }
  server().send_to_all("CLEAN");
  ASSERT_TRUE(until([&] { return totals().idle == 5; }));
  EXPECT_EQ(totals().closed(), 0U);
}

TEST_F(protocols, a_dirty_connection_is_closed_and_nobody_is_asked) {
  configure(config_, releasing{{&says_}});
  hold(1);
  held_[0].discard();
  held_.clear();
  EXPECT_EQ(says_.begun, 0U);
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::discarded) == 1; }));
}

// --- on_idle_data

TEST_F(protocols, T25_a_push_while_idle_is_handed_to_the_protocol_and_the_connection_kept) {
  configure(config_, listening{{&says_}});
  make_idle(1);
  server().send_to_all(">news 1\n");
  ASSERT_TRUE(until([&] { return totals().pushes == 1; }));
  EXPECT_EQ(says_.pushed, ">news 1\n");
  EXPECT_EQ(totals().idle, 1U);
  server().send_to_all(">news 2\n");
  ASSERT_TRUE(until([&] { return totals().pushes == 2; }));
  EXPECT_EQ(says_.pushed, ">news 1\n>news 2\n");
  hold(1);
  EXPECT_TRUE(held_[0].reused()) << "it was kept";
  EXPECT_EQ(totals().created, 1U);
}

TEST_F(protocols, T25_a_push_of_any_size_is_handed_over_whole) {
  configure(config_, listening{{&says_}});
  make_idle(1);
  std::string big;
  for (unsigned i = 0; big.size() < 100'000; ++i) big += std::to_string(i) + ",";
  server().send_to_all(big);
  ASSERT_TRUE(until([&] { return says_.pushed.size() == big.size(); }));
  EXPECT_EQ(says_.pushed, big);
  ASSERT_TRUE(until([&] { return totals().idle == 1; }));
}

TEST_F(protocols, T25_pushes_on_more_connections_than_there_are_buffers_are_kept) {
  config_.max_connections_per_endpoint = 300;
  configure(config_, listening{{&says_}});
  make_idle(300);
  server().send_to_all("x");
  ASSERT_TRUE(until([&] { return totals().pushes == 300 && totals().idle == 300; }));
  EXPECT_EQ(says_.pushed.size(), 300U);
}

TEST_F(protocols, data_while_idle_that_the_protocol_calls_dirt_closes_the_connection) {
  configure(config_, listening{{&says_}});
  make_idle(1);
  says_.keeps = false;
  server().send_to_all("+OK\r\n");
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::unexpected_data) == 1; }));
  says_.keeps = true;
  says_.throws = true;
  make_idle(1);
  server().send_to_all("+OK\r\n");
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::unexpected_data) == 2; }));
}

TEST_F(protocols, a_push_and_the_end_in_one_are_both_seen) {
  configure(config_, listening{{&says_}});
  make_idle(1);
  server().send_to_all(">last words\n");
  server().close_all();
  ASSERT_TRUE(until([&] { return totals().closed() == 1; }));
  EXPECT_EQ(totals().idle, 0U);
}

// --- on_close

TEST_F(protocols, on_close_is_told_once_for_each_connection_that_stood) {
  configure(config_, saying_goodbye{{&says_}});
  make_idle(2);
  server().close_all();
  ASSERT_TRUE(until([&] { return says_.closed == 2; }));
  EXPECT_EQ(says_.why, close_reason::peer_closed);
  hold(1);
  held_[0].discard();
  held_.clear();
  ASSERT_TRUE(until([&] { return says_.closed == 3; }));
  EXPECT_EQ(says_.why, close_reason::discarded);
  make_idle(1);
  backends().clear_all();
  ASSERT_TRUE(until([&] { return says_.closed == 4; }));
  EXPECT_EQ(says_.why, close_reason::cleared);
}

// --- run

TEST_F(protocols, run_lives_as_long_as_its_connection) {
  for (const act does : {act::hangs, act::sleeps}) {
    says_.does = does;
    configure(config_, running{{&says_}});
    const unsigned before = says_.begun;
    hold(1);
    settle();
    EXPECT_EQ(says_.begun, before + 1);
    held_.clear();
    settle();
    EXPECT_EQ(totals().idle, 1U);
    hold(1);
    EXPECT_TRUE(held_[0].reused());
    EXPECT_EQ(says_.ended, before) << "leases come and go";
    held_[0].discard();
    held_.clear();
    ASSERT_TRUE(until([&] { return says_.closed == before + 1; }));
    EXPECT_EQ(says_.ended, before + 1) << "cancelled with its connection";
  }
}

TEST_F(protocols, run_that_ends_by_itself_retires_the_connection) {
  configure(config_, running{{&says_}});
  hold(1);
  ASSERT_TRUE(until([&] { return says_.ended == 1; }));
  settle();
  EXPECT_EQ(totals().retiring, 1U);
  EXPECT_EQ(says_.closed, 0U) << "whoever has it keeps it";
  held_.clear();
  ASSERT_TRUE(until([&] { return says_.closed == 1; }));
  EXPECT_EQ(says_.why, close_reason::retired);
}

TEST_F(protocols, run_that_ends_at_once_is_a_failing_server_and_not_a_reason_to_dial_on_and_on) {
  config_.acquire_timeout = 1s;
  for (const act does : {act::fails, act::throws}) {
    says_.does = does;
    configure(config_, running{{&says_}});
    bool done = false;
    begin_acquire(done);
    for (int i = 0; i < 110 && !done; ++i) pass(10ms);
    ASSERT_TRUE(until([&] { return done; }));
    ASSERT_TRUE(error_);
    EXPECT_NE(error_->message().find("gave up"), std::string::npos) << error_->message();
    EXPECT_LT(totals().created, 20U);
  }
}

TEST_F(protocols, run_is_the_watch_of_an_idle_connection_that_it_reads) {
  says_.does = act::hangs;
  configure(config_, running{{&says_}});
  make_idle(1);
  settle();
  ASSERT_TRUE(run([this]() -> task<void> {
    server().close_all();
    home().ring().enter(duration::zero());  // it has read the end, and was not resumed
    auto lease = co_await backends().acquire(server().at());
    CO_ASSERT_OK(lease);
    EXPECT_FALSE(lease->reused());
  }));
  EXPECT_EQ(says_.why, close_reason::peer_closed);
}

TEST_F(protocols, run_does_not_outlive_a_detached_connection) {
  says_.does = act::sleeps;
  configure(config_, running{{&says_}});
  hold(1);
  settle();
  ASSERT_TRUE(run([this]() -> task<void> {
    auto taking = held_[0].detach();
    auto taken = co_await taking;
    CO_ASSERT_OK(taken);
  }));
  ASSERT_TRUE(until([&] { return says_.ended == 1 && says_.closed == 1; }));
  EXPECT_EQ(says_.why, close_reason::detached);
  EXPECT_EQ(totals().closing, 0U);
}

}  // namespace
}  // namespace conpool::test

// Validation: how each policy knows that what it lends is alive, and validation on demand.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <functional>
#include <memory>
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

class validation : public pool_fixture {
 protected:
  void by(validation_policy policy) {
    config_.validation = policy;
    configure(config_);
  }
  void with_ping(validation_policy policy) {
    config_.validation = policy;
    configure(config_, pinging{{&says_}});
  }
  // Closes the server's end of everything; the client's end has not been asked yet.
  void server_closes() {
    server().close_all();
    ASSERT_TRUE(until([&] { return server().open() == 0; }));
    settle();
  }
  void begin_acquire(bool& done) {
    start(
        [this]() -> task<void> {
          auto one = co_await backends().acquire(server().at());
          CO_ASSERT_OK(one);
          held_.push_back(std::move(*one));
        },
        done);
  }
  // Begins an acquire that has to ping one of `count` idle connections, while pings do that.
  void acquire_while_pings(act does, unsigned count, bool& done) {
    says_.does = act::talks;
    with_ping(validation_policy::ping);
    make_idle(count);
    pass(1s);
    says_.does = does;
    begin_acquire(done);
    settle();
  }
  void begin_validation(bool& done) {
    start(
        [this]() -> task<void> {
          auto asking = backends().validate(server().at());
          auto report = co_await asking;
          CO_ASSERT_OK(report);
          report_ = *report;
        },
        done);
  }
  validation_report validate() {
    bool done = false;
    begin_validation(done);
    EXPECT_TRUE(until([&] { return done; }));
    return report_;
  }
  // Turns of the loop until something is counted: enters that submitted anything in these.
  template <typename Done>
  std::uint64_t submitting_enters_until(Done done) {
    const std::uint64_t before = home().ring().statistics().submitting_enters;
    for (int turns = 0; turns < 100 && !done(); ++turns) home().run_once(duration::zero());
    EXPECT_TRUE(done());
    return home().ring().statistics().submitting_enters - before;
  }

  script says_;
  pool_config config_;
  validation_report report_;
};

// --- probe

TEST_F(validation, probe_asks_a_batch_in_one_submission_and_lends_the_first_healthy_one) {
  by(validation_policy::probe);
  make_idle(6);
  bool done = false;
  begin_acquire(done);
  const auto enters = submitting_enters_until([&] { return totals().probes == 4; });
  EXPECT_LE(enters, 1U);
  ASSERT_TRUE(until([&] { return done; }));
  EXPECT_EQ(totals().probes, 4U) << "probe_candidates, and no more";
  EXPECT_EQ(held_[0]->id(), 1U) << "the warmest";
  settle();
  EXPECT_EQ(totals().idle, 5U) << "the others are idle again";
  EXPECT_EQ(totals().created, 6U);
}

TEST_F(validation, probe_closes_the_dead_with_their_reason_and_goes_on) {
  const struct {
    close_reason why;
    std::function<void()> what_the_server_does;
  } deaths[] = {
      {close_reason::peer_closed,
       [this] {
         server_closes();
       }},
      {close_reason::unexpected_data,
       [this] {
         server().send_to_all("stray");
       }},
      {close_reason::peer_reset,
       [this] {
         server().reset_all();
         ASSERT_TRUE(until([&] { return server().open() == 0; }));
       }},
  };
  for (const auto& death : deaths) {
    SCOPED_TRACE(to_string(death.why));
    by(validation_policy::probe);
    make_idle(2);
    death.what_the_server_does();
    settle();
    EXPECT_EQ(totals().idle, 2U) << "nobody has asked";
    hold(1);
    EXPECT_FALSE(held_[0].reused());
    ASSERT_TRUE(until([&] { return closed(death.why) == 2; }));
    held_.clear();
  }
}

TEST_F(validation, probe_serves_several_waiters_each_with_candidates_of_their_own) {
  by(validation_policy::probe);
  config_.probe_candidates = 2;
  by(validation_policy::probe);
  make_idle(6);
  std::array<bool, 3> done{};
  for (bool& one : done) begin_acquire(one);
  ASSERT_TRUE(until([&] { return done[0] && done[1] && done[2]; }));
  EXPECT_EQ(totals().created, 6U);
  EXPECT_EQ(totals().probes, 6U);
  EXPECT_EQ(held_.size(), 3U);
}

TEST_F(validation, probe_may_be_interrupted_by_clear_drain_and_the_end) {
  by(validation_policy::probe);
  make_idle(3);
  bool done = false;
  begin_acquire(done);
  ASSERT_TRUE(run([this]() -> task<void> {
    while (totals().probes < 3) co_await home().yield();
    backends().clear(server().at(), leased::break_off);  // the probes have not come back
  }));
  ASSERT_TRUE(until([&] { return done; }));
  EXPECT_FALSE(held_[0].reused());
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::cleared) == 3; }));
  EXPECT_EQ(totals().active, 1U);
}

TEST_F(validation, a_change_of_the_policy_finds_what_was_not_watched_and_what_is) {
  by(validation_policy::probe);
  make_idle(2);
  server_closes();
  config_.validation = validation_policy::watch;
  ASSERT_TRUE(backends().reconfigure(config_));
  EXPECT_EQ(totals().idle, 0U) << "looked at once";
  make_idle(2);
  config_.validation = validation_policy::probe;
  ASSERT_TRUE(backends().reconfigure(config_));
  server_closes();
  EXPECT_EQ(totals().idle, 0U) << "the receives that were posted still tell";
  make_idle(2);
  EXPECT_EQ(validate().alive, 2U);
}

// --- ping

TEST_F(validation, ping_asks_what_was_idle_longer_than_the_window_and_nothing_else) {
  with_ping(validation_policy::ping);
  make_idle(1);
  pass(999ms);
  hold(1);
  EXPECT_EQ(totals().pings, 0U);
  held_.clear();
  pass(1s);
  hold(1);
  EXPECT_EQ(totals().pings, 1U);
  EXPECT_TRUE(held_[0].reused());
  EXPECT_EQ(held_[0]->bytes_sent(), 0U) << "the ping was not of this lease";
  EXPECT_EQ(totals().created, 1U);
}

TEST_F(validation, a_failed_ping_makes_the_next_lends_ping_too_until_one_succeeds) {
  bool done = false;
  acquire_while_pings(act::fails, 3, done);
  ASSERT_TRUE(until([&] { return done; }));
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::ping_failed) >= 1; }));
  says_.does = act::talks;
  held_.clear();
  settle();
  const auto pings = totals().pings;
  hold(1);  // it was used just now
  EXPECT_EQ(totals().pings, pings + 1);
  held_.clear();
  hold(1);
  EXPECT_EQ(totals().pings, pings + 1) << "all is well again";
}

TEST_F(validation, a_ping_that_hangs_or_throws_has_failed_and_another_one_is_lent) {
  for (const act does : {act::hangs, act::sleeps, act::throws}) {
    SCOPED_TRACE(static_cast<int>(does));
    bool done = false;
    acquire_while_pings(does, 1, done);
    if (does != act::throws) {
      EXPECT_FALSE(done) << "one connect is not worth a ping that may succeed";
      pass(999ms);
      EXPECT_FALSE(done);
      pass(2ms);
    }
    ASSERT_TRUE(until([&] { return done; }));
    EXPECT_FALSE(held_.at(0).reused());
    ASSERT_TRUE(until([&] { return totals().closed(close_reason::ping_failed) == 1; }));
    held_.clear();
    ASSERT_TRUE(until([&] { return totals().active == 0; }));
  }
}

TEST_F(validation, while_pings_fail_a_caller_waits_for_a_connect_as_well) {
  // A peer that vanished: each ping takes its whole timeout, and there are many to find out about.
  bool done = false;
  acquire_while_pings(act::hangs, 8, done);
  pass(1001ms);
  ASSERT_TRUE(until([&] { return done; })) << "one ping failed: no need to wait for seven more";
  EXPECT_FALSE(held_[0].reused());
}

TEST_F(validation, one_that_ended_during_its_ping_is_not_lent) {
  bool done = false;
  acquire_while_pings(act::sleeps, 1, done);
  server_closes();
  pass(1001ms);
  ASSERT_TRUE(until([&] { return done; }));
  EXPECT_FALSE(held_[0].reused());
}

TEST_F(validation, clear_during_a_ping_is_no_failed_ping) {
  bool done = false;
  acquire_while_pings(act::hangs, 2, done);
  backends().clear(server().at(), leased::break_off);
  ASSERT_TRUE(until([&] { return done; }));
  EXPECT_EQ(totals().closed(close_reason::cleared), 2U);
  EXPECT_EQ(totals().closed(close_reason::ping_failed), 0U);
  says_.does = act::talks;
  held_.clear();
  hold(1);
  EXPECT_EQ(totals().pings, 1U) << "nothing was wrong with the server";
}

// --- none

TEST_F(validation, none_lends_without_a_look) {
  by(validation_policy::none);
  make_idle(1);
  ASSERT_TRUE(run([this]() -> task<void> {
    server().close_all();
    home().ring().enter(duration::zero());
    auto lease = co_await backends().acquire(server().at());
    CO_ASSERT_OK(lease);
    EXPECT_TRUE(lease->reused()) << "watch would have seen the end";
  }));
}

// --- at intervals

TEST_F(validation, watch_with_a_ping_at_each_interval_asks_all_that_are_due_as_one_batch) {
  config_.validation_interval = 10s;
  with_ping(validation_policy::watch);
  make_idle(8);
  pass(5s);
  hold(2);
  held_.clear();  // used: not due at the first interval
  settle();
  clock().advance(5s);
  const auto enters = submitting_enters_until([&] { return totals().pings > 0; });
  EXPECT_EQ(totals().pings, 6U);
  EXPECT_LE(enters, 1U);
  EXPECT_EQ(totals().active, 6U);
  ASSERT_TRUE(until([&] { return totals().idle == 8; }));
  EXPECT_EQ(totals().closed(), 0U);
  pass(10s);
  ASSERT_TRUE(until([&] { return totals().pings == 14; }));
}

TEST_F(validation, pings_at_intervals_keep_the_order_of_use) {
  config_.validation_interval = 10s;
  with_ping(validation_policy::watch);
  hold(3);
  std::vector<std::uint64_t> order;
  for (const lease& one : held_) order.push_back(one->id());
  for (lease& one : held_) {
    one.release();
    pass(1s);
  }
  held_.clear();
  pass(20s);
  ASSERT_TRUE(until([&] { return totals().idle == 3 && totals().pings >= 3; }));
  hold(3);
  EXPECT_EQ(held_[0]->id(), order[2]) << "the warmest first";
  EXPECT_EQ(held_[2]->id(), order[0]);
}

TEST_F(validation, a_caller_during_pings_at_an_interval_waits_for_one_and_dials_none) {
  config_.validation_interval = 10s;
  with_ping(validation_policy::watch);
  make_idle(2);
  clock().advance(10s);
  submitting_enters_until([&] { return totals().pings == 2; });
  bool done = false;
  begin_acquire(done);
  ASSERT_TRUE(until([&] { return done; }));
  EXPECT_TRUE(held_[0].reused());
  EXPECT_EQ(totals().created, 2U);
}

TEST_F(validation, a_ping_at_an_interval_that_fails_closes_the_connection) {
  config_.validation_interval = 10s;
  with_ping(validation_policy::watch);
  make_idle(3);
  says_.does = act::fails;
  pass(10s);
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::ping_failed) == 3; }));
}

TEST_F(validation, an_interval_asks_nothing_of_what_is_watched_and_is_no_use_without_a_check) {
  config_.validation_interval = 10s;
  by(validation_policy::watch);
  make_idle(2);
  pass(30s);
  EXPECT_EQ(totals().idle, 2U);
  EXPECT_EQ(totals().probes, 0U);
  config_.validation = validation_policy::none;
  const auto refused = pool::create(home(), config_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().subject(), "validation_interval");
}

TEST_F(validation, probe_at_each_interval_finds_what_died) {
  config_.validation_interval = 10s;
  by(validation_policy::probe);
  make_idle(3);
  server_closes();
  EXPECT_EQ(totals().idle, 3U);
  pass(10s);
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::peer_closed) == 3; }));
  EXPECT_EQ(totals().probes, 3U);
}

// --- on demand

TEST_F(validation, validate_reports_what_the_watch_has_been_told) {
  by(validation_policy::watch);
  make_idle(3);
  ASSERT_TRUE(run([this]() -> task<void> {
    server().reset_all();
    home().ring().enter(duration::zero());  // not harvested yet
    auto asking = backends().validate(server().at());
    auto report = co_await asking;
    CO_ASSERT_OK(report);
    EXPECT_EQ(report->checked, 3U);
    EXPECT_EQ(report->alive, 0U);
    EXPECT_EQ(report->closed(close_reason::peer_reset), 3U);
  }));
}

TEST_F(validation, validate_probes_all_idle_connections_in_one_batch) {
  by(validation_policy::probe);
  make_idle(20);
  bool done = false;
  begin_validation(done);
  const auto enters = submitting_enters_until([&] { return totals().probes == 20; });
  EXPECT_LE(enters, 1U);
  ASSERT_TRUE(until([&] { return done; }));
  EXPECT_EQ(report_.checked, 20U);
  EXPECT_EQ(report_.alive, 20U);
  server_closes();
  const validation_report second = validate();
  EXPECT_EQ(second.checked, 20U);
  EXPECT_EQ(second.alive, 0U);
  EXPECT_EQ(second.closed(close_reason::peer_closed), 20U);
}

TEST_F(validation, validate_pings_when_the_protocol_can_whatever_the_policy) {
  for (const auto policy :
       {validation_policy::watch, validation_policy::probe, validation_policy::ping}) {
    says_.does = act::talks;
    with_ping(policy);
    make_idle(3);
    validation_report report = validate();
    EXPECT_EQ(report.alive, 3U);
    EXPECT_EQ(totals().pings, 3U) << to_string(policy);
    says_.does = act::fails;
    report = validate();
    EXPECT_EQ(report.checked, 3U);
    EXPECT_EQ(report.closed(close_reason::ping_failed), 3U);
    ASSERT_TRUE(until([&] { return totals().closing == 0; }));
  }
}

TEST_F(validation, validate_all_asks_all_endpoints_in_one_batch) {
  by(validation_policy::probe);
  make_idle(3);
  echo_server other(home());
  ASSERT_TRUE(run([&]() -> task<void> {
    auto lease = co_await backends().acquire(other.at());
    EXPECT_TRUE(lease);
  }));
  settle();
  bool done = false;
  start(
      [this]() -> task<void> {
        auto asking = backends().validate_all();
        auto report = co_await asking;
        CO_ASSERT_OK(report);
        report_ = *report;
      },
      done);
  const auto enters = submitting_enters_until([&] { return totals().probes == 4; });
  EXPECT_LE(enters, 1U);
  ASSERT_TRUE(until([&] { return done; }));
  EXPECT_EQ(report_.checked, 4U);
  EXPECT_EQ(report_.alive, 4U);
  backends().clear_all();
  other.stop();
  ASSERT_TRUE(until([&] { return other.stopped(); }));
}

TEST_F(validation, validate_of_an_endpoint_that_was_never_used_finds_nothing) {
  by(validation_policy::probe);
  EXPECT_EQ(validate().checked, 0U);
}

TEST_F(validation, validations_at_once_take_turns_and_each_reports_everything) {
  with_ping(validation_policy::watch);
  make_idle(4);
  std::array<validation_report, 3> reports{};
  ASSERT_TRUE(run([&]() -> task<void> {
    scope all(home());
    for (validation_report& each : reports) {
      all.spawn([this, &each]() -> task<void> {
        auto asking = backends().validate(server().at());
        auto report = co_await asking;
        CO_ASSERT_OK(report);
        each = *report;
      });
    }
    co_await all.join();
  }));
  for (const validation_report& each : reports) EXPECT_EQ(each.alive, 4U);
  EXPECT_EQ(totals().pings, 12U);
}

TEST_F(validation, a_validation_that_is_cancelled_lets_the_next_one_begin) {
  with_ping(validation_policy::watch);
  make_idle(2);
  says_.does = act::hangs;
  bool first_ended = false;
  scope first(home());
  first.spawn([&]() -> task<void> {
    auto asking = backends().validate(server().at());
    auto report = co_await asking;
    EXPECT_FALSE(report);
    first_ended = true;
  });
  settle();
  bool second = false;
  begin_validation(second);
  settle();
  first.cancel();
  ASSERT_TRUE(until([&] { return first_ended && first.running() == 0; }));
  ASSERT_TRUE(until([&] { return second; })) << "it waited for the first";
  EXPECT_EQ(report_.checked, 0U) << "both connections are still being pinged for the first";
  pass(2s);
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::ping_failed) == 2; }));
}

TEST_F(validation, connections_may_be_taken_and_given_back_while_others_are_validated) {
  with_ping(validation_policy::watch);
  hold(4);
  held_.resize(2);
  settle();
  ASSERT_EQ(totals().idle, 2U);
  says_.does = act::hangs;
  bool done = false;
  begin_validation(done);
  settle();
  EXPECT_EQ(totals().pings, 2U);
  held_.pop_back();
  hold(1);
  EXPECT_TRUE(held_.back().reused()) << "the one that came back";
  held_.pop_back();
  server().reset_all();  // that one dies idle, the others in their pings
  ASSERT_TRUE(until([&] { return done; }));
  EXPECT_EQ(report_.checked, 2U) << "those that were idle when it began";
  EXPECT_EQ(report_.alive, 0U);
  EXPECT_EQ(report_.closed(close_reason::ping_failed), 2U);
  EXPECT_EQ(report_.closed(close_reason::peer_reset), 0U);
}

TEST_F(validation, a_close_ends_validations_that_wait) {
  with_ping(validation_policy::watch);
  make_idle(2);
  says_.does = act::hangs;
  bool first = false;
  bool second = false;
  begin_validation(first);
  settle();
  start(
      [this]() -> task<void> {
        auto asking = backends().validate(server().at());
        auto report = co_await asking;
        EXPECT_TRUE(report);
      },
      second);
  settle();
  ASSERT_TRUE(run([this]() -> task<void> {
    auto closed = co_await backends().close();
    EXPECT_TRUE(closed);
  }));
  ASSERT_TRUE(until([&] { return first && second; }));
  EXPECT_EQ(totals().closed(close_reason::pool_closed), 2U);
}

}  // namespace
}  // namespace conpool::test

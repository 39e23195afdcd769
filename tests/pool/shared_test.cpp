// Shared mode: connections that carry several leases at once, as HTTP/2 does.
#include <gtest/gtest.h>

#include <sys/socket.h>

#include <array>
#include <chrono>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <conpool/conpool.h>

#include <tests/pool/multiplexed.h>
#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class shared_connections : public pool_fixture {
 protected:
  void TearDown() override {
    pool_fixture::TearDown();
    EXPECT_EQ(settings_.ended, settings_.connects) << "a run() outlived its connection";
  }

  void share(std::uint32_t leases, std::uint32_t connections = 32) {
    settings_.mode = access::shared(leases);
    config_.max_connections_per_endpoint = connections;
    config_.max_waiters_per_endpoint = 1000;
    configure(config_, multiplexed{&settings_});
  }

  // One call over a lease of its own; `answered` counts those that got their own text back.
  task<void> ask(std::string text, unsigned& answered) {
    auto lease = co_await backends().acquire(server().at());
    CO_ASSERT_OK(lease);
    peak_ = std::max(peak_, totals().leases);
    auto asked = call_over(**lease, text);
    auto answer = co_await asked;
    if (answer && *answer == text) ++answered;
  }
  task<void> ask_at_once(unsigned count, unsigned& answered) {
    scope all(home());
    for (unsigned i = 0; i < count; ++i) {
      all.spawn([this, i, &answered] { return ask("call " + std::to_string(i), answered); });
    }
    co_await all.join();
  }
  // Whether a lease that is held still gets its answers.
  bool works(lease& held) {
    bool good = false;
    EXPECT_TRUE(run([&held, &good]() -> task<void> {
      auto asked = call_over(*held, "still there?");
      auto answer = co_await asked;
      good = answer.has_value() && *answer == "still there?";
    }));
    return good;
  }
  void server_says(const std::string& line) {
    server().send_to_all(line + "\n");
    settle();
  }

  multiplexed_settings settings_;
  pool_config config_;
  std::uint32_t peak_ = 0;
};

// --- one connect for many callers

TEST_F(shared_connections, T61_a_hundred_cold_callers_share_one_connect) {
  share(100);
  constexpr unsigned callers = 100;
  unsigned answered = 0;
  ASSERT_TRUE(run([&] { return ask_at_once(callers, answered); }));
  EXPECT_EQ(answered, callers);
  EXPECT_EQ(peak_, callers) << "all of them had it at once";
  EXPECT_EQ(server().accepted(), 1U);
  EXPECT_EQ(totals().created, 1U);
  EXPECT_EQ(totals().leases, 0U);
  EXPECT_EQ(totals().idle, 1U);
}

TEST_F(shared_connections, T62_a_caller_cancelled_in_the_middle_of_its_call_disturbs_no_other) {
  share(100);
  server().echo(false);
  unsigned answered = 0;
  bool others_done = false;
  scope cancelled(home());
  cancelled.spawn([&]() -> task<void> {
    auto lease = co_await backends().acquire(server().at());
    CO_ASSERT_OK(lease);
    auto asked = call_over(**lease, "never answered");
    auto answer = co_await asked;
    EXPECT_FALSE(answer);
  });
  ASSERT_TRUE(until([&] { return totals().leases == 1; }));
  settle();
  server().echo(true);
  start([&] { return ask_at_once(99, answered); }, others_done);
  home().run_once(duration::zero());
  cancelled.cancel();
  ASSERT_TRUE(until([&] { return others_done && cancelled.running() == 0; }));
  EXPECT_EQ(answered, 99U);
  EXPECT_EQ(totals().created, 1U);
  EXPECT_EQ(totals().idle, 1U) << "one caller's end says nothing of the connection";
}

TEST_F(shared_connections, any_number_of_leases_may_be_said_to_have_room) {
  share(std::numeric_limits<std::uint32_t>::max());
  hold(1);
  server_says("GOAWAY");  // the next connect counts with what was learned from this one
  unsigned answered = 0;
  ASSERT_TRUE(run([&] { return ask_at_once(3, answered); }));
  EXPECT_EQ(answered, 3U);
  EXPECT_EQ(server().accepted(), 2U);
}

// --- several connections

TEST_F(shared_connections, T64_a_second_connection_is_opened_when_the_first_is_full) {
  share(4);
  hold(4);
  EXPECT_EQ(totals().created, 1U);
  hold(1);
  EXPECT_EQ(totals().created, 2U) << "the first was full";
  hold(2);  // the only one with room is the second: it has three now
  EXPECT_EQ(totals().created, 2U);
  const std::uint64_t first = held_[0]->id();
  const std::uint64_t second = held_[4]->id();
  EXPECT_EQ(held_[6]->id(), second);
  held_.erase(held_.begin() + 1, held_.begin() + 4);  // the first has one
  hold(1);
  EXPECT_EQ(held_.back()->id(), first) << "the least loaded is chosen";
  EXPECT_EQ(held_.back()->leases(), 2U);
  hold(1);
  EXPECT_EQ(held_.back()->id(), first);
  hold(1);  // three each: either
  hold(1);
  EXPECT_EQ(totals().created, 2U);
  EXPECT_EQ(totals().leases, 8U);
  hold(1);
  EXPECT_EQ(totals().created, 3U) << "both were full";
}

TEST_F(shared_connections, T64_a_further_connection_is_opened_only_up_to_the_limit) {
  share(2, 1);
  hold(2);
  const caller& late = call();
  settle();
  EXPECT_EQ(totals().waiting, 1U);
  held_.pop_back();
  ASSERT_TRUE(until([&] { return late.served(); }));
  EXPECT_EQ(totals().created, 1U);
}

// --- GOAWAY

TEST_F(shared_connections, T65_a_goaway_stops_new_leases_and_closes_after_the_last) {
  share(100, 1);
  hold(3);
  const std::uint64_t leaving = held_[0]->id();
  server_says("GOAWAY");
  EXPECT_EQ(totals().retiring, 1U);
  EXPECT_TRUE(works(held_[0])) << "those who have it go on";
  hold(1);  // there is a place for another one, though the limit is one
  EXPECT_NE(held_[3]->id(), leaving) << "no new leases";
  EXPECT_EQ(totals().active, 2U);
  held_.erase(held_.begin(), held_.begin() + 2);
  settle();
  EXPECT_EQ(totals().closed(), 0U) << "one lease is left";
  EXPECT_TRUE(works(held_[0]));
  held_.erase(held_.begin());
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::retired) == 1; }));
  EXPECT_EQ(totals().retiring, 0U);
  EXPECT_TRUE(works(held_[0]));
}

TEST_F(shared_connections, T65_a_goaway_on_an_idle_connection_closes_it_at_once) {
  share(100);
  hold(1);
  held_.clear();
  server_says("GOAWAY");
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::retired) == 1; }));
}

TEST_F(shared_connections, T65_a_goaway_takes_back_what_was_handed_to_waiters_who_did_not_run) {
  share(1, 1);
  hold(1);
  lease mine = std::move(held_[0]);
  const std::uint64_t leaving = mine->id();
  caller& late = call();
  settle();
  ASSERT_TRUE(run([&]() -> task<void> {
    connection& one = *mine;
    mine.release();  // handed to the waiter, which has not run
    one.retire();
    co_return;
  }));
  ASSERT_TRUE(until([&] { return late.served(); }));
  EXPECT_NE((*late.got)->id(), leaving);
}

// --- the limit may change while connected

TEST_F(shared_connections, a_limit_that_grows_serves_those_who_wait) {
  share(1, 1);
  hold(1);
  caller& late = call();
  settle();
  EXPECT_FALSE(late.ended);
  server_says("MAX 2");
  ASSERT_TRUE(until([&] { return late.served(); }));
  EXPECT_EQ((*late.got)->leases(), 2U);
  EXPECT_EQ(totals().created, 1U);
}

TEST_F(shared_connections,
       a_limit_that_shrinks_takes_no_lease_away_and_gives_none_until_it_is_met) {
  share(3, 1);
  hold(3);
  server_says("MAX 1");
  for (lease& one : held_) EXPECT_TRUE(works(one));
  held_.resize(1);
  caller& late = call();
  settle();
  EXPECT_FALSE(late.ended) << "it has one lease, and one is its limit";
  held_.clear();
  ASSERT_TRUE(until([&] { return late.served(); }));
  EXPECT_EQ((*late.got)->leases(), 1U);
}

// --- its end

// Why a connection takes no new leases any more.
struct last_leases {
  const char* name;
  close_reason counted;  // once the last of its leases is gone
  bool works;            // whether those who have it go on
};

class shared_connection_ends : public shared_connections,
                               public ::testing::WithParamInterface<last_leases> {
 protected:
  // What brings it about; held_ has three leases.
  void bring_about() {
    switch (GetParam().counted) {
      case close_reason::peer_closed:
        server().close_all();
        ASSERT_TRUE(until([&] { return settings_.ended == 1; }));
        break;
      case close_reason::discarded:
        held_.back().discard();
        break;
      case close_reason::lifetime:
        pass(11s);
        break;
      default:
        backends().clear(server().at());
    }
    held_.pop_back();
  }
};

TEST_P(shared_connection_ends, with_the_last_of_its_leases_and_takes_no_new_ones) {
  config_.max_connection_lifetime = 10s;
  config_.lifetime_jitter_percent = 0;
  share(100, 1);
  hold(3);
  bring_about();
  EXPECT_EQ(works(held_[0]), GetParam().works);
  hold(1);  // there is a place for another one, though the limit is one
  EXPECT_NE(held_[2]->id(), held_[0]->id());
  EXPECT_TRUE(works(held_[2]));
  EXPECT_EQ(works(held_[1]), GetParam().works);
  EXPECT_EQ(totals().created, 2U);
  held_.clear();
  ASSERT_TRUE(until([&] { return closed(GetParam().counted) == 1; }));
  EXPECT_EQ(totals().idle, 1U);
}

INSTANTIATE_TEST_SUITE_P(
    reasons, shared_connection_ends,
    ::testing::Values(last_leases{"the_server_closed_it", close_reason::peer_closed, false},
                      last_leases{"a_lease_was_discarded", close_reason::discarded, true},
                      last_leases{"its_lifetime_is_over", close_reason::lifetime, true},
                      last_leases{"it_was_cleared", close_reason::cleared, true}),
    [](const auto& one) { return std::string(one.param.name); });

TEST_F(shared_connections, an_end_that_nobody_has_seen_yet_is_seen_by_the_acquire) {
  share(100);
  hold(1);
  held_.clear();
  settle();
  ASSERT_TRUE(run([this]() -> task<void> {
    server().close_all();
    home().ring().enter(duration::zero());  // run() read the end, and has not been resumed
    auto lease = co_await backends().acquire(server().at());
    CO_ASSERT_OK(lease);
    EXPECT_FALSE(lease->reused());
  }));
}

TEST_F(shared_connections,
       clear_that_breaks_off_ends_the_calls_and_serves_those_who_were_only_chosen) {
  share(2, 1);
  hold(2);
  const std::uint64_t cleared = held_[0]->id();
  caller& late = call();
  settle();
  ASSERT_TRUE(run([&]() -> task<void> {
    held_.clear();  // the waiter is chosen, and has not run
    backends().clear(server().at(), leased::break_off);
    co_return;
  }));
  ASSERT_TRUE(until([&] { return late.served(); }));
  EXPECT_NE((*late.got)->id(), cleared);
  late.got->release();
  hold(1);
  backends().clear(server().at(), leased::break_off);
  settle();
  EXPECT_FALSE(works(held_[0]));
  held_.clear();
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::cleared) == 2; }));
}

TEST_F(shared_connections, drain_forces_a_shared_connection_once) {
  share(100);
  hold(5);
  bool done = false;
  start(
      [&]() -> task<void> {
        auto drained = backends().drain(1s);
        auto report = co_await drained;
        CO_ASSERT_OK(report);
        EXPECT_EQ(report->forced.size(), 1U);
        EXPECT_EQ(report->returned, 0U);
      },
      done);
  settle();
  EXPECT_TRUE(works(held_[0])) << "until the deadline they go on";
  pass(2s);
  ASSERT_TRUE(until([&] { return done; }));
  EXPECT_FALSE(works(held_[0]));
  held_.clear();
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::forced) == 1; }));
  EXPECT_EQ(totals().leases, 0U);
}

TEST_F(shared_connections, a_drain_ends_with_the_last_of_its_leases) {
  share(100);
  hold(2);
  bool done = false;
  start(
      [&]() -> task<void> {
        auto drained = backends().drain(1h);
        auto report = co_await drained;
        CO_ASSERT_OK(report);
        EXPECT_TRUE(report->forced.empty());
        EXPECT_EQ(report->returned, 1U);
      },
      done);
  settle();
  held_.pop_back();
  settle();
  EXPECT_FALSE(done);
  held_.pop_back();
  ASSERT_TRUE(until([&] { return done; }));
}

TEST_F(shared_connections, leases_may_outlive_their_pool_and_its_shard) {
  share(100);
  hold(3);
  backends() = pool::create(home(), config_).value();
  settle();
  held_.pop_back();
  home().stop();
  ASSERT_TRUE(until([&] { return settings_.ended == 1; }));
  held_.clear();
}

// --- the protocol's say

TEST_F(shared_connections, the_protocol_is_asked_for_each_lease) {
  share(100);
  hold(3);
  EXPECT_EQ(settings_.asked, 3U);
  settings_.accepts = false;
  ASSERT_TRUE(run([this]() -> task<void> {
    acquire_options now;
    now.try_only = true;
    auto refused = co_await backends().acquire(server().at(), now);
    EXPECT_FALSE(refused);
  }));
  settings_.accepts = true;
  hold(1);
  EXPECT_NE(held_[3]->id(), held_[0]->id()) << "what was refused is not lent again";
  EXPECT_TRUE(works(held_[0]));
  held_.clear();
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::vetoed) == 1; }));
}

TEST_F(shared_connections, one_that_turns_out_to_be_exclusive_is_lent_to_one_at_a_time) {
  share(100, 2);
  settings_.mode = access::exclusive();  // as HTTP/1.1 where HTTP/2 was hoped for
  hold(2);
  EXPECT_EQ(totals().created, 2U);
  EXPECT_EQ(held_[0]->leases(), 1U);
  EXPECT_TRUE(works(held_[0]));
  held_.clear();
  EXPECT_EQ(totals().idle, 2U);
  EXPECT_EQ(totals().active, 0U);
  hold(2);
  EXPECT_EQ(totals().created, 2U);
  EXPECT_TRUE(held_[0].reused());
  EXPECT_TRUE(works(held_[1]));
  EXPECT_EQ(totals().leases, 0U) << "they are not shared";
}

TEST_F(shared_connections, an_adopted_connection_is_shared_as_any_other) {
  share(100);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto to = socket_address::ip("127.0.0.1", server().at().port()).value();
  ASSERT_EQ(::connect(fd, to.data(), to.size()), 0);
  ASSERT_TRUE(backends().adopt(server().at(), fd));
  hold(3);
  EXPECT_EQ(totals().created, 1U);
  EXPECT_EQ(held_[0]->leases(), 3U);
  EXPECT_TRUE(works(held_[2]));
}

// --- among other endpoints

TEST_F(shared_connections, under_the_cap_over_all_endpoints_an_idle_one_makes_room) {
  config_.max_connections = 1;
  share(100);
  hold(1);
  echo_server other(home());
  bool done = false;
  start(
      [&]() -> task<void> {
        auto lease = co_await backends().acquire(other.at());
        EXPECT_TRUE(lease);
      },
      done);
  settle();
  EXPECT_FALSE(done);
  held_.clear();
  EXPECT_TRUE(until([&] { return done; })) << "it was idle, and its place was needed";
  backends().clear_all();
  other.stop();
  EXPECT_TRUE(until([&] { return other.stopped(); }));
}

}  // namespace
}  // namespace conpool::test

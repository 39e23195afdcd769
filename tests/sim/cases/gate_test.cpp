// What the connect gate does for callers: who is refused, who is told of a failed connect, who
// goes on waiting, and what does not count against anybody.
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <tests/sim/pool_fixture.h>
#include <tests/support/expect.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

// Shares a connection between two leases.
struct in_pairs {
  struct state {};
  access access_mode(const connection&, const state&) { return access::shared(2); }
};

// Refuses every connection in the last moment.
struct never_well {
  struct state {};
  bool* healthy;
  bool is_healthy(const connection&, const state&) { return *healthy; }
};

// Logs in, and is answered what the test says.
struct logging_in {
  struct state {};
  std::optional<error>* answer;
  task<result<void>> on_connect(connection&, state&) {
    if (*answer) co_return fail(**answer);
    co_return result<void>{};
  }
};

class sim_gate : public pool_fixture {
 protected:
  struct tally {
    std::uint64_t served = 0;
    std::map<errc, std::uint64_t> failed;
    std::uint64_t failures() const {
      std::uint64_t sum = 0;
      for (const auto& [why, count] : failed) sum += count;
      return sum;
    }
  };

  // Acquires, keeps what it got for a while, and gives it back, until told to stop.
  task<void> use(endpoint peer, duration each, tally* into) {
    while (!stop_) {
      {
        auto lent = co_await backends().acquire(peer);
        if (lent) {
          ++into->served;
        } else {
          ++into->failed[lent.error().kind()];
        }
        auto kept = co_await home().sleep_for(each);
        if (!kept) co_return;
      }
    }
  }
  // So many callers for so long.
  tally use_for(const server& peer, unsigned callers, duration each, duration time) {
    tally all;
    scope together(home());
    for (unsigned i = 0; i < callers; ++i) {
      together.spawn(&sim_gate::use, this, at(peer), each, &all);
    }
    here().pass(time);
    stop_ = true;
    EXPECT_TRUE(here().run([&]() -> task<void> { co_await together.join(); }));
    return all;
  }
  endpoint_stats stats(const server& peer) { return backends().stats(at(peer)).value(); }
  // A caller hears of one refused connect.
  void fail_once(server& peer) {
    peer.change().refuse = 1;
    const auto failed = failure_of(peer);
    ASSERT_TRUE(failed);
    EXPECT_EQ(*failed, errc::connect_failed) << failed->message();
    peer.change().refuse = 0;
    here().pass(100ms);  // the backoff
  }
  void warm(const server& peer, std::uint32_t count) {
    ASSERT_TRUE(here().run([&]() -> task<void> {
      auto work = backends().warm(at(peer), count);
      auto warmed = co_await work;
      CO_ASSERT_OK(warmed);
    }));
  }
  std::vector<const caller*> call_all(const server& peer, unsigned count) {
    std::vector<const caller*> made;
    for (unsigned i = 0; i < count; ++i) made.push_back(&call(peer));
    return made;
  }

  bool stop_ = false;
};

// --- B1: nobody is refused while something stands

TEST_F(sim_gate, nobody_is_refused_by_a_server_that_admits_fewer_sessions_than_the_pool_wants) {
  const server& peer =
      net().add_server("10.0.0.1", 1000, {.latency_most = 200us, .connections_max = 5});
  configure({.max_connections_per_endpoint = 20});
  const tally all = use_for(peer, 20, 5ms, 3s);
  RecordProperty("served", std::to_string(all.served));
  EXPECT_EQ(all.failures(), 0U) << all.served << " served";
  EXPECT_GT(all.served, 2'500U) << "five at a time, 5 ms each, for 3 s";
  EXPECT_EQ(totals().breaker_opened, 0U);
  EXPECT_LE(peer.counts().connects, 40U) << "growth is held back";
}

TEST_F(sim_gate, nobody_is_refused_though_a_quarter_of_what_is_allowed_is_admitted) {
  const server& peer =
      net().add_server("10.0.0.1", 1000, {.latency_most = 200us, .connections_max = 4});
  configure({.max_connections_per_endpoint = 16});
  const tally all = use_for(peer, 32, 1ms, 3s);
  EXPECT_EQ(all.failures(), 0U) << all.served << " served";
  EXPECT_GT(all.served, 9'000U);
}

TEST_F(sim_gate, who_waits_too_long_beside_what_stands_hears_why_no_more_was_opened) {
  const server& peer =
      net().add_server("10.0.0.1", 1000, {.latency_most = 200us, .connections_max = 1});
  configure({.max_connections_per_endpoint = 4, .acquire_timeout = 2s});
  caller& held = hold(peer);
  const caller& waits = call(peer);
  here().pass(2100ms);
  ASSERT_EQ(waits.failure(), errc::acquire_timeout);
  const error& late = waits.got.error();
  EXPECT_TRUE(says(late, "no more are opened for now"));
  EXPECT_TRUE(says(late, "failed in a row"));
  EXPECT_TRUE(says(late, "ECONNREFUSED"));
  held.got->release();
}

// What the failed connects said was that the server admits no more beside those.
TEST_F(sim_gate, when_the_last_one_goes_the_next_connect_does_not_wait_for_an_old_backoff) {
  const server& peer =
      net().add_server("10.0.0.1", 1000, {.latency_most = 200us, .connections_max = 1});
  configure({.max_connections_per_endpoint = 4, .acquire_timeout = 60s});
  caller& held = hold(peer);
  const caller& waits = call(peer);
  here().pass(30s);
  EXPECT_FALSE(waits.ended);
  EXPECT_GE(stats(peer).failed_in_a_row, 9U);
  held.got->discard();
  here().pass(50ms);
  EXPECT_TRUE(waits.served());
}

// --- B2: any first lend of a new connection ends the row

TEST_F(sim_gate, a_hit_on_a_new_connection_ends_the_row_of_failures) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.breaker_failures = 3});
  for (unsigned i = 0; i < 10; ++i) {
    fail_once(peer);
    EXPECT_EQ(stats(peer).failed_in_a_row, 1U);
    warm(peer, 1);
    hold(peer).got->discard();
    EXPECT_EQ(stats(peer).failed_in_a_row, 0U);
    here().pass(10ms);
  }
  EXPECT_EQ(totals().breaker_opened, 0U);
}

TEST_F(sim_gate, a_first_lease_of_a_shared_connection_ends_the_row_of_failures) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.breaker_failures = 3}, in_pairs{});
  for (unsigned i = 0; i < 10; ++i) {
    fail_once(peer);
    warm(peer, 1);
    hold(peer).got->discard();
    here().pass(10ms);
  }
  EXPECT_EQ(totals().breaker_opened, 0U);
}

TEST_F(sim_gate, a_lease_of_an_adopted_connection_ends_the_row_of_failures) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.breaker_failures = 3});
  for (unsigned i = 0; i < 10; ++i) {
    fail_once(peer);
    ASSERT_TRUE(backends().adopt(at(peer), net().sockets().open_connected(peer), {.uses = 0}));
    hold(peer).got->discard();
    here().pass(10ms);
  }
  EXPECT_EQ(totals().breaker_opened, 0U);
}

// Failures that are far apart, with good service between them on one old connection, say nothing
// of the moment when that one goes.
TEST_F(sim_gate, failures_beside_an_old_connection_do_not_open_the_breaker_when_it_goes) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.max_connections_per_endpoint = 2, .acquire_timeout = 20ms, .breaker_failures = 3});
  make_idle(peer, 1);
  peer.change().refuse = 1;
  for (unsigned i = 0; i < 10; ++i) {
    caller& served = hold(peer);
    EXPECT_EQ(failure_of(peer).value(), errc::acquire_timeout);
    served.got->release();
    here().pass(1s);
  }
  peer.leave_all(server::farewell::close);
  here().pass(6s);  // and whatever backoff there was
  const auto first = failure_of(peer);
  ASSERT_TRUE(first);
  EXPECT_EQ(*first, errc::connect_failed) << first->message();
  EXPECT_EQ(totals().breaker_opened, 0U);
  EXPECT_EQ(stats(peer).failed_in_a_row, 1U);
}

// --- B4: what a server does to connections that nobody used

// As nginx does with client_header_timeout: a connection without a request is ended after a
// second.
TEST_F(sim_gate, a_server_that_ends_unused_connections_refuses_nobody) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.min_idle_per_endpoint = 4});
  const endpoint_handle used = backends().handle(at(peer));
  scope gardening(home());
  gardening.spawn([&]() -> task<void> {
    while (!stop_) {
      auto rested = co_await home().sleep_for(1s);
      if (!rested) co_return;
      peer.leave_all(server::farewell::close);
    }
  });
  unsigned refused = 0;
  for (unsigned i = 0; i < 30; ++i) {
    here().pass(1300ms);
    refused += failure_of(peer) ? 1 : 0;
  }
  stop_ = true;
  ASSERT_TRUE(here().run([&]() -> task<void> { co_await gardening.join(); }));
  EXPECT_EQ(refused, 0U) << "of 30";
  EXPECT_EQ(totals().breaker_opened, 0U);
}

TEST_F(sim_gate, connections_that_end_unused_are_dialed_again_ever_more_slowly) {
  const server& peer = net().add_server("10.0.0.1", 1000, {.close_at_accept = 1});
  configure({.min_idle_per_endpoint = 4});
  const endpoint_handle used = backends().handle(at(peer));
  here().pass(60s);
  EXPECT_LE(peer.counts().connects, 160U) << "backoff, not a storm";
  EXPECT_GE(peer.counts().connects, 10U);
  EXPECT_EQ(totals().breaker_opened, 0U) << "nobody asked";
}

TEST_F(sim_gate, a_refill_that_failed_delays_no_caller) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.min_idle_per_endpoint = 1});
  peer.go_down();
  const endpoint_handle used = backends().handle(at(peer));
  here().pass(60s);
  EXPECT_EQ(totals().breaker_opened, 0U);
  EXPECT_LE(peer.counts().connects, 60U);
  peer.come_up();
  const time_point before = here().now();
  EXPECT_EQ(failure_of(peer), std::nullopt);
  EXPECT_LE(here().now() - before, 10ms) << "it did not wait for the refill's backoff";
}

// What was dialed for a caller and ended before the caller had it is a failed connect.
TEST_F(sim_gate, new_connections_that_end_before_their_callers_have_them_open_the_breaker) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  bool healthy = false;
  configure({.max_connecting_per_endpoint = 8}, never_well{&healthy});
  unsigned refused = 0;
  for (unsigned round = 0; round < 300; ++round) {
    const auto callers = call_all(peer, 8);
    here().pass(100ms);
    for (const caller* one : callers) refused += one->failure() == errc::breaker_open ? 1 : 0;
  }
  EXPECT_GT(totals().breaker_opened, 0U);
  EXPECT_GT(refused, 2'000U) << "of 2400";
  EXPECT_LE(peer.counts().connects, 200U) << "in 30 s";
  healthy = true;
  here().pass(6s);
  EXPECT_EQ(failure_of(peer), std::nullopt);
}

// --- B5, B6: who is told

TEST_F(sim_gate, all_who_wait_when_the_breaker_opens_are_told_at_once) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({});
  peer.go_down();
  const auto callers = call_all(peer, 64);
  ASSERT_TRUE(here().until([&] { return totals().breaker_opened == 1; }, 5s));
  const time_point opened = here().now();
  settle();
  EXPECT_EQ(here().now(), opened);
  unsigned refused = 0;
  for (const caller* one : callers) {
    ASSERT_TRUE(one->ended);
    const error& why = one->got.error();
    EXPECT_TRUE(why == errc::breaker_open || why == errc::connect_failed) << why.message();
    EXPECT_TRUE(says(why, "ECONNREFUSED"));
    refused += why == errc::breaker_open ? 1 : 0;
  }
  EXPECT_GE(refused, 50U);
  EXPECT_EQ(totals().failed_fast, refused);
}

TEST_F(sim_gate, the_text_of_an_open_breaker_says_what_failed_how_often_and_what_to_do) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.breaker_failures = 2});
  peer.go_down();
  std::optional<error> refused;
  for (unsigned i = 0; i < 4; ++i) refused = failure_of(peer);
  ASSERT_TRUE(refused);
  ASSERT_EQ(*refused, errc::breaker_open);
  EXPECT_EQ(refused->attempts(), 2U);
  EXPECT_TRUE(says(*refused, "callers"));
  EXPECT_TRUE(says(*refused, "2 attempts"));
  EXPECT_TRUE(says(*refused, "ECONNREFUSED"));
  EXPECT_TRUE(says(*refused, "one connect at a time goes on trying"));
}

TEST_F(sim_gate, a_failed_connect_is_told_to_who_waited_longest_in_both_lanes) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({.max_connecting_per_endpoint = 1});
  peer.go_down();
  const caller& first = call(peer);
  settle();
  const caller& second = call(peer, {.priority = acquire_priority::high});
  settle();
  ASSERT_TRUE(here().until([&] { return first.ended || second.ended; }, 1s));
  EXPECT_TRUE(first.ended);
  EXPECT_FALSE(second.ended) << "it came later";
}

TEST_F(sim_gate, who_wants_a_fresh_one_goes_on_waiting_when_a_connect_fails_beside_what_stands) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.max_connections_per_endpoint = 4, .acquire_timeout = 30s});
  make_idle(peer, 1);
  peer.change().refuse = 1;
  const caller& fresh = call(peer, {.fresh = true});
  here().pass(10s);
  EXPECT_FALSE(fresh.ended);
  peer.change().refuse = 0;
  here().pass(6s);
  ASSERT_TRUE(fresh.served());
  EXPECT_FALSE(fresh.got->reused());
}

// --- B7: what is our own

TEST_F(sim_gate, a_shortage_of_descriptors_does_not_open_the_breaker) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  configure({.breaker_failures = 2});
  net().faults().no_descriptor = 1;
  for (unsigned i = 0; i < 10; ++i) {
    const auto failed = failure_of(peer);
    ASSERT_TRUE(failed);
    EXPECT_EQ(*failed, errc::too_many_files) << failed->message();
  }
  EXPECT_EQ(totals().breaker_opened, 0U);
  EXPECT_EQ(stats(peer).failed_in_a_row, 0U);
  net().faults().no_descriptor = 0;
  EXPECT_EQ(failure_of(peer), std::nullopt);
}

// While an idle connection of another endpoint was closed for its descriptor the time ran out.
TEST_F(sim_gate, a_deadline_that_has_passed_begins_no_connect) {
  const server& one = net().add_server("10.0.0.1", 1000, takes(1ms));
  const server& other = net().add_server("10.0.0.2", 1000, takes(1ms));
  configure({.connection_timeout = 2ms, .acquire_timeout = 100ms});
  make_idle(one, 3);
  net().faults().descriptors_max = net().open_descriptors();
  pool_config config = backends().config();
  config.connection_timeout = 1ms;
  ASSERT_TRUE(backends().reconfigure(config));
  const auto failed = failure_of(other);
  ASSERT_TRUE(failed);
  EXPECT_EQ(*failed, errc::connect_timeout) << failed->message();
  EXPECT_EQ(other.counts().connects, 0U);
  net().faults().descriptors_max = 1U << 20U;
}

// --- B9: what a protocol says when it cannot log in

TEST_F(sim_gate, what_on_connect_says_reaches_the_caller_with_its_kind_its_errno_and_its_text) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  std::optional<error> answer;
  configure({.breaker_failures = 0}, logging_in{&answer});
  answer = error(errc::certificate_revoked, phase::handshake).with_detail("number 4711");
  auto failed = failure_of(peer);
  ASSERT_TRUE(failed);
  EXPECT_EQ(*failed, errc::certificate_revoked) << failed->message();
  EXPECT_EQ(failed->where(), phase::handshake);
  EXPECT_EQ(failed->subject(), at(peer).text());
  EXPECT_TRUE(says(*failed, "on_connect: number 4711"));
  here().pass(6s);
  answer = error(errc::io_failed, phase::read, EPROTO);
  failed = failure_of(peer);
  ASSERT_TRUE(failed);
  EXPECT_EQ(*failed, errc::io_failed);
  EXPECT_EQ(failed->system_errno(), EPROTO);
}

TEST_F(sim_gate, a_permanent_refusal_is_told_at_once_and_the_server_is_not_hammered) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  std::optional<error> answer =
      error(errc::io_failed).with_detail("WRONGPASS invalid password").permanent();
  configure({}, logging_in{&answer});
  const auto callers = call_all(peer, 20);
  here().pass(100ms);
  for (const caller* one : callers) {
    ASSERT_TRUE(one->ended);
    const error& why = one->got.error();
    EXPECT_EQ(why, errc::io_failed) << why.message();
    EXPECT_TRUE(why.is_permanent());
    EXPECT_TRUE(says(why, "WRONGPASS"));
  }
  EXPECT_TRUE(stats(peer).breaker_open);
  for (unsigned i = 0; i < 99; ++i) {
    const auto failed = failure_of(peer);
    ASSERT_TRUE(failed);
    EXPECT_TRUE(says(*failed, "WRONGPASS"));
    here().pass(100ms);
  }
  EXPECT_LE(peer.counts().connects, 4U + 5U) << "in 10 s, the first four at once";
  answer.reset();
  ASSERT_TRUE(here().until([&] { return !stats(peer).breaker_open; }, 6s));
  EXPECT_EQ(failure_of(peer), std::nullopt);
}

// Connections from before a password was changed still serve.
TEST_F(sim_gate, a_permanent_refusal_beside_what_stands_refuses_nobody) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(1ms));
  std::optional<error> answer;
  configure({.max_connections_per_endpoint = 4}, logging_in{&answer});
  make_idle(peer, 1);
  answer = error(errc::io_failed).with_detail("WRONGPASS invalid password").permanent();
  const tally all = use_for(peer, 4, 5ms, 10s);
  EXPECT_EQ(all.failures(), 0U);
  EXPECT_LE(peer.counts().connects, 1U + 4U + 5U) << "in 10 s";
}

// --- B8: what is kept ready is kept ready

TEST_F(sim_gate, what_is_lent_away_of_what_is_kept_ready_is_refilled) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({.min_idle_per_endpoint = 4});
  const endpoint_handle used = backends().handle(at(peer));
  here().pass(1s);
  ASSERT_EQ(totals().idle, 4U);
  std::vector<caller*> held;
  for (unsigned i = 0; i < 4; ++i) held.push_back(&hold(peer));
  EXPECT_EQ(totals().hits, 4U);
  here().pass(200ms);
  EXPECT_EQ(totals().idle, 4U);
  held.push_back(&hold(peer));
  EXPECT_EQ(totals().hits, 5U) << "the fifth pays no connect";
  for (caller* one : held) one->got->release();
  here().pass(1s);
  const std::uint64_t created = totals().created;
  for (unsigned i = 0; i < 100; ++i) hold(peer).got->release();
  here().pass(1s);
  EXPECT_EQ(totals().created, created) << "there are enough for the load";
}

}  // namespace
}  // namespace conpool::sim

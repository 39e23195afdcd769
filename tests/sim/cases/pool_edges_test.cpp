// Moments that the fuzz met or a reader found. Each of them was once a fault of the pool.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include <conpool/pool/pool.h>
#include <conpool/runtime/deadline.h>

#include <tests/sim/pool_fixture.h>
#include <tests/support/expect.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

// Protocols, as small as the case needs.
struct sharing {
  struct state {};
  access mode = access::shared(2);
  access access_mode(const connection&, const state&) { return mode; }
};
struct waiting_beside {
  struct state {};
  shard* home;
  task<void> run(connection&, state&) {
    [[maybe_unused]] auto rested = co_await home->sleep_for(1h);
  }
};
struct remembered {
  struct state {};
  shard* home;
  std::vector<connection*>* all;
  task<void> run(connection& one, state&) {
    all->push_back(&one);
    [[maybe_unused]] auto rested = co_await home->sleep_for(1h);
  }
};
struct hanging_ping {
  struct state {};
  shard* home;
  task<result<void>> ping(connection&, state&) {
    auto rested = co_await home->sleep_for(100ms);
    co_return rested;
  }
};

class sim_pool_edges : public pool_fixture {
 protected:
  endpoint add_peer(const char* host, server_plan plan = {}) {
    const server& peer = net().add_server(host, 1000, std::move(plan));
    return endpoint::parse("tcp://" + peer.address().to_string()).value();
  }
  void live(std::function<task<void>()> body) { ASSERT_TRUE(here().run(std::move(body))); }
  // One lease, used so that the connection counts as lent before, and given back.
  void use_once(const endpoint& to) {
    live([&]() -> task<void> {
      auto lent = co_await backends().acquire(to);
      CO_ASSERT_OK(lent);
    });
  }
  // The waiter has been served, soon and not by the connection `before`.
  void expect_served_by_another(const caller& waiting, std::uint64_t before) {
    pass(100ms);
    ASSERT_TRUE(waiting.served());
    EXPECT_FALSE(waiting.got->reused());
    EXPECT_NE((*waiting.got)->id(), before);
  }
  // Two leases at once are of one connection or of two, and are given back.
  void expect_two_leases(const endpoint& to, bool of_one) {
    caller& one = hold(to);
    caller& other = hold(to);
    EXPECT_EQ((*one.got)->id() == (*other.got)->id(), of_one);
    EXPECT_EQ(totals().leases, of_one ? 2U : 0U);
    one.got->release();
    other.got->release();
    settle();
    EXPECT_EQ(totals().leases, 0U);
  }
  // Notes the number when it is served; keeps the lease for a moment.
  std::shared_ptr<bool> wait_for(const endpoint& to, int number, std::vector<int>& served) {
    return here().start([this, to, number, &served]() -> task<void> {
      auto lent = co_await backends().acquire(to);
      CO_ASSERT_OK(lent);
      served.push_back(number);
      [[maybe_unused]] auto rested = co_await home().sleep_for(5ms);
    });
  }
};

TEST_F(sim_pool_edges, who_loses_the_connection_that_was_kept_for_him_keeps_his_place) {
  const endpoint to = add_peer("10.0.0.1");
  pool_config config;
  config.max_connections_per_endpoint = 2;
  config.max_connecting_per_endpoint = 1;
  config.connect_backoff_max = config.connect_backoff_min;
  pool& backends = configure(config);
  std::vector<int> served;
  std::vector<std::shared_ptr<bool>> done;
  live([&]() -> task<void> {
    auto first = co_await backends.acquire(to);
    CO_ASSERT_OK(first);
    auto second = co_await backends.acquire(to);
    CO_ASSERT_OK(second);
    for (int i = 1; i <= 4; ++i) done.push_back(wait_for(to, i, served));
    auto rested = co_await home().sleep_for(1ms);
    CO_ASSERT_OK(rested);
    net().server_at(0).leave_all(server::farewell::close);
    net().advance(net().now() + 10ms);
    net().advance(net().now() + 10ms);  // both are dead; the pool has not looked yet
    first->release();
    second->release();
  });
  EXPECT_TRUE(here().until([&] { return *done.back(); }));
  EXPECT_EQ(served, (std::vector<int>{1, 2, 3, 4}));
}

TEST_F(sim_pool_edges, who_wants_a_fresh_one_gets_the_place_of_what_comes_back) {
  const endpoint to = add_peer("10.0.0.1");
  configure({.max_connections_per_endpoint = 1});
  use_once(to);
  caller& held = hold(to);
  const std::uint64_t before = (*held.got)->id();
  const caller& waiting = call(to, {.timeout = 1s, .fresh = true});
  pass(5ms);
  held.got->release();
  expect_served_by_another(waiting, before);
}

TEST_F(sim_pool_edges, who_wants_a_fresh_one_at_the_cap_of_the_pool_gets_its_own_idle_ones_place) {
  const endpoint to = add_peer("10.0.0.1");
  configure({.max_connections = 1});
  use_once(to);
  EXPECT_FALSE(hold(to, {.timeout = 1s, .fresh = true}).got->reused());
}

TEST_F(sim_pool_edges, a_shared_connection_gives_its_place_to_another_endpoint) {
  const endpoint one = add_peer("10.0.0.1");
  const endpoint other = add_peer("10.0.0.2");
  configure({.max_connections = 1}, sharing{});
  caller& held = hold(one);
  const std::uint64_t before = (*held.got)->id();
  const caller& waiting = call(other, {.timeout = 1s});
  pass(5ms);
  held.got->release();
  expect_served_by_another(waiting, before);
}

TEST_F(sim_pool_edges, the_leak_detector_may_be_switched_off_while_connections_are_leased) {
  const endpoint to = add_peer("10.0.0.1");
  configure({.leak_threshold = 1s});
  caller& held = hold(to);
  EXPECT_TRUE(backends().reconfigure({.leak_threshold = 0ms}));
  pass(2s);
  held.got->release();
  settle();
  EXPECT_EQ(totals().leaks, 0U);
  EXPECT_EQ(totals().idle, 1U);
  use_once(to);
}

TEST_F(sim_pool_edges, the_validation_policy_may_change_while_connections_are_idle) {
  const endpoint to = add_peer("10.0.0.1");
  pool_config config;
  pool& backends = configure(config);
  use_once(to);
  config.validation = validation_policy::probe;
  EXPECT_TRUE(backends.reconfigure(config));
  use_once(to);
  live([&]() -> task<void> {
    auto report = co_await backends.validate(to);
    CO_ASSERT_OK(report);
    EXPECT_EQ(report->alive, 1U);
  });
  backends.clear_all();
  use_once(to);
  config.validation = validation_policy::watch;
  EXPECT_TRUE(backends.reconfigure(config));
  net().server_at(0).send_to_all("surprise");
  here().pass(10ms);
  EXPECT_EQ(backends.totals().closed(close_reason::unexpected_data), 1U);
}

TEST_F(sim_pool_edges, a_greeting_under_watch_is_no_obstacle_when_the_policy_becomes_probe) {
  const endpoint to = add_peer("10.0.0.1", {.greeting = "hello"});
  pool_config config;
  pool& backends = configure(config);
  live([&]() -> task<void> {
    auto warmed = co_await backends.warm(to, 1);
    CO_ASSERT_OK(warmed);
    auto rested = co_await home().sleep_for(10ms);
    CO_ASSERT_OK(rested);
    config.validation = validation_policy::probe;
    EXPECT_TRUE(backends.reconfigure(config));
    auto lent = co_await backends.acquire(to);
    CO_ASSERT_OK(lent);
    std::array<char, 5> greeting{};
    auto read = co_await (*lent)->read_exactly(std::span<char>(greeting));
    EXPECT_TRUE(read);
  });
}

TEST_F(sim_pool_edges, a_newcomer_does_not_pass_who_waits_for_a_probe) {
  const endpoint to = add_peer("10.0.0.1");
  pool_config config;
  pool& backends = configure(config);
  live([&]() -> task<void> {
    auto watched = co_await backends.acquire(to);
    CO_ASSERT_OK(watched);
    config.validation = validation_policy::probe;
    EXPECT_TRUE(backends.reconfigure(config));
    auto probed = co_await backends.acquire(to);
    CO_ASSERT_OK(probed);
    auto rested = co_await home().sleep_for(1ms);
    CO_ASSERT_OK(rested);
    watched->release();  // still tells by itself
    auto later = co_await home().sleep_for(1ms);
    CO_ASSERT_OK(later);
    probed->release();
    const std::shared_ptr<bool> first = here().start([&]() -> task<void> {
      auto lent = co_await backends.acquire(to);
      CO_ASSERT_OK(lent);
      auto kept = co_await home().sleep_for(20ms);
      CO_ASSERT_OK(kept);
    });
    while (backends.totals().probes == 0) co_await home().yield();
    const acquire_options now{.try_only = true};
    auto newcomer = co_await backends.acquire(to, now);
    EXPECT_TRUE(backends.totals().waiting == 0 || !newcomer);
    EXPECT_FALSE(*first);
    auto over = co_await home().sleep_for(100ms);
    CO_ASSERT_OK(over);
    EXPECT_TRUE(*first);
  });
}

TEST_F(sim_pool_edges, a_newcomer_does_not_pass_who_lost_what_was_kept_for_him) {
  const endpoint to = add_peer("10.0.0.1");
  std::vector<connection*> all;
  pool_config config;
  config.validation = validation_policy::none;  // a lend looks at nothing else
  pool& backends = configure(config, remembered{&home(), &all});
  live([&]() -> task<void> {
    auto warmed = co_await backends.warm(to, 2);
    CO_ASSERT_OK(warmed);
    auto rested = co_await home().sleep_for(5ms);
    CO_ASSERT_OK(rested);
    backends.pause();
    const std::shared_ptr<bool> first = here().start([&]() -> task<void> {
      auto lent = co_await backends.acquire(to);
      CO_ASSERT_OK(lent);
    });
    rested = co_await home().sleep_for(1ms);
    CO_ASSERT_OK(rested);
    backends.resume();
    all.back()->retire();  // the one that stood last was on top
    EXPECT_EQ(backends.totals().idle, 1U);
    EXPECT_EQ(backends.totals().waiting, 1U);
    const acquire_options now{.try_only = true};
    auto newcomer = co_await backends.acquire(to, now);
    EXPECT_FALSE(newcomer);
    rested = co_await home().sleep_for(1ms);
    EXPECT_TRUE(*first);
  });
}

TEST_F(sim_pool_edges, an_eviction_that_is_over_at_once_leaves_room_for_the_next) {
  const endpoint one = add_peer("10.0.0.1");
  const endpoint other = add_peer("10.0.0.2");
  pool_config config;
  config.max_connections = 1;
  config.validation = validation_policy::probe;  // nothing is posted: a close is over at once
  configure(config);
  for (unsigned i = 0; i < 3; ++i) {
    use_once(one);
    use_once(other);
  }
}

TEST_F(sim_pool_edges, a_detached_connections_run_ends) {
  const endpoint to = add_peer("10.0.0.1");
  pool& backends = configure({}, waiting_beside{&home()});
  live([&]() -> task<void> {
    auto lent = co_await backends.acquire(to);
    CO_ASSERT_OK(lent);
    auto out = co_await lent->detach();
    CO_ASSERT_OK(out);
    net().sockets().close(out->release());
    auto rested = co_await home().sleep_for(1ms);
    CO_ASSERT_OK(rested);
    EXPECT_EQ(backends.totals().closed(close_reason::detached), 1U);
  });
}

TEST_F(sim_pool_edges, what_is_adopted_is_shared_like_any_other) {
  const endpoint to = add_peer("10.0.0.1");
  pool& backends = configure({}, sharing{});
  ASSERT_TRUE(backends.adopt(to, net().sockets().open_connected(net().server_at(0))));
  expect_two_leases(to, true);
  EXPECT_EQ(totals().idle, 1U);
}

TEST_F(sim_pool_edges, a_sharing_protocol_may_have_exclusive_connections) {
  const endpoint to = add_peer("10.0.0.1");
  configure({}, sharing{access::exclusive()});
  use_once(to);
  expect_two_leases(to, false);
  EXPECT_EQ(totals().idle, 2U);
}

TEST_F(sim_pool_edges, a_validation_that_was_given_up_lets_the_next_one_begin) {
  const endpoint to = add_peer("10.0.0.1");
  pool& backends = configure({}, hanging_ping{&home()});
  use_once(to);
  live([&]() -> task<void> {
    const std::shared_ptr<bool> next = here().start([&]() -> task<void> {
      co_await home().yield();  // behind the one below
      auto report = co_await backends.validate(to);
      EXPECT_TRUE(report);
    });
    auto work = backends.validate(to);
    auto report = co_await with_timeout(home(), 5ms, std::move(work));
    EXPECT_FALSE(report);
    auto rested = co_await home().sleep_for(1s);
    CO_ASSERT_OK(rested);
    EXPECT_TRUE(*next);
  });
}

TEST_F(sim_pool_edges, a_connection_that_is_being_probed_can_be_broken_off) {
  const endpoint to = add_peer("10.0.0.1");
  pool_config config;
  config.validation = validation_policy::probe;
  pool& backends = configure(config);
  use_once(to);
  live([&]() -> task<void> {
    const std::shared_ptr<bool> done = here().start([&]() -> task<void> {
      auto lent = co_await backends.acquire(to, 1s);
      CO_ASSERT_OK(lent);
      EXPECT_FALSE(lent->reused());
    });
    while (backends.totals().probes == 0) co_await home().yield();
    backends.clear_all(leased::break_off);
    auto rested = co_await home().sleep_for(100ms);
    CO_ASSERT_OK(rested);
    EXPECT_TRUE(*done);
    EXPECT_EQ(backends.totals().active, 0U);
    EXPECT_EQ(backends.totals().closed(close_reason::cleared), 1U);
  });
}

TEST_F(sim_pool_edges, what_was_kept_for_a_waiter_is_not_lent_after_a_clear) {
  const endpoint to = add_peer("10.0.0.1");
  configure({.max_connections_per_endpoint = 1});
  caller& held = hold(to);
  const std::uint64_t before = (*held.got)->id();
  const caller& waiting = call(to, {.timeout = 1s});
  pass(5ms);
  held.got->release();
  backends().clear_all();  // the waiter has been chosen, and has not run
  expect_served_by_another(waiting, before);
}

TEST_F(sim_pool_edges, what_was_kept_of_a_shared_connection_is_not_lent_after_a_break_off) {
  const endpoint to = add_peer("10.0.0.1");
  configure({.max_connections_per_endpoint = 1}, sharing{});
  caller& one = hold(to);
  caller& other = hold(to);
  const std::uint64_t before = (*one.got)->id();
  const caller& waiting = call(to, {.timeout = 1s});
  pass(5ms);
  one.got->release();
  other.got->release();
  backends().clear_all(leased::break_off);
  expect_served_by_another(waiting, before);
}

TEST_F(sim_pool_edges, two_who_warm_the_same_endpoint_share_what_stands) {
  const endpoint to = add_peer("10.0.0.1");
  pool& backends = configure({.max_connections_per_endpoint = 4});
  live([&]() -> task<void> {
    const std::shared_ptr<bool> other = here().start([&]() -> task<void> {
      auto warmed = co_await backends.warm(to, 3, 1s);
      EXPECT_TRUE(warmed);
    });
    auto warmed = co_await backends.warm(to, 3, 1s);
    EXPECT_TRUE(warmed);
    co_await home().yield();
    EXPECT_TRUE(*other);
  });
  EXPECT_EQ(backends.totals().created, 3U);
}

TEST_F(sim_pool_edges, a_place_that_no_caller_needs_goes_to_who_warms) {
  const endpoint one = add_peer("10.0.0.1");
  const endpoint other = add_peer("10.0.0.2");
  pool& backends = configure({.max_connections = 1});
  caller& held = hold(one);
  const std::shared_ptr<bool> done = here().start([&]() -> task<void> {
    auto warmed = co_await backends.warm(other, 1, 1s);
    EXPECT_TRUE(warmed);
  });
  pass(5ms);
  held.got->discard();
  pass(100ms);
  EXPECT_TRUE(*done);
}

}  // namespace
}  // namespace conpool::sim

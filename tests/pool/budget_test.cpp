// max_connections, the cap over all endpoints: which endpoint gives up a slot, and which gets it.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class budgets : public pool_fixture {
 protected:
  void budget(std::uint32_t most, validation_policy policy = validation_policy::watch) {
    pool_config config;
    config.max_connections = most;
    config.validation = policy;
    configure(config);
  }
  std::uint32_t idle_at(const endpoint& to) {
    const auto there = backends().stats(to);
    return there ? there->idle : 0;
  }
  std::uint32_t open() {
    const pool_stats now = totals();
    return now.active + now.idle + now.connecting + now.closing;
  }
  // Which of them are served, as a word of their initials.
  static std::string served(const std::vector<std::pair<char, caller*>>& all) {
    std::string word;
    for (const auto& [name, one] : all) {
      if (one->served()) word += name;
    }
    return word;
  }
};

TEST_F(budgets, T53_the_idle_connection_used_longest_ago_is_evicted) {
  // Watched idle connections end in a later turn, others at once. Both must be counted right.
  for (const auto policy :
       {validation_policy::watch, validation_policy::probe, validation_policy::none}) {
    SCOPED_TRACE(to_string(policy));
    budget(3, policy);
    echo_server& b = add_server();
    echo_server& c = add_server();
    lease coldest = hold();
    lease warmer = hold();
    lease warmest = hold(b.at());
    coldest.release();
    pass(1s);
    warmer.release();
    pass(1s);
    warmest.release();
    ASSERT_EQ(totals().idle, 3U);

    lease first = hold(c.at());
    EXPECT_EQ(idle_at(server().at()), 1U);
    EXPECT_EQ(idle_at(b.at()), 1U) << "it was not the coldest";
    EXPECT_EQ(closed(close_reason::evicted), 1U);
    lease second = hold(c.at());
    EXPECT_EQ(idle_at(server().at()), 0U);
    EXPECT_EQ(idle_at(b.at()), 1U);
    pass(1s);
    lease third = hold(c.at());
    EXPECT_EQ(idle_at(b.at()), 0U);
    EXPECT_EQ(closed(close_reason::evicted), 3U) << "one for each that was needed";
    EXPECT_EQ(totals().created, 6U);
    EXPECT_EQ(open(), 3U);
    // The same the other way round, again and again: a closed connection is not counted any more.
    for (int round = 0; round < 5; ++round) {
      first.release();
      pass(1s);  // else it would be of use to its own endpoint, and not taken for one that has some
      first = hold(round % 2 == 0 ? b.at() : c.at());
      EXPECT_EQ(open(), 3U);
    }
  }
}

TEST_F(budgets, T53_a_fresh_connection_evicts_even_an_idle_one_of_its_own_endpoint) {
  budget(1);
  hold().release();
  lease fresh = hold(server().at(), {.fresh = true});
  EXPECT_FALSE(fresh.reused());
  EXPECT_EQ(closed(close_reason::evicted), 1U);
}

TEST_F(budgets, T53_idle_connections_are_evicted_only_for_callers) {
  pool_config config;
  config.max_connections = 2;
  config.min_idle_per_endpoint = 1;
  config.refill_jitter = 0ms;
  configure(config);
  echo_server& b = add_server();
  echo_server& c = add_server();
  hold().release();
  hold(b.at()).release();
  ASSERT_TRUE(until([&] { return idle_at(server().at()) == 1 && idle_at(b.at()) == 1; }));
  const std::uint64_t before = closed(close_reason::evicted);
  // The floor of a third endpoint takes no slot from the others.
  const endpoint_handle third = backends().handle(c.at());
  pass(1s);
  EXPECT_EQ(idle_at(c.at()), 0U);
  EXPECT_EQ(closed(close_reason::evicted), before);
}

TEST_F(budgets, T54_callers_of_all_endpoints_are_served_in_the_order_they_came) {
  budget(2);
  echo_server& b = add_server();
  echo_server& c = add_server();
  lease one = hold();
  lease two = hold();
  // Callers of three endpoints, in this order: b, a, c, a. Those of `a` could use what comes back.
  std::vector<std::pair<char, caller*>> all;
  all.emplace_back('b', &call(b.at()));
  settle();
  all.emplace_back('a', &call());
  settle();
  all.emplace_back('c', &call(c.at()));
  settle();
  all.emplace_back('A', &call());
  settle();
  ASSERT_EQ(served(all), "");
  ASSERT_EQ(totals().waiting, 4U);

  one.release();
  ASSERT_TRUE(until([&] { return !served(all).empty(); }));
  settle();
  EXPECT_EQ(served(all), "b") << "it came first, at whichever endpoint";
  two.release();
  ASSERT_TRUE(until([&] { return served(all).size() == 2; }));
  settle();
  EXPECT_EQ(served(all), "ba");
  EXPECT_TRUE(all[1].second->got->reused()) << "its turn, and no need to dial";
  all[1].second->got->release();
  ASSERT_TRUE(until([&] { return served(all).size() == 3; }));
  settle();
  EXPECT_EQ(served(all), "bac");
  all[0].second->got->release();
  ASSERT_TRUE(until([&] { return served(all).size() == 4; }));
  EXPECT_LE(open(), 2U);
}

TEST_F(budgets, T54_a_stream_of_callers_starves_no_other_endpoint) {
  budget(1);
  echo_server& b = add_server();
  lease held = hold();
  caller* current = &call();
  settle();
  caller& other = call(b.at());
  settle();
  // At each return a caller of the first endpoint is waiting, who came after the other one.
  for (int round = 0; round < 3 && !other.ended; ++round) {
    caller& behind = call();
    settle();
    held.release();
    ASSERT_TRUE(until([&] { return current->ended || other.ended; }));
    if (!current->ended) break;
    held = std::move(*current->got);
    current = &behind;
  }
  ASSERT_TRUE(until([&] { return other.ended; })) << "it was passed by those who came later";
  ASSERT_TRUE(other.served());
  other.got->release();
  EXPECT_TRUE(until([&] { return current->served(); }));
}

TEST_F(budgets, T54_a_blocked_endpoint_holds_up_nobody) {
  pool_config config;
  config.max_connections = 2;
  config.max_connections_per_endpoint = 1;
  config.breaker_failures = 0;
  config.connect_backoff_min = 5s;
  configure(config);
  echo_server& b = add_server();
  // The first in line is at its endpoint's own limit, so a free slot does not help it.
  lease held = hold();
  lease second = hold(b.at());
  caller& blocked = call();
  settle();
  echo_server& c = add_server();
  caller& behind = call(c.at());
  settle();
  ASSERT_FALSE(blocked.ended || behind.ended);
  second.release();
  ASSERT_TRUE(until([&] { return behind.ended; })) << "it stood behind one that cannot move";
  EXPECT_TRUE(behind.served());
  EXPECT_FALSE(blocked.ended);
  held.release();
  EXPECT_TRUE(until([&] { return blocked.served(); }));
}

TEST_F(budgets, T54_an_endpoint_that_backs_off_takes_no_slot_from_others) {
  pool_config config;
  config.max_connections = 1;
  config.breaker_failures = 0;
  config.acquire_timeout = 1h;
  config.connect_backoff_min = 1h;
  config.connect_backoff_max = 1h;
  configure(config);
  const endpoint nobody = endpoint::parse("unix:@conpool-test-nobody-listens").value();
  caller& failing = call(nobody);
  ASSERT_TRUE(until([&] { return failing.ended; }));
  EXPECT_EQ(failing.failure(), errc::connect_failed);
  caller& backs_off = call(nobody);
  settle();
  lease held = hold();
  caller& behind = call();
  settle();
  held.release();
  ASSERT_TRUE(until([&] { return behind.ended; }));
  ASSERT_TRUE(behind.served());
  EXPECT_TRUE(behind.got->reused()) << "it was closed for one that cannot use its place";
  EXPECT_FALSE(backs_off.ended);
  EXPECT_EQ(closed(close_reason::evicted), 0U);
}

TEST_F(budgets, T54_an_endpoint_that_may_not_dial_now_takes_no_slot_from_others) {
  pool_config config;
  config.max_connections = 2;
  config.max_connecting_per_endpoint = 1;
  configure(config);
  echo_server& b = add_server();
  lease one = hold();
  lease two = hold();
  caller& first = call(b.at());
  caller& second = call(b.at());
  settle();
  caller& behind = call();
  settle();
  one.release();  // its place goes to b, which may dial once at a time
  while (backends().stats(b.at())->connecting == 0) home().run_once(duration::zero());
  two.release();
  settle();
  ASSERT_TRUE(until([&] { return first.ended && behind.ended; }));
  ASSERT_TRUE(behind.served());
  EXPECT_TRUE(behind.got->reused()) << "it was closed for one that cannot use its place";
  EXPECT_EQ(closed(close_reason::evicted), 1U);
  EXPECT_FALSE(second.ended);
  behind.got->release();
  settle();
  EXPECT_FALSE(second.ended) << "b has a connection, and this one was in use a moment ago";
  pass(1s);
  EXPECT_TRUE(until([&] { return second.served(); }));
}

TEST_F(budgets, T54_a_caller_who_leaves_the_line_holds_up_nobody) {
  budget(1);
  echo_server& b = add_server();
  echo_server& c = add_server();
  lease held = hold();
  caller& leaves = call(b.at(), {.timeout = 1s});
  settle();
  caller& stays = call(c.at());
  settle();
  pass(1s);
  EXPECT_EQ(leaves.failure(), errc::acquire_timeout);
  EXPECT_TRUE(says(leaves.got.error(), "max_connections of the pool are open"))
      << leaves.got.error().message();
  held.release();
  ASSERT_TRUE(until([&] { return stays.served(); }));
  EXPECT_EQ(b.accepted(), 0U);
  stays.got->release();
  // The shortage is over: what comes back becomes idle again.
  settle();
  EXPECT_EQ(totals().idle, 1U);
}

TEST_F(budgets, many_endpoints_under_a_small_budget_are_all_served) {
  budget(3);
  std::vector<endpoint> all{server().at()};
  for (int i = 0; i < 9; ++i) all.push_back(add_server().at());
  scope clients(home());
  unsigned served = 0;
  unsigned most = 0;
  for (unsigned i = 0; i < 100; ++i) {
    clients.spawn([&, i]() -> task<void> {
      auto got = co_await backends().acquire(all[(i * 7) % all.size()]);
      CO_ASSERT_OK(got);
      most = std::max(most, open());
      auto talk = exchange(**got, "x");
      auto answer = co_await talk;
      CO_ASSERT_OK(answer);
      ++served;
    });
  }
  ASSERT_TRUE(run([&]() -> task<void> { co_await clients.join(); }));
  EXPECT_EQ(served, 100U);
  EXPECT_LE(most, 3U);
}

}  // namespace
}  // namespace conpool::test

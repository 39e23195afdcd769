// acquire_options one by one, and what an acquire fails with.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class acquires_with_options : public pool_fixture {
 protected:
  // An acquire through an endpoint or through a handle.
  task<result<lease>> acquire(bool with_handle, acquire_options options) {
    if (with_handle) {
      const endpoint_handle there = backends().handle(server().at());
      auto got = co_await backends().acquire(there, options);
      co_return std::move(got);
    }
    auto got = co_await backends().acquire(server().at(), options);
    co_return std::move(got);
  }
  std::optional<result<lease>> outcome_of(bool with_handle, const acquire_options& options) {
    std::optional<result<lease>> got;
    EXPECT_TRUE(run([&]() -> task<void> {
      auto work = acquire(with_handle, options);
      auto outcome = co_await work;
      got.emplace(std::move(outcome));
    }));
    return got;
  }
};

TEST_F(acquires_with_options, try_only_takes_what_is_idle_and_begins_nothing) {
  for (const bool with_handle : {false, true}) {
    cap(2);
    auto none = outcome_of(with_handle, {.try_only = true});
    ASSERT_TRUE(none && !*none);
    EXPECT_EQ(none->error(), errc::none_idle);
    settle();
    EXPECT_EQ(totals().created, 0U) << "it began a connect";
    hold().release();
    auto idle = outcome_of(with_handle, {.try_only = true});
    ASSERT_TRUE(idle && *idle);
    EXPECT_TRUE((*idle)->reused());
    auto both = outcome_of(with_handle, {.try_only = true, .fresh = true});
    ASSERT_TRUE(both && !*both);
    EXPECT_EQ(both->error(), errc::none_idle);
    EXPECT_EQ(totals().created, 1U);
  }
}

TEST_F(acquires_with_options, fresh_is_never_what_was_lent_before) {
  for (const bool with_handle : {false, true}) {
    cap(2);
    hold().release();
    auto fresh = outcome_of(with_handle, {.fresh = true});
    ASSERT_TRUE(fresh && *fresh);
    EXPECT_FALSE((*fresh)->reused());
    EXPECT_EQ(totals().idle, 1U) << "there was room: the idle one stays";
    // At the limit, the idle connection is closed to make room.
    auto second = outcome_of(with_handle, {.fresh = true});
    ASSERT_TRUE(second && *second);
    EXPECT_FALSE((*second)->reused());
    EXPECT_EQ(closed(close_reason::evicted), 1U);
  }
}

TEST_F(acquires_with_options, fresh_takes_the_place_of_what_comes_back_when_it_is_its_turn) {
  cap(1);
  lease held = hold();
  caller& fresh = call(server().at(), {.fresh = true});
  caller& behind = call();
  settle();
  held.release();
  ASSERT_TRUE(until([&] { return fresh.ended; }));
  ASSERT_TRUE(fresh.served());
  EXPECT_FALSE(fresh.got->reused());
  EXPECT_EQ(closed(close_reason::evicted), 1U);
  EXPECT_FALSE(behind.ended) << "nobody passes";
  fresh.got->release();
  ASSERT_TRUE(until([&] { return behind.served(); }));
  EXPECT_TRUE(behind.got->reused());
}

TEST_F(acquires_with_options, fresh_takes_what_was_warmed) {
  cap(2);
  ASSERT_TRUE(run([&]() -> task<void> {
    auto work = backends().warm(server().at(), 1);
    auto warmed = co_await work;
    CO_ASSERT_OK(warmed);
  }));
  lease fresh = hold(server().at(), {.fresh = true});
  EXPECT_FALSE(fresh.reused());
  EXPECT_EQ(totals().created, 1U) << "a connection that was never lent was there";
}

TEST_F(acquires_with_options, the_sooner_of_timeout_and_deadline_holds) {
  cap(1, 5);
  lease held = hold();
  const time_point now = home().now();
  caller& by_timeout = call(server().at(), {.timeout = 1s, .deadline = now + 2s});
  caller& by_deadline = call(server().at(), {.timeout = 9s, .deadline = now + 2s});
  caller& deadline_alone = call(server().at(), {.deadline = now + 3s});
  caller& far_deadline = call(server().at(), {.deadline = now + 1h});
  caller& long_timeout = call(server().at(), {.timeout = 8s});
  settle();
  const std::array all{&by_timeout, &by_deadline, &deadline_alone, &far_deadline, &long_timeout};
  // The pool's own acquire_timeout is 5 s.
  const std::array<duration, 5> ends{1s, 2s, 3s, 5s, 8s};
  duration passed{0};
  for (std::size_t i = 0; i < all.size(); ++i) {
    pass(ends[i] - passed - 1ms);
    EXPECT_FALSE(all[i]->ended) << i << " ended early";
    pass(1ms);
    passed = ends[i];
    EXPECT_EQ(all[i]->failure(), errc::acquire_timeout) << i;
  }
  EXPECT_EQ(totals().acquire_timeouts, 5U);
}

TEST_F(acquires_with_options, a_deadline_that_has_passed_still_takes_an_idle_connection) {
  for (const bool with_handle : {false, true}) {
    cap(1);
    const acquire_options late{.deadline = home().now() - 1s};
    hold().release();
    auto idle = outcome_of(with_handle, late);
    ASSERT_TRUE(idle && *idle);
    caller& waits = call(server().at(), late);
    settle();
    pass(2ms);  // a tick of the wheel
    EXPECT_EQ(waits.failure(), errc::acquire_timeout);
  }
}

TEST_F(acquires_with_options, high_priority_is_served_before_all_others_and_in_order) {
  cap(1);
  lease held = hold();
  std::array<caller*, 4> in_order{};
  in_order[2] = &call();
  settle();
  in_order[0] = &call(server().at(), {.priority = acquire_priority::high});
  settle();
  in_order[3] = &call();
  settle();
  in_order[1] = &call(server().at(), {.priority = acquire_priority::high});
  settle();
  held.release();
  for (std::size_t i = 0; i < in_order.size(); ++i) {
    settle();
    for (std::size_t j = 0; j < in_order.size(); ++j) EXPECT_EQ(in_order[j]->ended, j <= i);
    in_order[i]->got->release();
  }
}

TEST_F(acquires_with_options,
       T76_an_acquire_within_a_lease_at_a_cap_of_one_times_out_and_says_why) {
  cap(1);
  errc inner{};
  std::string text;
  bool ended = false;
  start(
      [&]() -> task<void> {
        auto outer = co_await backends().acquire(server().at());
        CO_ASSERT_OK(outer);
        auto nested = co_await backends().acquire(server().at());
        if (!nested) {
          inner = nested.error().kind();
          text = nested.error().message();
        }
      },
      ended);
  ASSERT_TRUE(until([&] { return totals().active == 1 && totals().waiting == 1; }));
  pass(4999ms);
  EXPECT_FALSE(ended);
  pass(1ms);
  ASSERT_TRUE(ended) << "a deadlock";
  EXPECT_EQ(inner, errc::acquire_timeout);
  EXPECT_NE(text.find("all connections were in use; 1 leased"), std::string::npos) << text;
  EXPECT_EQ(totals().idle, 1U) << "and afterwards all is well";
}

TEST_F(acquires_with_options, each_failure_of_an_acquire_is_a_distinct_error_code_with_text) {
  const std::array all{errc::acquire_timeout, errc::queue_full,        errc::pool_closed,
                       errc::pool_paused,     errc::breaker_open,      errc::cancelled,
                       errc::connect_failed,  errc::connect_timeout,   errc::resolve_failed,
                       errc::none_idle,       errc::deadline_exceeded, errc::shard_stopped,
                       errc::unsupported,     errc::too_many_files,    errc::resolve_timeout};
  std::set<std::string> texts;
  std::set<int> values;
  for (const errc one : all) {
    const std::error_code code = one;  // NOLINT: the conversion is what is tested
    EXPECT_EQ(code, one);
    EXPECT_EQ(&code.category(), &error_category());
    EXPECT_FALSE(code.message().empty());
    texts.insert(code.message());
    values.insert(code.value());
  }
  EXPECT_EQ(texts.size(), all.size());
  EXPECT_EQ(values.size(), all.size());
  EXPECT_EQ(values.count(0), 0U);
}

TEST_F(acquires_with_options, a_failed_acquire_says_what_where_and_why) {
  const endpoint nobody = endpoint::parse("unix:@conpool-test-nobody-listens").value();
  pool_config config;
  config.max_connections_per_endpoint = 1;
  config.max_waiters_per_endpoint = 1;
  config.breaker_failures = 2;
  config.connect_backoff_min = 2s;
  configure(config);

  const error failed = refused(nobody);
  EXPECT_EQ(failed, errc::connect_failed);
  EXPECT_EQ(failed.where(), phase::connect);
  EXPECT_EQ(failed.subject(), nobody.text());
  EXPECT_EQ(failed.system_errno(), ECONNREFUSED);

  caller& waits = call(nobody, {.timeout = 1ms});
  settle();
  const error full = refused(nobody);
  EXPECT_EQ(full, errc::queue_full);
  EXPECT_TRUE(says(full, "max_waiters_per_endpoint")) << full.message();
  pass(1ms);
  if (waits.failure() == errc::acquire_timeout) {
    const error& late = waits.got.error();
    EXPECT_EQ(late.where(), phase::acquire);
    EXPECT_TRUE(says(late, "0 leased, 0 idle, 0 connecting")) << late.message();
    EXPECT_TRUE(says(late, "last failed connect")) << late.message();
    EXPECT_TRUE(says(late, "ECONNREFUSED")) << late.message();
  } else {
    // The backoff that was drawn is shorter than the caller's timeout.
    EXPECT_EQ(waits.failure(), errc::connect_failed);
  }
  caller* last = nullptr;
  for (int i = 0; i < 10 && !backends().stats(nobody)->breaker_open; ++i) {
    last = &call(nobody);
    settle();
    pass(5s);
  }
  ASSERT_TRUE(backends().stats(nobody)->breaker_open);
  const error open = refused(nobody);
  EXPECT_EQ(open, errc::breaker_open);
  EXPECT_TRUE(says(open, "ECONNREFUSED")) << open.message();
  EXPECT_GE(open.attempts(), 2U);
  EXPECT_TRUE(last == nullptr || last->ended);
}

TEST_F(acquires_with_options, a_caller_whose_context_is_over_is_refused_and_counted) {
  cap(1);
  lease held = hold();
  errc why{};
  bool ended = false;
  start(
      [&]() -> task<void> {
        auto work = acquire(false, {});
        auto got = co_await with_timeout(home(), 1ms, std::move(work));
        if (!got) why = got.error().kind();
      },
      ended);
  settle();
  pass(1ms);
  ASSERT_TRUE(ended);
  EXPECT_EQ(why, errc::deadline_exceeded);
  EXPECT_EQ(totals().acquires_cancelled, 1U);
  EXPECT_EQ(totals().waiting, 0U);
}

TEST_F(acquires_with_options, a_tls_endpoint_is_never_lent_in_the_clear_through_a_handle_either) {
  const endpoint to = endpoint::parse("tls://" + server().at().text().substr(6)).value();
  const endpoint_handle there = backends().handle(to);
  ASSERT_TRUE(run([&]() -> task<void> {
    auto got = co_await backends().acquire(there);
    EXPECT_FALSE(got) << "a server that only echoes cannot have shaken hands";
    if (!got) {
      EXPECT_TRUE(got.error().where() == phase::handshake || got.error() == errc::unsupported)
          << got.error().message();
    }
  }));
}

TEST_F(acquires_with_options, a_lease_counts_its_own_bytes_and_knows_whether_it_was_lent_before) {
  lease first = hold();
  EXPECT_FALSE(first.reused());
  EXPECT_EQ(first->uses(), 1U);
  EXPECT_TRUE(works(first));
  EXPECT_TRUE(works(first));
  EXPECT_EQ(first->bytes_sent(), 10U);
  EXPECT_EQ(first->bytes_received(), 10U);
  first.release();
  lease second = hold();  // a hit
  EXPECT_TRUE(second.reused());
  EXPECT_EQ(second->uses(), 2U);
  EXPECT_EQ(second->bytes_sent(), 0U);
  EXPECT_EQ(second->bytes_received(), 0U);
  EXPECT_TRUE(works(second));
  cap(1);
  lease held = hold();
  EXPECT_TRUE(works(held));
  caller& waiting = call();
  settle();
  held.release();  // handed over
  ASSERT_TRUE(until([&] { return waiting.served(); }));
  EXPECT_TRUE(waiting.got->reused());
  EXPECT_EQ((*waiting.got)->bytes_sent(), 0U);
  EXPECT_EQ((*waiting.got)->bytes_received(), 0U);
}

}  // namespace
}  // namespace conpool::test

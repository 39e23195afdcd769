// The leak detector reports a lease that is held too long, once, with the line of its acquire.
#include <gtest/gtest.h>

#include <chrono>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class leaks : public pool_fixture {
 protected:
  struct told {
    pool_event_kind kind;
    std::uint64_t connection;
    duration held;
    unsigned line;
    std::string file;
  };
  void detect(duration threshold) {
    pool_config config;
    config.leak_threshold = std::chrono::duration_cast<std::chrono::milliseconds>(threshold);
    configure(config);
    listen();
  }
  void listen() {
    backends().observe([this](const pool_event& event) {
      if (event.kind != pool_event_kind::leak_suspected &&
          event.kind != pool_event_kind::leak_returned) {
        return;
      }
      events_.push_back(
          {event.kind, event.connection, event.held, event.where.line(), event.where.file_name()});
    });
  }
  // A lease, and the line where it was acquired.
  std::pair<lease, unsigned> acquire_here() {
    lease held;
    unsigned line = 0;
    // This must not stand in a macro, where every line has the number of the first.
    const bool ended = run([&]() -> task<void> {
      line = std::source_location::current().line();
      auto one = co_await backends().acquire(server().at());
      CO_ASSERT_OK(one);
      held = std::move(*one);
    });
    EXPECT_TRUE(ended);
    return {std::move(held), line};
  }

  std::vector<told> events_;
};

TEST_F(leaks, T74_a_lease_kept_too_long_is_reported_once_with_its_location) {
  detect(10s);
  hold().release();  // then the next one is a hit: those are told of, too
  auto [held, line] = acquire_here();
  const std::uint64_t id = held->id();
  pass(9999ms);
  EXPECT_TRUE(events_.empty());
  pass(1ms);
  ASSERT_EQ(events_.size(), 1U);
  EXPECT_EQ(events_[0].kind, pool_event_kind::leak_suspected);
  EXPECT_EQ(events_[0].connection, id);
  EXPECT_EQ(events_[0].held, 10s);
  EXPECT_EQ(events_[0].line, line + 1);
  EXPECT_NE(events_[0].file.find("leak_test.cpp"), std::string::npos);
  EXPECT_EQ(totals().leaks, 1U);
  pass(1h);
  EXPECT_EQ(events_.size(), 1U) << "once";

  configure({});  // the pool is gone; who has the lease may find it again
  held.release();
  settle();
  ASSERT_EQ(events_.size(), 2U);
  EXPECT_EQ(events_[1].kind, pool_event_kind::leak_returned);
  EXPECT_EQ(events_[1].connection, id);
  EXPECT_EQ(events_[1].held, 10s + 1h);
  EXPECT_EQ(events_[1].line, line + 1);
}

TEST_F(leaks, T74_each_lease_is_reported_once_in_the_order_of_the_acquires) {
  detect(10s);
  auto [first, first_line] = acquire_here();
  pass(3s);
  auto second = hold();
  auto third = hold();
  const std::uint64_t third_id = third->id();
  third.release();  // in time
  pass(7s);
  ASSERT_EQ(events_.size(), 1U);
  EXPECT_EQ(events_[0].connection, first->id());
  pass(3s);
  ASSERT_EQ(events_.size(), 2U);
  EXPECT_EQ(events_[1].connection, second->id());
  // The same connection again is another lease.
  first.release();
  settle();
  EXPECT_EQ(events_.back().kind, pool_event_kind::leak_returned);
  lease again = hold();
  EXPECT_NE(again->id(), third_id);
  pass(10s);
  EXPECT_EQ(events_.back().kind, pool_event_kind::leak_suspected);
  EXPECT_EQ(events_.back().held, 10s);
  EXPECT_EQ(totals().leaks, 3U);
  EXPECT_GT(first_line, 0U);
}

TEST_F(leaks, T74_the_time_of_a_waiters_lease_begins_when_it_is_served) {
  pool_config config;
  config.max_connections_per_endpoint = 1;
  config.leak_threshold = 3s;
  config.acquire_timeout = 1h;
  configure(config);
  listen();
  lease held = hold();
  caller& waiting = call();
  pass(2s);
  held.release();
  ASSERT_TRUE(until([&] { return waiting.served(); }));
  pass(2s);
  EXPECT_TRUE(events_.empty());
  pass(1s);
  ASSERT_EQ(events_.size(), 1U);
  EXPECT_EQ(events_[0].held, 3s);
}

TEST_F(leaks, the_detector_may_be_switched_off_and_on_while_leases_are_out) {
  detect(10s);
  lease before = hold();
  lease reported = hold();
  pass(5s);
  before.release();
  before = hold();
  pass(5s);
  ASSERT_EQ(events_.size(), 1U);
  pool_config config = backends().config();
  config.leak_threshold = 0ms;
  ASSERT_TRUE(backends().reconfigure(config));
  pass(1h);
  EXPECT_EQ(events_.size(), 1U) << "nobody asked for it any more";
  backends().observe({});
  before.release();  // the short way
  lease between = hold();
  config.leak_threshold = 10s;
  ASSERT_TRUE(backends().reconfigure(config));
  listen();
  reported.release();
  lease after = hold();
  pass(10s);
  ASSERT_EQ(events_.size(), 2U) << "what was lent in between is not known";
  EXPECT_EQ(events_[1].connection, after->id());
  between.release();
  after.release();
}

}  // namespace
}  // namespace conpool::test

// How a pool ends: drain, late returns, a handle that is used afterwards.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <optional>
#include <utility>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class drain : public pool_fixture {
 protected:
  using outcome = std::optional<result<drain_report>>;
  void begin_drain(duration within, outcome& into) {
    home().spawn(
        [](drain* self, duration time, outcome* made) -> task<void> {
          auto work = self->backends().drain(time);
          auto report = co_await work;
          made->emplace(std::move(report));
        },
        this, within, &into);
    settle();
  }
};

TEST_F(drain, T43_a_drain_waits_and_then_forces_and_its_report_is_exact) {
  pool_config config;
  config.max_connections_per_endpoint = 4;
  config.leak_threshold = 1h;  // so that the report knows who has it
  configure(config);
  lease returns = hold();
  lease stays = hold();
  lease reads = hold();
  hold().release();
  pass(2s);
  lease fourth = hold();
  caller& waiting = call();
  settle();
  ASSERT_EQ(totals().waiting, 1U);
  outcome drained;
  home().spawn([&]() -> task<void> {
    fourth.release();  // it is the waiter's now, who runs after this
    auto work = backends().drain(10s);
    auto report = co_await work;
    drained.emplace(std::move(report));
  });
  result<std::size_t> read = 0U;
  bool read_ended = false;
  std::array<char, 8> into{};
  start([&]() -> task<void> { read = co_await reads->read(std::span<char>(into)); }, read_ended);
  settle();
  EXPECT_FALSE(drained) << "it waits for the leases";
  EXPECT_EQ(refused(server().at()), errc::pool_closed) << "and lends no more";
  EXPECT_TRUE(works(stays)) << "who has one may go on";
  pass(4s);
  returns.release();
  pass(5s);
  EXPECT_FALSE(drained);
  EXPECT_FALSE(read_ended);

  pass(1s);
  ASSERT_TRUE(until([&] { return drained && read_ended; }));
  ASSERT_TRUE(*drained) << drained->error().message();
  const drain_report& report = **drained;
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error(), errc::connection_closed);
  ASSERT_EQ(report.forced.size(), 2U);
  for (const forced_lease& one : report.forced) {
    EXPECT_EQ(one.endpoint, server().at().text());
    EXPECT_TRUE(one.connection == stays->id() || one.connection == reads->id());
    EXPECT_EQ(one.held, 12s);
    EXPECT_NE(std::string(one.where.file_name()).find("pool_fixture"), std::string::npos);
  }
  EXPECT_EQ(report.returned, 1U) << "what was only handed over was no lease";
  EXPECT_EQ(report.waiters_failed, 1U) << "and its waiter waited still";
  EXPECT_EQ(waiting.failure(), errc::pool_closed);
  EXPECT_EQ(totals().active, 2U);
  stays.release();
  reads.release();
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(closed(close_reason::forced), 2U);
}

TEST_F(drain, T43_a_drain_forces_nobody_who_came_back_in_time) {
  lease first = hold();
  lease second = hold();
  hold().release();
  outcome drained;
  begin_drain(10s, drained);
  first.release();
  pass(1s);
  EXPECT_FALSE(drained);
  second.release();
  ASSERT_TRUE(until([&] { return drained.has_value(); }));
  ASSERT_TRUE(*drained);
  EXPECT_EQ((*drained)->returned, 2U) << "the idle one was nobody's";
  EXPECT_TRUE((*drained)->forced.empty());
  EXPECT_EQ((*drained)->waiters_failed, 0U);
  EXPECT_EQ(totals().created, totals().closed());
}

TEST_F(drain, a_drain_that_is_cancelled_forces_nothing) {
  lease held = hold();
  outcome drained;
  scope leaving(home());
  leaving.spawn([&]() -> task<void> {
    auto work = backends().drain(10s);
    auto report = co_await work;
    drained.emplace(std::move(report));
  });
  settle();
  leaving.cancel();
  ASSERT_TRUE(run([&]() -> task<void> { co_await leaving.join(); }));
  ASSERT_TRUE(drained);
  ASSERT_FALSE(*drained);
  EXPECT_EQ(drained->error(), errc::cancelled);
  EXPECT_TRUE(works(held));
  EXPECT_TRUE(backends().closed()) << "it lends no more all the same";
}

TEST_F(drain, a_drain_of_zero_forces_at_once_and_a_second_one_finds_what_is_left) {
  lease held = hold();
  outcome first;
  begin_drain(duration::zero(), first);
  pass(1ms);
  ASSERT_TRUE(until([&] { return first.has_value(); }));
  ASSERT_TRUE(*first);
  EXPECT_EQ((*first)->forced.size(), 1U);
  EXPECT_EQ((*first)->returned, 0U);
  held.release();
  outcome second;
  begin_drain(1s, second);
  ASSERT_TRUE(until([&] { return second.has_value(); }));
  ASSERT_TRUE(*second);
  EXPECT_TRUE((*second)->forced.empty());
  EXPECT_EQ((*second)->returned, 0U);
}

TEST_F(drain, T45_a_connection_released_after_the_close_is_closed) {
  lease held = hold();
  lease kept = hold();
  ASSERT_TRUE(run([this]() -> task<void> {
    auto closed = co_await backends().close();
    EXPECT_TRUE(closed);
  }));
  EXPECT_EQ(totals().active, 2U);
  EXPECT_TRUE(works(held)) << "a close takes nothing from who has it";
  held.release();
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(totals().idle, 0U) << "a late return must not become idle";
  EXPECT_EQ(closed(close_reason::pool_closed), 1U);
  configure({});  // the pool itself is gone now
  EXPECT_TRUE(works(kept));
  kept.release();
  settle();
  EXPECT_EQ(totals().created, 0U) << "and it is none of the new pool's";
}

TEST_F(drain, a_handle_made_of_or_after_a_closed_pool_is_refused) {
  const endpoint_handle before = backends().handle(server().at());
  ASSERT_TRUE(run([this]() -> task<void> {
    auto closed = co_await backends().close();
    EXPECT_TRUE(closed);
  }));
  echo_server& other = add_server();
  const endpoint_handle after = backends().handle(other.at());
  ASSERT_TRUE(run([&]() -> task<void> {
    auto one = co_await backends().acquire(before);
    EXPECT_FALSE(one);
    EXPECT_EQ(one.error(), errc::pool_closed);
    auto two = co_await backends().acquire(after);
    EXPECT_FALSE(two);
    EXPECT_EQ(two.error(), errc::pool_closed);
  }));
  EXPECT_EQ(totals().created, 0U);
  EXPECT_EQ(other.accepted(), 0U);
}

}  // namespace
}  // namespace conpool::test

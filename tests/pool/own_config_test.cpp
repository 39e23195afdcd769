// Endpoints that have a configuration of their own, and endpoints that a tag keeps apart.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class own_config : public pool_fixture {
 protected:
  // Gives the server's endpoint limits of its own.
  void limit(std::uint32_t connections) {
    pool_config own = backends().config(server().at());
    own.max_connections_per_endpoint = connections;
    ASSERT_OK(backends().configure(server().at(), own));
  }
  // How long a read waits for a server that does not answer.
  duration read_ends_after(lease& held, duration step, unsigned steps) {
    bool ended = false;
    start(
        [&]() -> task<void> {
          std::array<std::byte, 1> got{};
          auto read = co_await held->read(got);
          EXPECT_FALSE(read);
        },
        ended);
    settle();
    const time_point from = home().now();
    for (unsigned i = 0; i < steps && !ended; ++i) pass(step);
    EXPECT_TRUE(ended);
    return home().now() - from;
  }
};

TEST_F(own_config, holds_for_its_endpoint_from_the_first_use_on_and_for_no_other) {
  cap(8);
  echo_server& other = add_server();
  limit(1);
  EXPECT_EQ(backends().config(server().at()).max_connections_per_endpoint, 1U);
  EXPECT_EQ(backends().config(other.at()).max_connections_per_endpoint, 8U);
  lease held = hold();
  EXPECT_EQ(refused(server().at(), {.timeout = 1ms, .try_only = true}), errc::none_idle);
  hold(8, other.at());
  caller& waiting = call();
  settle();
  EXPECT_FALSE(waiting.ended);
  held.release();
  ASSERT_TRUE(until([&] { return waiting.ended; }));
  EXPECT_OK(waiting.got);
}

TEST_F(own_config, a_change_of_the_pools_does_not_touch_it) {
  cap(8);
  limit(2);
  pool_config changed = backends().config();
  changed.max_connections_per_endpoint = 4;
  ASSERT_OK(backends().reconfigure(changed));
  hold(2);
  EXPECT_EQ(refused(server().at(), {.try_only = true}), errc::none_idle);
  caller& third = call();
  settle();
  EXPECT_FALSE(third.ended);
  EXPECT_EQ(totals().created, 2U);
  limit(3);
  ASSERT_TRUE(until([&] { return third.ended; })) << "a limit that grows serves who waits";
  EXPECT_OK(third.got);
}

TEST_F(own_config, is_taken_away_and_then_the_pools_holds_at_once) {
  cap(8);
  limit(1);
  lease held = hold();
  caller& waiting = call();
  settle();
  EXPECT_FALSE(waiting.ended);
  backends().configure_as_pool(server().at());
  EXPECT_EQ(backends().config(server().at()), backends().config());
  ASSERT_TRUE(until([&] { return waiting.ended; }));
  EXPECT_OK(waiting.got);
  backends().configure_as_pool(server().at());  // it has none, and that is no error
}

TEST_F(own_config, its_times_hold_for_connections_that_stand) {
  configure({});
  server().echo(false);
  lease held = hold();
  pool_config own = backends().config();
  own.read_timeout = 100ms;
  ASSERT_OK(backends().configure(server().at(), own));
  EXPECT_LE(read_ends_after(held, 50ms, 10), 200ms);
  lease again = hold();
  backends().configure_as_pool(server().at());
  EXPECT_GE(read_ends_after(again, 1s, 40), 30s) << "the pool's again";
}

TEST_F(own_config, outlives_the_endpoints_record) {
  configure({});
  limit(1);
  pool_config own = backends().config(server().at());
  own.max_endpoint_idle_time = 1s;
  own.max_idle_time = 500ms;
  ASSERT_OK(backends().configure(server().at(), own));
  hold().release();
  for (int i = 0; i < 10; ++i) pass(500ms);
  EXPECT_FALSE(backends().stats(server().at())) << "it was forgotten";
  lease held = hold();
  EXPECT_EQ(refused(server().at(), {.try_only = true}), errc::none_idle);
  EXPECT_EQ(backends().config(server().at()).max_connections_per_endpoint, 1U);
}

TEST_F(own_config, a_wrong_one_is_refused_and_nothing_changes) {
  configure({});
  limit(3);
  pool_config own = backends().config(server().at());
  own.max_idle_per_endpoint = 4;
  const auto wrong = backends().configure(server().at(), own);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().subject(), "max_idle_per_endpoint");
  own = {};
  own.validation = validation_policy::ping;
  EXPECT_EQ(backends().configure(server().at(), own).error(), errc::invalid_config)
      << "the protocol has no ping";
  EXPECT_EQ(backends().config(server().at()).max_connections_per_endpoint, 3U);
}

TEST_F(own_config, a_tag_keeps_connections_to_one_address_apart) {
  configure({});
  const endpoint orders = server().at().with_tag("orders").value();
  const endpoint bills = server().at().with_tag("bills").value();
  const std::uint64_t first = hold(orders)->id();
  settle();
  EXPECT_NE(hold(bills)->id(), first);
  settle();
  lease again = hold(orders);
  EXPECT_EQ(again->id(), first);
  EXPECT_EQ(again->peer().tag(), "orders");
  EXPECT_EQ(server().accepted(), 2U);
  EXPECT_EQ(backends().stats(orders)->endpoint, server().at().text() + "#orders");
  again.release();
  backends().pause(while_paused::fail);
  EXPECT_EQ(refused(bills).subject(), server().at().text() + "#bills");
}

}  // namespace
}  // namespace conpool::test

// Shared connections in situations that a real network brings about only now and then.
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include <conpool/pool/pool.h>
#include <conpool/runtime/deadline.h>
#include <conpool/runtime/scope.h>

#include <tests/sim/sim_fixture.h>
#include <tests/support/expect.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

struct multiplexing {
  struct state {};
  static constexpr std::uint32_t expected_leases = 100;
  access access_mode(const connection&, const state&) const { return access::shared(100); }
};

task<result<void>> write_all(connection& to, std::string text) {
  auto sent = co_await to.write(text);
  co_return std::move(sent);
}

using sim_shared = sim_fixture;

// One lease's write that was given up in the middle leaves half a message on the wire: whatever
// another lease sent next would be taken for its rest.
TEST_F(sim_shared, a_write_that_ended_in_the_middle_takes_the_connection_out_of_service) {
  const server& peer = net().add_server("10.0.0.1", 1000, {.window = 1000, .swallow = 1});
  const endpoint to = endpoint::parse("tcp://" + peer.address().to_string()).value();
  pool backends = pool::create(home(), {}, multiplexing{}).value();
  ASSERT_TRUE(here().run([&]() -> task<void> {
    auto first = co_await backends.acquire(to);
    CO_ASSERT_OK(first);
    auto second = co_await backends.acquire(to);
    CO_ASSERT_OK(second);
    EXPECT_EQ((*first)->id(), (*second)->id());
    auto writing = write_all(**first, std::string(100'000, 'x'));
    auto sent = co_await with_timeout(home(), 1s, std::move(writing));
    EXPECT_FALSE(sent);
    EXPECT_GT((*first)->bytes_sent(), 0U);
    first->release();
    auto third = co_await backends.acquire(to);
    CO_ASSERT_OK(third);
    EXPECT_NE((*third)->id(), (*second)->id());
  }));
  here().pass(1s);
  EXPECT_EQ(backends.totals().closed(close_reason::interrupted), 1U);
}

// The caller for whom the connect was begun gives up while it is under way: the others have it all
// the same.
TEST_F(sim_shared, T62_the_connect_of_a_cancelled_caller_serves_the_others) {
  const server& peer =
      net().add_server("10.0.0.1", 1000, {.latency_least = 50ms, .latency_most = 50ms});
  const endpoint to = endpoint::parse("tcp://" + peer.address().to_string()).value();
  pool backends = pool::create(home(), {}, multiplexing{}).value();
  std::optional<error> driver_failed;
  scope driver(home());
  driver.spawn([&]() -> task<void> {
    auto lease = co_await backends.acquire(to);
    if (!lease) driver_failed = lease.error();
  });
  here().pass(20ms);
  ASSERT_EQ(backends.totals().connecting, 1U);
  unsigned served = 0;
  scope others(home());
  for (unsigned i = 0; i < 99; ++i) {
    others.spawn([&]() -> task<void> {
      auto lease = co_await backends.acquire(to);
      CO_ASSERT_OK(lease);
      ++served;
    });
  }
  here().pass(20ms);
  driver.cancel();
  here().settle();
  ASSERT_TRUE(driver_failed);
  EXPECT_EQ(driver_failed->code(), errc::cancelled);
  EXPECT_EQ(served, 0U) << "the connect was still under way";
  here().pass(1s);
  EXPECT_EQ(served, 99U);
  EXPECT_EQ(peer.counts().connects, 1U);
  EXPECT_EQ(backends.totals().acquires_cancelled, 1U);
}

}  // namespace
}  // namespace conpool::sim

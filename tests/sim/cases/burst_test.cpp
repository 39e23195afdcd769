// More callers than connections come all at once, and connects take long.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include <tests/sim/pool_fixture.h>
#include <tests/support/expect.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

class sim_burst : public pool_fixture {
 public:
  task<void> use_again_and_again(endpoint peer, unsigned* served) {
    while (!stop_) {
      auto lent = co_await backends().acquire(peer);
      CO_ASSERT_OK(lent);
      auto used = co_await home().sleep_for(10ms);
      CO_ASSERT_OK(used);
      ++*served;
    }
  }

 protected:
  bool stop_ = false;
};

TEST_F(sim_burst, T69_a_saturated_pool_serves_at_full_rate_again) {
  const server& peer = net().add_server("10.0.0.1", 1000, takes(200ms));
  configure({.max_connections_per_endpoint = 10, .max_waiters_per_endpoint = 50});
  std::vector<unsigned> served(50);
  scope all(home());
  for (unsigned& one : served) all.spawn(&sim_burst::use_again_and_again, this, at(peer), &one);
  here().pass(1s);  // ten connects, four at a time, are through
  EXPECT_EQ(standing(), 10U);
  std::ranges::fill(served, 0U);
  here().pass(1s);
  unsigned sum = 0;
  for (const unsigned one : served) sum += one;
  // Each connection carries a lease every 10 ms, or 11 if the timer's tick falls behind it.
  EXPECT_GE(sum, 900U);
  EXPECT_LE(std::ranges::max(served) - std::ranges::min(served), 1U) << "all fare alike";
  EXPECT_EQ(totals().created, 10U) << "saturation dials nothing";
  stop_ = true;
  ASSERT_TRUE(here().run([&]() -> task<void> { co_await all.join(); }));
}

}  // namespace
}  // namespace conpool::sim

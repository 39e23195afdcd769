// A server that is down: retries, the breaker, and how soon all is well again after it is up.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <tests/sim/pool_fixture.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

class sim_outage : public pool_fixture {
 public:
  struct client {
    std::uint64_t served = 0;
    time_point last_served{};
  };

  // Asks again and again until told to stop; rests after an error.
  task<void> ask(endpoint peer, client* self) {
    while (!stop_) {
      auto lent = co_await backends().acquire(peer);
      if (!lent) {
        auto rested = co_await home().sleep_for(20ms);
        CO_ASSERT_OK(rested);
        continue;
      }
      auto sent = co_await (*lent)->write("ping");
      if (!sent) continue;
      std::array<char, 4> got{};
      auto read = co_await (*lent)->read_exactly(std::span<char>(got));
      if (!read) continue;
      ++self->served;
      self->last_served = home().now();
    }
  }

 protected:
  bool stop_ = false;
};

TEST_F(sim_outage, T16_the_pool_is_back_soon_after_an_outage) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({.max_connections_per_endpoint = 10});
  std::vector<client> clients(10);
  scope all(home());
  for (client& one : clients) all.spawn(&sim_outage::ask, this, at(peer), &one);
  here().pass(5s);
  EXPECT_EQ(standing(), 10U);
  peer.go_down(server::farewell::either);
  here().pass(5s);
  EXPECT_EQ(standing(), 0U);
  EXPECT_GT(totals().failed_fast, 1'000U) << "the breaker is open";
  peer.come_up();
  const time_point up = here().now();
  const duration bound = pool_config{}.connect_backoff_max + 100ms;
  ASSERT_TRUE(here().until(
      [&] {
        return std::ranges::all_of(clients,
                                   [&](const client& one) { return one.last_served > up; });
      },
      bound));
  here().pass(1s);
  EXPECT_EQ(standing(), 10U) << "as many as before";
  stop_ = true;
  ASSERT_TRUE(here().run([&]() -> task<void> { co_await all.join(); }));
}

TEST_F(sim_outage, T18_an_open_breaker_fails_fast_and_lets_one_connect_try) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({.breaker_failures = 3});
  peer.go_down();
  for (unsigned i = 0; i < 3; ++i) {
    const auto failed = failure_of(peer);
    ASSERT_TRUE(failed);
    EXPECT_EQ(*failed, errc::connect_failed);
  }
  EXPECT_EQ(totals().breaker_opened, 1U);
  const time_point before = here().now();
  const auto refused = failure_of(peer);
  ASSERT_TRUE(refused);
  EXPECT_EQ(*refused, errc::breaker_open);
  EXPECT_TRUE(says(*refused, "ECONNREFUSED")) << refused->message();
  EXPECT_EQ(here().now(), before) << "at once";
  // From now on connects hang, so that the one probe can be seen.
  peer.change().black_hole = 1;
  std::uint32_t most = 0;
  for (unsigned i = 0; i < 100; ++i) {
    const caller& one = call(peer);
    watch(100ms, [&] { most = std::max(most, totals().connecting); });
    ASSERT_TRUE(one.ended);
    EXPECT_EQ(one.got.error(), errc::breaker_open);
  }
  EXPECT_EQ(most, 1U) << "exactly one connect goes on trying";
  EXPECT_EQ(totals().failed_fast, 101U);
  peer.change().black_hole = 0;
  peer.come_up();
  ASSERT_TRUE(here().until([&] { return totals().idle == 1; }, 9s));
  EXPECT_FALSE(backends().stats(at(peer))->breaker_open);
  EXPECT_EQ(failure_of(peer), std::nullopt);
}

// The trial connect of an open breaker stands for the callers that are refused meanwhile: at the
// cap over all endpoints it gets its place like a caller, once somebody has asked.
TEST_F(sim_outage, a_broken_endpoint_comes_back_though_the_pool_is_full) {
  const server& busy = net().add_server("10.0.0.1", 1000, takes(1ms));
  server& broken = net().add_server("10.0.0.2", 1000, takes(1ms));
  configure({.max_connections = 3, .max_idle_time = 0ms, .breaker_failures = 1});
  broken.go_down();
  EXPECT_TRUE(failure_of(broken));
  make_idle(busy, 2);
  caller& held = hold(busy);
  caller& another = hold(busy);
  caller& third = hold(busy);
  here().pass(10s);
  EXPECT_EQ(totals().connecting, 0U) << "no place";
  broken.come_up();
  held.got->release();
  another.got->release();
  here().pass(1s);  // what was used just now is not taken from others
  const auto refused = failure_of(broken);
  ASSERT_TRUE(refused);
  EXPECT_EQ(*refused, errc::breaker_open);
  ASSERT_TRUE(here().until([&] { return !backends().stats(at(broken))->breaker_open; }, 10s));
  EXPECT_EQ(failure_of(broken), std::nullopt);
  third.got->release();
}

// Its idle connections end together, and nobody had used them yet.
TEST_F(sim_outage, a_servers_own_idle_timeout_does_not_open_the_breaker) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({.min_idle_per_endpoint = 6});
  const endpoint_handle used = backends().handle(at(peer));
  here().pass(30s);
  ASSERT_EQ(totals().idle, 6U);
  peer.leave_all(server::farewell::close);
  here().pass(10ms);
  EXPECT_EQ(closed(close_reason::peer_closed), 6U);
  EXPECT_EQ(failure_of(peer), std::nullopt);
  EXPECT_EQ(totals().breaker_opened, 0U);
}

TEST_F(sim_outage, T19_the_attempts_of_many_pools_are_spread) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(2ms));
  peer.go_down();
  constexpr unsigned pools = 100;
  std::vector<std::unique_ptr<pool>> clients;
  std::vector<std::vector<time_point>> attempts(pools);
  for (unsigned i = 0; i < pools; ++i) {
    auto made = pool::create(home(), {.breaker_failures = 1});
    ASSERT_TRUE(made);
    clients.push_back(std::make_unique<pool>(std::move(*made)));
    clients[i]->observe([this, &mine = attempts[i]](const pool_event& event) {
      if (event.kind == pool_event_kind::created) mine.push_back(home().now());
    });
    ASSERT_TRUE(here().run([&]() -> task<void> {
      auto lent = co_await clients[i]->acquire(at(peer));
      EXPECT_FALSE(lent);
    }));
  }
  here().pass(60s);
  std::map<std::int64_t, unsigned> in_100ms;
  for (const auto& mine : attempts) {
    ASSERT_GE(mine.size(), 15U);
    for (std::size_t k = 1; k < mine.size(); ++k) {
      const duration most =
          std::min<duration>(5s, 10ms * (std::int64_t{1} << std::min<std::size_t>(k - 1, 20)));
      // The connect itself takes 2 ms, the timer a tick.
      EXPECT_LE(mine[k] - mine[k - 1], most + 4ms) << "attempt " << k;
      if (k >= 12) ++in_100ms[mine[k].time_since_epoch() / 100ms];
    }
  }
  for (const auto& [when, count] : in_100ms) EXPECT_LE(count, 20U) << "of 100, at the same time";
  for (auto& one : clients) one->observe({});
  clients.clear();
  here().settle();
}

TEST_F(sim_outage, T20_the_timeout_error_carries_the_last_failure) {
  server& peer = net().add_server("10.0.0.1", 1000, takes(10ms));
  configure({.max_connections_per_endpoint = 1,
             .acquire_timeout = 1s,
             .connect_backoff_min = 4s,
             .connect_backoff_max = 4s,
             .breaker_failures = 0});
  peer.go_down();
  const auto first = failure_of(peer);
  ASSERT_TRUE(first);
  EXPECT_EQ(*first, errc::connect_failed);
  std::optional<error> second;
  // The backoff is drawn: sooner or later it is longer than a caller waits.
  for (unsigned i = 0; i < 50 && (!second || *second != errc::acquire_timeout); ++i) {
    second = failure_of(peer);
    ASSERT_TRUE(second);
  }
  EXPECT_EQ(*second, errc::acquire_timeout);
  EXPECT_EQ(second->where(), phase::acquire);
  EXPECT_TRUE(says(*second, at(peer).text())) << second->message();
  EXPECT_TRUE(says(*second, "no more are opened for now")) << second->message();
  EXPECT_TRUE(says(*second, "last failed connect")) << second->message();
  EXPECT_TRUE(says(*second, "ECONNREFUSED")) << second->message();
}

}  // namespace
}  // namespace conpool::sim

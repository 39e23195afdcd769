// How soon the pool is back after an outage, and how often it asks a server that is down: figures
// over 40 seeds, for few and for many connects at a time.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <conpool/pool/pool.h>

#include <tests/sim/pool_fixture.h>
#include <tests/sim/world.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

// 32 callers in a closed loop, and a server that goes down and comes up again.
class outage {
 public:
  outage(std::uint64_t seed, std::uint32_t connecting, duration rest)
      : here_(seed), peer_(&here_.net().add_server("10.0.0.1", 1000)), rest_(rest) {
    pool_config config;
    config.max_connecting_per_endpoint = connecting;
    backends_ = std::make_unique<pool>(pool::create(here_.home(), config).value());
    for (unsigned i = 0; i < 32; ++i) {
      here_.start([this]() -> task<void> {
        auto work = ask();
        co_await work;
      });
    }
    pass(100ms);
    EXPECT_GE(backends_->totals().idle + backends_->totals().active, 16U);
  }
  ~outage() {
    stop_ = true;
    backends_.reset();
    here_.end();
  }
  outage(const outage&) = delete;
  outage& operator=(const outage&) = delete;

  // Until `time` is over; meanwhile it looks how many connects run at once.
  void pass(duration time) {
    here_.until(
        [this] {
          most_connecting_ = std::max(most_connecting_, backends_->totals().connecting);
          return false;
        },
        time);
  }
  void go_down() { peer_->go_down(server::farewell::either); }
  void come_up() {
    peer_->come_up();
    up_ = here_.now();
    first_lease_ = time_point::max();
  }
  // From the end of the outage to the first lease.
  duration recovered_after() {
    EXPECT_TRUE(here_.until([this] { return first_lease_ != time_point::max(); }, 30s));
    return first_lease_ - up_;
  }
  std::uint64_t connects() const { return peer_->counts().connects; }
  std::uint32_t most_connecting() const { return most_connecting_; }

 private:
  task<void> ask() {
    const endpoint to = at(*peer_);
    while (!stop_) {
      auto lent = co_await backends_->acquire(to);
      if (!lent) {
        auto rested = co_await here_.home().sleep_for(rest_);
        if (!rested) co_return;
        continue;
      }
      first_lease_ = std::min(first_lease_, here_.now());
      auto sent = co_await (*lent)->write("ping");
      if (!sent) continue;
      std::array<char, 4> got{};
      [[maybe_unused]] auto read = co_await (*lent)->read_exactly(std::span<char>(got));
    }
  }

  world here_;
  server* peer_;
  duration rest_;
  std::unique_ptr<pool> backends_;
  time_point up_{};
  time_point first_lease_ = time_point::max();
  std::uint32_t most_connecting_ = 0;
  bool stop_ = false;
};

template <typename T>
T quantile(std::vector<T>& of, std::size_t percent) {
  std::ranges::sort(of);
  return of[std::min(of.size() - 1, of.size() * percent / 100)];
}

class sim_recovery : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(sim_recovery, the_first_lease_comes_soon_after_a_short_outage) {
  std::vector<std::int64_t> waited_us;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    outage one(seed, GetParam(), 1ms);
    one.go_down();
    one.pass(30ms);
    one.come_up();
    waited_us.push_back(one.recovered_after() / 1us);
    EXPECT_LE(one.most_connecting(), GetParam());
  }
  const std::int64_t p50 = quantile(waited_us, 50);
  const std::int64_t p90 = quantile(waited_us, 90);
  std::printf("max_connecting %u: first lease p50 %.1f ms, p90 %.1f ms after an outage of 30 ms\n",
              GetParam(), static_cast<double>(p50) / 1e3, static_cast<double>(p90) / 1e3);
  EXPECT_LE(p90, 100'000);
}

TEST_P(sim_recovery, a_server_that_is_down_for_ten_seconds_is_dialed_thirty_times_at_most) {
  std::vector<std::uint64_t> dialed;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    outage one(seed, GetParam(), 100ms);
    const std::uint64_t before = one.connects();
    one.go_down();
    one.pass(10s);
    dialed.push_back(one.connects() - before);
    EXPECT_LE(one.most_connecting(), GetParam());
  }
  const std::uint64_t p50 = quantile(dialed, 50);
  const std::uint64_t p90 = quantile(dialed, 90);
  std::printf("max_connecting %u: dials in an outage of 10 s: p50 %llu, p90 %llu, most %llu\n",
              GetParam(), static_cast<unsigned long long>(p50),
              static_cast<unsigned long long>(p90), static_cast<unsigned long long>(dialed.back()));
  EXPECT_LE(dialed.back(), 30U);
}

INSTANTIATE_TEST_SUITE_P(connecting, sim_recovery, ::testing::Values(1U, 4U, 32U));

}  // namespace
}  // namespace conpool::sim

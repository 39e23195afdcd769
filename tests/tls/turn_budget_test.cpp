// The handshakes' budget: so much in a turn, the rest in the next ones, in order.
#include <gtest/gtest.h>

#include <memory>
#include <new>
#include <optional>
#include <vector>

#include <conpool/runtime/scope.h>
#include <conpool/tls/detail/turn_budget.h>

#include <tests/support/run.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class tls_turn_budget : public ::testing::Test {
 protected:
  void SetUp() override {
    shard_options options;
    options.clock = &clock;
    home = std::move(shard::create(options).value());
    ASSERT_TRUE(home->attach());
    budget = std::make_unique<tls::turn_budget>(*home, 1ms);
  }
  // One step of 0.7 ms, as a full handshake's.
  task<void> step(unsigned number) {
    auto place = co_await budget->enter(deadline);
    if (!place) {
      refused.push_back(number);
      why.push_back(place.error().kind());
      co_return;
    }
    clock.advance(700us);
    done.push_back(number);
    if (number == throws) throw std::bad_alloc();
  }

  manual_clock clock;
  std::unique_ptr<shard> home;
  std::unique_ptr<tls::turn_budget> budget;
  std::vector<unsigned> done;
  std::vector<unsigned> refused;
  std::vector<errc> why;
  time_point deadline = time_point::max();
  std::optional<unsigned> throws;
};

TEST_F(tls_turn_budget, a_storm_takes_two_steps_a_turn_first_come_first_served) {
  constexpr unsigned storm = 100;
  scope all(*home);
  for (unsigned i = 0; i < storm; ++i) {
    all.spawn([this, i]() -> task<void> { return step(i); });
  }
  std::size_t before = 0;
  unsigned turns = 0;
  while (done.size() < storm && turns < 200) {
    home->run_once(0ms);
    ++turns;
    EXPECT_LE(done.size() - before, 2U) << "in turn " << turns;
    EXPECT_GE(done.size() - before, 1U) << "in turn " << turns;
    before = done.size();
  }
  ASSERT_EQ(done.size(), storm);
  for (unsigned i = 0; i < storm; ++i) EXPECT_EQ(done[i], i);
  EXPECT_LE(turns, 60U);
  EXPECT_GT(budget->times_waited(), 90U);
  ASSERT_TRUE(run_until(*home, [&] { return all.running() == 0; }));
}

TEST_F(tls_turn_budget, what_is_cancelled_in_line_gives_up_its_place) {
  scope first(*home);
  scope second(*home);
  for (unsigned i = 0; i < 10; ++i) {
    (i % 2 == 0 ? first : second).spawn([this, i]() -> task<void> { return step(i); });
  }
  home->run_once(0ms);
  const std::size_t before = done.size();
  EXPECT_EQ(before, 2U);
  second.cancel();
  ASSERT_TRUE(run_until(*home, [&] { return first.running() + second.running() == 0; }));
  EXPECT_EQ(done, (std::vector<unsigned>{0, 1, 2, 4, 6, 8}));
  EXPECT_EQ(refused, (std::vector<unsigned>{3, 5, 7, 9}));
}

TEST_F(tls_turn_budget, who_is_in_line_at_the_deadline_has_waited_long_enough) {
  deadline = home->now() + 5ms;
  scope all(*home);
  for (unsigned i = 0; i < 20; ++i) {
    all.spawn([this, i]() -> task<void> { return step(i); });
  }
  ASSERT_TRUE(run_until(*home, [&] { return all.running() == 0; }));
  // Two in a turn take 1.4 ms.
  EXPECT_GE(done.size(), 8U);
  EXPECT_LE(done.size(), 10U);
  EXPECT_EQ(done.size() + refused.size(), 20U);
  EXPECT_EQ(refused.front(), done.size());
  for (const errc one : why) EXPECT_EQ(one, errc::deadline_exceeded);
}

// As without memory for a session: who is next in line has its turn all the same.
TEST_F(tls_turn_budget, a_step_that_throws_holds_up_nobody) {
  throws = 3;
  scope all(*home);
  for (unsigned i = 0; i < 6; ++i) {
    all.spawn([this, i]() -> task<void> { return step(i); });
  }
  ASSERT_TRUE(run_until(*home, [&] { return all.running() == 0; }));
  EXPECT_EQ(done, (std::vector<unsigned>{0, 1, 2, 3, 4, 5}));
  EXPECT_TRUE(all.take_exception());
}

TEST_F(tls_turn_budget, a_shard_that_stops_is_not_held_up) {
  for (unsigned i = 0; i < 10; ++i) {
    home->spawn([this, i]() -> task<void> { return step(i); });
  }
  home->run_once(0ms);
  home->stop();
  EXPECT_TRUE(run_until(*home, [this] { return home->stopped(); }));
  EXPECT_EQ(done.size() + refused.size(), 10U);
}

}  // namespace
}  // namespace conpool::test

#include <conpool/runtime/detail/timers.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace conpool {
namespace {

using namespace std::chrono_literals;

// Logs its number when it fires, then does what it was told to.
struct logged_timer : timer_node {
  logged_timer(int n, std::vector<int>& target) : timer_node(&on_fired), number(n), log(&target) {}

  static void on_fired(timer_node& node) noexcept {
    auto& self = static_cast<logged_timer&>(node);
    EXPECT_FALSE(self.armed());
    self.log->push_back(self.number);
    if (self.then) self.then(self);
  }

  int number;
  std::vector<int>* log;
  std::function<void(logged_timer&)> then;
};

class timer_wheels : public ::testing::Test {
 protected:
  time_point at(duration after_start) const { return start_ + after_start; }
  std::size_t advance(duration after_start) { return wheel_.advance(at(after_start)); }

  const time_point start_ = time_point(1234567891234567ns);
  timer_wheel wheel_{start_};
  std::vector<int> log_;
  logged_timer a_{1, log_}, b_{2, log_}, c_{3, log_};
};

TEST_F(timer_wheels, starts_empty) {
  EXPECT_TRUE(wheel_.empty());
  EXPECT_EQ(wheel_.size(), 0u);
  EXPECT_EQ(wheel_.next_deadline(), std::nullopt);
  EXPECT_EQ(advance(1h), 0u);
}

TEST_F(timer_wheels, fires_once_at_its_deadline_and_not_before) {
  wheel_.arm(a_, at(10ms));
  EXPECT_TRUE(a_.armed());
  EXPECT_EQ(a_.deadline_tick(), 10u);
  EXPECT_EQ(wheel_.next_deadline(), at(10ms));
  EXPECT_EQ(advance(10ms - 1ns), 0u);
  EXPECT_TRUE(a_.armed());
  EXPECT_EQ(advance(10ms), 1u);
  EXPECT_FALSE(a_.armed());
  EXPECT_TRUE(wheel_.empty());
  EXPECT_EQ(advance(20ms), 0u);
  EXPECT_EQ(log_, (std::vector{1}));
}

TEST_F(timer_wheels, a_deadline_between_ticks_is_rounded_up) {
  wheel_.arm(a_, at(10ms + 1ns));
  EXPECT_EQ(advance(10ms + 1ns), 0u);
  EXPECT_EQ(advance(11ms - 1ns), 0u);
  EXPECT_EQ(wheel_.next_deadline(), at(11ms));
  EXPECT_EQ(advance(11ms), 1u);
}

TEST_F(timer_wheels, is_never_early_at_the_edges_of_each_level) {
  for (unsigned bits = 0; bits < 40; ++bits) {
    for (int edge : {-1, 0, 1}) {
      const auto ticks = static_cast<std::int64_t>((std::uint64_t{1} << bits) + 5 + edge);
      timer_wheel wheel(start_);
      wheel.advance(at(5ms));
      wheel.arm(a_, at(ticks * 1ms));
      wheel.advance(at(ticks * 1ms - 1ns));
      ASSERT_EQ(a_.armed(), ticks > 5) << ticks;
      wheel.advance(at(ticks * 1ms));
      ASSERT_FALSE(a_.armed()) << ticks;
    }
  }
}

TEST_F(timer_wheels, fires_in_the_order_of_deadlines_whatever_the_order_of_arming) {
  std::deque<logged_timer> timers;
  const std::vector<int> ms = {70000, 3, 64, 63, 4096, 65, 1, 262144, 5000, 4095, 128, 2};
  for (int deadline : ms) {
    wheel_.arm(timers.emplace_back(deadline, log_), at(deadline * 1ms));
  }
  EXPECT_EQ(wheel_.size(), ms.size());
  EXPECT_EQ(advance(1h), ms.size());
  EXPECT_EQ(log_, (std::vector{1, 2, 3, 63, 64, 65, 128, 4095, 4096, 5000, 70000, 262144}));
}

TEST_F(timer_wheels, equal_ticks_fire_in_the_order_of_arming) {
  wheel_.arm(a_, at(5000ms));
  wheel_.arm(b_, at(4999ms + 1us));
  advance(4990ms);
  wheel_.arm(c_, at(5000ms));
  advance(5000ms);
  EXPECT_EQ(log_, (std::vector{1, 2, 3}));
}

TEST_F(timer_wheels, what_is_due_already_fires_in_the_next_advance) {
  advance(100ms);
  wheel_.arm(a_, at(99ms));
  wheel_.arm(b_, at(100ms));
  wheel_.arm(c_, start_ - 1h);
  EXPECT_TRUE(log_.empty());
  EXPECT_EQ(wheel_.next_deadline(), at(100ms));
  EXPECT_EQ(advance(100ms), 3u);
  EXPECT_EQ(log_, (std::vector{1, 2, 3}));
}

TEST_F(timer_wheels, cancel_works_in_every_state) {
  wheel_.cancel(a_);  // never armed
  wheel_.arm(a_, at(10ms));
  wheel_.cancel(a_);  // in a slot of its own
  EXPECT_FALSE(a_.armed());
  EXPECT_TRUE(wheel_.empty());
  EXPECT_EQ(wheel_.next_deadline(), std::nullopt);
  wheel_.cancel(a_);  // twice

  wheel_.arm(a_, at(10s));
  wheel_.arm(b_, at(10s));
  wheel_.cancel(a_);  // in a slot with others, of an upper level
  EXPECT_EQ(wheel_.size(), 1u);
  EXPECT_EQ(advance(10s), 1u);
  wheel_.cancel(b_);  // fired

  wheel_.arm(c_, at(1s));
  wheel_.cancel(c_);  // due already
  EXPECT_EQ(advance(20s), 0u);
  EXPECT_EQ(log_, (std::vector{2}));
}

TEST_F(timer_wheels, arming_again_moves_the_deadline_both_ways) {
  wheel_.arm(a_, at(10ms));
  wheel_.arm(a_, at(5s));
  EXPECT_EQ(wheel_.size(), 1u);
  EXPECT_EQ(advance(4s), 0u);
  wheel_.arm(b_, at(1h));
  wheel_.arm(b_, at(4001ms));
  EXPECT_EQ(advance(4001ms), 1u);
  EXPECT_EQ(advance(5s), 1u);
  EXPECT_EQ(log_, (std::vector{2, 1}));
}

TEST_F(timer_wheels, a_callback_may_arm_itself_again) {
  a_.then = [&](logged_timer& self) {
    if (log_.size() < 3) wheel_.arm(self, at(static_cast<int>(log_.size() + 1) * 10ms));
  };
  wheel_.arm(a_, at(10ms));
  EXPECT_EQ(advance(10ms), 1u);
  EXPECT_EQ(advance(15ms), 0u);
  EXPECT_EQ(advance(20ms), 1u);
  EXPECT_EQ(advance(30ms), 1u);
  EXPECT_TRUE(wheel_.empty());
}

TEST_F(timer_wheels, what_a_callback_arms_fires_in_the_next_advance_even_if_due) {
  // The jump makes 30 ms due before the callback of 10 ms arms it.
  a_.then = [&](logged_timer& self) {
    wheel_.arm(self, at(20ms));
    wheel_.arm(b_, at(30ms));
  };
  wheel_.arm(a_, at(10ms));
  EXPECT_EQ(advance(100ms), 1u);
  EXPECT_EQ(log_, (std::vector{1}));
  EXPECT_EQ(wheel_.size(), 2u);
  a_.then = nullptr;
  EXPECT_EQ(advance(100ms), 2u);
  EXPECT_EQ(log_, (std::vector{1, 1, 2}));
}

TEST_F(timer_wheels, a_callback_may_cancel_and_postpone_what_is_about_to_fire) {
  wheel_.arm(a_, at(10ms));
  wheel_.arm(b_, at(10ms));
  wheel_.arm(c_, at(11ms));
  a_.then = [&](logged_timer&) {
    wheel_.cancel(b_);
    wheel_.arm(c_, at(1s));
  };
  EXPECT_EQ(advance(20ms), 1u);
  EXPECT_FALSE(b_.armed());
  EXPECT_TRUE(c_.armed());
  EXPECT_EQ(advance(1s), 1u);
  EXPECT_EQ(log_, (std::vector{1, 3}));
}

TEST_F(timer_wheels, a_callback_may_cancel_the_last_that_is_about_to_fire) {
  wheel_.arm(a_, at(10ms));
  wheel_.arm(b_, at(10ms));
  a_.then = [&](logged_timer&) {
    EXPECT_EQ(wheel_.next_deadline(), at(10ms));
    wheel_.cancel(b_);
    EXPECT_EQ(wheel_.next_deadline(), std::nullopt);
  };
  EXPECT_EQ(advance(10ms), 1u);
  EXPECT_TRUE(wheel_.empty());
}

TEST_F(timer_wheels, a_callback_may_destroy_itself_and_others) {
  auto self = std::make_unique<logged_timer>(7, log_);
  auto other = std::make_unique<logged_timer>(8, log_);
  self->then = [&](logged_timer&) {
    wheel_.cancel(*other);
    other.reset();
    // The function object dies with the timer: let a local keep it until it returned.
    const auto keep = std::move(self->then);
    self.reset();
  };
  wheel_.arm(*self, at(10ms));
  wheel_.arm(*other, at(10ms));
  EXPECT_EQ(advance(10ms), 1u);
  EXPECT_EQ(self, nullptr);
  EXPECT_EQ(other, nullptr);
}

TEST_F(timer_wheels, next_deadline_is_exact_within_a_round_and_never_late) {
  advance(10ms);
  wheel_.arm(a_, at(63ms));
  EXPECT_EQ(wheel_.next_deadline(), at(63ms));
  wheel_.cancel(a_);
  wheel_.arm(a_, at(100ms));
  EXPECT_EQ(wheel_.next_deadline(), at(64ms));  // its slot of 64 ms must be moved down first
  EXPECT_EQ(advance(64ms), 0u);
  EXPECT_EQ(wheel_.next_deadline(), at(100ms));
  EXPECT_EQ(advance(100ms), 1u);
}

TEST_F(timer_wheels, sleeping_until_next_deadline_reaches_any_deadline_in_a_few_wakes) {
  const std::int64_t ms = std::int64_t{5} * 365 * 24 * 3600 * 1000 + 1;
  wheel_.arm(a_, at(ms * 1ms));
  int wakes = 0;
  time_point now = start_;
  while (a_.armed()) {
    const std::optional<time_point> next = wheel_.next_deadline();
    ASSERT_TRUE(next.has_value());
    ASSERT_GT(*next, now);
    now = *next;
    wheel_.advance(now);
    ASSERT_LE(++wakes, 8 + 3);  // a move for each level, and the rounds of 2.2 years
  }
  EXPECT_EQ(now, at(ms * 1ms));
}

TEST_F(timer_wheels, the_farthest_time_point_is_a_legal_deadline) {
  wheel_.arm(a_, time_point::max());
  wheel_.arm(b_, at(1s));
  EXPECT_EQ(advance(std::chrono::hours(24 * 365 * 100)), 1u);
  EXPECT_TRUE(a_.armed());
  ASSERT_TRUE(wheel_.next_deadline().has_value());
  wheel_.advance(time_point::max());
  EXPECT_TRUE(a_.armed());  // rounded up beyond what a time point can hold: never
  EXPECT_EQ(wheel_.next_deadline(), time_point::max());
  wheel_.cancel(a_);
  EXPECT_TRUE(wheel_.empty());
}

TEST_F(timer_wheels, a_start_before_the_epoch_does_not_overflow) {
  timer_wheel wheel(time_point::min());
  wheel.arm(a_, time_point::max());
  wheel.arm(b_, time_point::min() + 5ms);
  EXPECT_EQ(wheel.next_deadline(), time_point::min() + 5ms);
  EXPECT_EQ(wheel.advance(time_point(0ns)), 1u);
  wheel.cancel(a_);
}

TEST_F(timer_wheels, a_jump_ahead_fires_all_in_order) {
  std::deque<logged_timer> timers;
  for (int n = 0; n < 1000; ++n) {
    wheel_.arm(timers.emplace_back(n, log_), at(n * n * 7ms));
  }
  wheel_.arm(a_, at(24h));
  EXPECT_EQ(advance(8h), 1000u);
  ASSERT_EQ(log_.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(log_.begin(), log_.end()));
  EXPECT_EQ(advance(24h - 1ns), 0u);
  EXPECT_EQ(advance(24h), 1u);
}

TEST_F(timer_wheels, a_clock_that_stands_still_or_goes_back_fires_nothing_early) {
  advance(50ms);
  wheel_.arm(a_, at(60ms));
  EXPECT_EQ(advance(50ms), 0u);
  EXPECT_EQ(advance(10ms), 0u);
  EXPECT_EQ(wheel_.advance(start_ - 1h), 0u);
  wheel_.arm(b_, at(20ms));
  EXPECT_EQ(advance(10ms), 1u);  // due since 50 ms were reached
  EXPECT_EQ(advance(60ms), 1u);
}

#ifndef NDEBUG
TEST_F(timer_wheels, dying_while_armed_is_asserted) {
  EXPECT_DEATH(
      {
        logged_timer d(4, log_);
        wheel_.arm(d, at(1s));
      },
      "element died while still in its list");
  EXPECT_DEATH(
      {
        timer_wheel wheel(start_);
        wheel.arm(a_, at(1s));
      },
      "died with armed timers");
}
#endif

// The wheel against an ordered map. Both hold ticks; equal ticks keep the order of arming.
class random_timers {
 public:
  explicit random_timers(std::uint64_t seed) : random_(seed) {
    for (int n = 0; n < 300; ++n) timers_.emplace_back(n, fired_);
    where_.resize(timers_.size(), reference_.end());
  }

  ~random_timers() {
    for (logged_timer& timer : timers_) wheel_.cancel(timer);
  }

  void step() {
    const std::uint64_t choice = random_() % 100;
    const std::size_t index = random_() % timers_.size();
    if (choice < 55) {
      arm(index);
    } else if (choice < 80) {
      cancel(index);
    } else if (choice < 98) {
      advance(random_duration());
    } else {
      advance_to_next_deadline();
    }
    check();
  }

 private:
  // Any magnitude from nanoseconds to years, each about equally likely.
  duration random_duration() {
    const std::uint64_t magnitude = random_() % 48 + 10;
    return duration(static_cast<duration::rep>(random_() >> (64 - magnitude)));
  }

  void arm(std::size_t index) {
    cancel(index);
    const duration distance = random_() % 16 == 0 ? -random_duration() / 1024 : random_duration();
    const time_point deadline = now_ + distance;
    wheel_.arm(timers_[index], deadline);
    const duration after_start = deadline - start_;
    std::int64_t tick = after_start <= 0ns ? 0 : (after_start + 999'999ns) / 1ms;
    if (tick < current_tick_) tick = current_tick_;  // overdue: now, after those before it
    where_[index] = reference_.emplace(tick, static_cast<int>(index));
  }

  void cancel(std::size_t index) {
    wheel_.cancel(timers_[index]);
    if (where_[index] != reference_.end()) reference_.erase(where_[index]);
    where_[index] = reference_.end();
  }

  void advance(duration by) {
    // 290 years in all is what a time point can hold: start again before.
    if (now_ - start_ > std::chrono::hours(24 * 365 * 100)) by = 0ns;
    now_ += by;
    current_tick_ = (now_ - start_) / 1ms;
    std::vector<int> expected;
    while (!reference_.empty() && reference_.begin()->first <= current_tick_) {
      const int number = reference_.begin()->second;
      expected.push_back(number);
      where_[static_cast<std::size_t>(number)] = reference_.end();
      reference_.erase(reference_.begin());
    }
    fired_.clear();
    EXPECT_EQ(wheel_.advance(now_), expected.size());
    EXPECT_EQ(fired_, expected);
  }

  void advance_to_next_deadline() {
    const std::optional<time_point> next = wheel_.next_deadline();
    if (next && *next > now_) advance(*next - now_);
  }

  void check() {
    ASSERT_EQ(wheel_.size(), reference_.size());
    ASSERT_EQ(wheel_.empty(), reference_.empty());
    const std::optional<time_point> next = wheel_.next_deadline();
    ASSERT_EQ(next.has_value(), !reference_.empty());
    if (!next) return;
    const std::int64_t first_tick = reference_.begin()->first;
    ASSERT_LE(*next, start_ + first_tick * 1ms);
    if (first_tick / 64 == current_tick_ / 64) {
      ASSERT_EQ(*next, start_ + first_tick * 1ms);
    }
    // Otherwise a loop that sleeps until then would spin.
    if (first_tick > current_tick_) {
      ASSERT_GT(*next, now_);
    }
  }

  using reference_map = std::multimap<std::int64_t, int>;

  std::mt19937_64 random_;
  const time_point start_ = time_point(99'999'999'999ns);
  time_point now_ = start_;
  std::int64_t current_tick_ = 0;
  timer_wheel wheel_{start_};
  std::vector<int> fired_;
  std::deque<logged_timer> timers_;
  reference_map reference_;
  std::vector<reference_map::iterator> where_;
};

void run_against_reference(std::uint64_t seed) {
  SCOPED_TRACE(::testing::Message() << "CONPOOL_SEED=" << seed);
  random_timers test(seed);
  for (int step = 0; step < 100'000 && !::testing::Test::HasFailure(); ++step) test.step();
}

TEST(timer_wheel_at_random, agrees_with_an_ordered_map_for_a_fixed_seed) {
  run_against_reference(1);
}

// A new seed each time; a failure names it, and CONPOOL_SEED=n runs it again.
TEST(timer_wheel_at_random, agrees_with_an_ordered_map_for_any_seed) {
  const char* given = std::getenv("CONPOOL_SEED");
  run_against_reference(given != nullptr ? std::stoull(given) : std::random_device()());
}

TEST(clock, the_monotonic_clock_is_the_steady_clock) {
  const time_point before = std::chrono::steady_clock::now();
  const time_point reading = monotonic_clock().now();
  const time_point after = std::chrono::steady_clock::now();
  EXPECT_LE(before, reading);
  EXPECT_LE(reading, after);
}

TEST(clock, a_manual_clock_moves_only_when_told) {
  manual_clock clock(time_point(5s));
  EXPECT_EQ(clock.now(), time_point(5s));
  EXPECT_EQ(clock.now(), time_point(5s));
  clock.advance(3ms);
  EXPECT_EQ(clock.now(), time_point(5003ms));
  clock.set(time_point(1h));
  clock_source& source = clock;
  EXPECT_EQ(source.now(), time_point(1h));
  EXPECT_NE(manual_clock().now(), time_point());
}

}  // namespace
}  // namespace conpool

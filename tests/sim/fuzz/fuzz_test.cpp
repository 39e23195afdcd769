// T71: a seeded random test of the whole pool. See run.h, and oracle.h for what it
// checks.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdint>
#include <cstdio>
#include <random>

#include <tests/sim/fuzz/run.h>

#if defined(__SANITIZE_ADDRESS__)
// The sanitizer's own; not every compiler package has <sanitizer/allocator_interface.h>.
extern "C" std::size_t __sanitizer_get_current_allocated_bytes();
#endif

namespace conpool::sim::fuzz {
namespace {

struct summary {
  std::uint64_t trace = 0;
  std::uint64_t steps = 0;
  std::uint64_t served = 0;
  std::uint64_t refused = 0;
};

summary live(std::uint64_t seed) {
  run one(seed);
  one.live();
  if (::testing::Test::HasFailure()) {
    std::fprintf(stderr,
                 "replay: CONPOOL_SIM_SEED=%llu build/test/tests/sim-tests "
                 "--gtest_filter=fuzz.T71_the_oracle_holds_after_every_step\n",
                 static_cast<unsigned long long>(seed));
    std::fprintf(stderr, "protocol %d, weather %d, validation %s at first\n",
                 static_cast<int>(one.drawn.spoken), static_cast<int>(one.drawn.sky),
                 to_string(one.drawn.config.validation));
  }
  return {one.here.net().trace_hash(), one.checks.steps(), one.checks.served(),
          one.checks.refused()};
}

std::size_t bytes_allocated() {
#if defined(__SANITIZE_ADDRESS__)
  return __sanitizer_get_current_allocated_bytes();
#else
  return mallinfo2().uordblks;
#endif
}

TEST(fuzz, T71_the_oracle_holds_after_every_step) {
  const seed_range seeds(170);
  summary all;
  const auto add = [&all](std::uint64_t seed) {
    const summary one = live(seed);
    all.steps += one.steps;
    all.served += one.served;
    all.refused += one.refused;
    return !::testing::Test::HasFailure();
  };
  for (std::uint64_t seed = seeds.first; seed != seeds.end; ++seed) {
    if (!add(seed)) return;
  }
  if (std::getenv("CONPOOL_SIM_SEED") != nullptr) return;
  const std::uint64_t fresh = std::random_device{}();
  std::printf("fresh seed %llu\n", static_cast<unsigned long long>(fresh));
  add(fresh);
  std::printf(
      "%llu steps, %llu acquires served, %llu not\n", static_cast<unsigned long long>(all.steps),
      static_cast<unsigned long long>(all.served), static_cast<unsigned long long>(all.refused));
  EXPECT_GE(all.steps, 200'000U);
  EXPECT_GT(all.served, 20'000U);
  EXPECT_GT(all.refused, 2'000U);
}

TEST(fuzz, T71_the_same_seed_replays_the_same_run) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const summary first = live(seed);
    const summary second = live(seed);
    EXPECT_EQ(first.trace, second.trace) << "seed " << seed;
    EXPECT_EQ(first.steps, second.steps) << "seed " << seed;
    EXPECT_EQ(first.served, second.served) << "seed " << seed;
  }
  EXPECT_NE(live(1).trace, live(2).trace);
}

TEST(fuzz, T71_no_memory_is_left_behind) {
  constexpr std::uint64_t seeds = 6;
  const auto round = [] {
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) live(seed);
    return bytes_allocated();
  };
  round();  // what is kept for the next time: frames of coroutines
  const std::size_t before = round();
  EXPECT_EQ(round(), before);
}

}  // namespace
}  // namespace conpool::sim::fuzz

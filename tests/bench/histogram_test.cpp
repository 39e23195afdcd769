#include <bench/histogram.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace {

using conpool::bench::histogram;
using conpool::bench::latency_summary;

// The nearest rank, from all values.
std::uint64_t exact_value_at(const std::vector<std::uint64_t>& sorted, double fraction) {
  const double rank = std::ceil(fraction * static_cast<double>(sorted.size()));
  return sorted[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

void expect_within_one_percent(const histogram& made, std::vector<std::uint64_t> values) {
  std::sort(values.begin(), values.end());
  ASSERT_EQ(made.count(), values.size());
  EXPECT_EQ(made.min(), values.front());
  EXPECT_EQ(made.max(), values.back());
  for (const double fraction : {0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
    const auto exact = static_cast<double>(exact_value_at(values, fraction));
    const auto reported = static_cast<double>(made.value_at(fraction));
    EXPECT_NEAR(reported, exact, exact * 0.01) << "at " << fraction;
  }
}

TEST(histogram, has_nothing_to_say_when_nothing_was_recorded) {
  const histogram empty;
  const latency_summary all = empty.summary();
  EXPECT_EQ(all.count, 0U);
  EXPECT_EQ(all.min, 0U);
  EXPECT_EQ(all.p50, 0U);
  EXPECT_EQ(all.p999, 0U);
  EXPECT_EQ(all.max, 0U);
}

TEST(histogram, reports_a_single_value_exactly_everywhere) {
  for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1'234'567},
                                    std::numeric_limits<std::uint64_t>::max()}) {
    histogram made;
    made.record(value);
    EXPECT_EQ(made.min(), value);
    EXPECT_EQ(made.value_at(0.5), value);
    EXPECT_EQ(made.max(), value);
  }
}

TEST(histogram, is_exact_below_256_ns) {
  histogram made;
  for (std::uint64_t value = 0; value < 256; ++value) made.record(value);
  for (std::uint64_t value = 0; value < 256; ++value) {
    EXPECT_EQ(made.value_at(static_cast<double>(value + 1) / 256), value);
  }
}

TEST(histogram, agrees_with_sorted_values_within_one_percent) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> around_10_us(std::log(10'000.0), 1.5);
  std::uniform_real_distribution<double> any_power(0, 63);
  histogram latencies;
  histogram wide;
  std::vector<std::uint64_t> latency_values;
  std::vector<std::uint64_t> wide_values;
  for (int i = 0; i < 50'000; ++i) {
    latency_values.push_back(static_cast<std::uint64_t>(around_10_us(random)));
    latencies.record(latency_values.back());
    wide_values.push_back(static_cast<std::uint64_t>(std::exp2(any_power(random))));
    wide.record(wide_values.back());
  }
  expect_within_one_percent(latencies, latency_values);
  expect_within_one_percent(wide, wide_values);
}

TEST(histogram, keeps_the_edges_of_buckets_apart_and_in_order) {
  for (unsigned power = 8; power < 64; ++power) {
    const std::uint64_t edge = std::uint64_t{1} << power;
    for (const std::uint64_t value : {edge - 1, edge, edge + 1}) {
      // Between two others, so that neither the minimum nor the maximum helps.
      histogram made;
      made.record(1);
      made.record(value);
      made.record(std::numeric_limits<std::uint64_t>::max());
      const auto exact = static_cast<double>(value);
      EXPECT_NEAR(static_cast<double>(made.value_at(0.5)), exact, exact * 0.005) << value;
    }
  }
}

TEST(histogram, merges_as_if_all_had_been_recorded_in_one) {
  std::mt19937_64 random(2);
  std::exponential_distribution<double> waits(1e-5);
  histogram one;
  histogram two;
  histogram both;
  for (int i = 0; i < 10'000; ++i) {
    const auto value = static_cast<std::uint64_t>(waits(random));
    (i % 3 == 0 ? one : two).record(value);
    both.record(value);
  }
  one.merge(two);
  one.merge(histogram());
  EXPECT_EQ(one.count(), both.count());
  EXPECT_EQ(one.min(), both.min());
  EXPECT_EQ(one.max(), both.max());
  for (const double fraction : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    EXPECT_EQ(one.value_at(fraction), both.value_at(fraction));
  }
}

TEST(histogram, orders_its_summary) {
  histogram made;
  for (std::uint64_t value = 1; value <= 100'000; ++value) made.record(value * 10);
  const latency_summary all = made.summary();
  EXPECT_EQ(all.count, 100'000U);
  EXPECT_LT(all.min, all.p50);
  EXPECT_LT(all.p50, all.p90);
  EXPECT_LT(all.p90, all.p99);
  EXPECT_LT(all.p99, all.p999);
  EXPECT_LE(all.p999, all.max);
}

}  // namespace

#include <bench/units.h>
#include <gtest/gtest.h>

#include <cstdint>

namespace {

using conpool::bench::grouped;
using conpool::bench::human_ratio;
using conpool::bench::human_tick;
using conpool::bench::human_time;

TEST(units, shows_times_with_three_digits) {
  EXPECT_EQ(human_time(0), "0 ns");
  EXPECT_EQ(human_time(45), "45 ns");
  EXPECT_EQ(human_time(999), "999 ns");
  EXPECT_EQ(human_time(1'000), "1.00 us");
  EXPECT_EQ(human_time(9'994), "9.99 us");
  EXPECT_EQ(human_time(9'996), "10.0 us");
  EXPECT_EQ(human_time(99'949), "99.9 us");
  EXPECT_EQ(human_time(99'951), "100 us");
  EXPECT_EQ(human_time(999'499), "999 us");
  EXPECT_EQ(human_time(999'501), "1.00 ms");
  EXPECT_EQ(human_time(12'345'678), "12.3 ms");
  EXPECT_EQ(human_time(1'500'000'000), "1.50 s");
  EXPECT_EQ(human_time(3'600'000'000'000), "3600 s");
}

TEST(units, shows_ticks_of_an_axis_without_a_fraction) {
  EXPECT_EQ(human_tick(10), "10 ns");
  EXPECT_EQ(human_tick(100'000), "100 us");
  EXPECT_EQ(human_tick(1'000'000), "1 ms");
  EXPECT_EQ(human_tick(10'000'000'000), "10 s");
}

TEST(units, shows_the_whole_only_if_nothing_is_missing) {
  EXPECT_EQ(human_ratio(1), "100.00 %");
  EXPECT_EQ(human_ratio(2'999'999.0 / 3'000'000), "99.99 %");
  EXPECT_EQ(human_ratio(0.57), "57.00 %");
  EXPECT_EQ(human_ratio(0), "0.00 %");
}

TEST(units, groups_digits_by_thousands) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1'000), "1,000");
  EXPECT_EQ(grouped(1'234'567), "1,234,567");
  EXPECT_EQ(grouped(~std::uint64_t{0}), "18,446,744,073,709,551,615");
}

}  // namespace

#include <bench/presets.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace {

using conpool::bench::all_presets;
using conpool::bench::default_preset;
using conpool::bench::find_preset;
using conpool::bench::preset;

struct row {
  std::string_view name;
  std::array<std::uint32_t, 6> numbers;
};

std::array<std::uint32_t, 6> numbers_of(const preset& one) {
  return {one.servers,          one.clients_per_server, one.messages_per_client,
          one.parallel_clients, one.message_bytes,      one.pool_size};
}

// As Conpool's own stress test has them: results are compared with it, so they do not change.
constexpr std::array<row, 7> conpool_presets{{
    {"high_reuse", {2, 20, 50, 10, 32, 3}},
    {"many_endpoints", {10, 10, 10, 50, 64, 5}},
    {"high_concurrency", {3, 100, 5, 100, 64, 20}},
    {"large_messages", {3, 20, 20, 30, 1024, 10}},
    {"constrained_pool", {2, 50, 10, 50, 64, 2}},
    {"burst_traffic", {5, 200, 2, 100, 32, 15}},
    {"extended_stress", {30, 1000, 100, 500, 128, 50}},
}};

TEST(presets, are_those_of_the_stress_test_and_one_more) {
  ASSERT_EQ(all_presets().size(), conpool_presets.size() + 1);
  for (std::size_t index = 0; index < conpool_presets.size(); ++index) {
    EXPECT_EQ(all_presets()[index].name, conpool_presets[index].name);
    EXPECT_EQ(numbers_of(all_presets()[index]), conpool_presets[index].numbers)
        << conpool_presets[index].name;
  }
}

TEST(presets, sixteen_servers_makes_50000_requests_at_most_200_at_a_time) {
  const preset* const found = find_preset("sixteen_servers");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->servers, 16U);
  EXPECT_EQ(found->requests(), 50'000U);
  EXPECT_EQ(found->parallel_clients, 200U);
  EXPECT_EQ(found->pool_size, 5U);
}

TEST(presets, count_all_requests_of_all_clients) {
  EXPECT_EQ(find_preset("high_reuse")->requests(), 2'000U);
  EXPECT_EQ(find_preset("extended_stress")->clients(), 30'000U);
  EXPECT_EQ(find_preset("extended_stress")->requests(), 3'000'000U);
}

TEST(presets, are_found_by_their_whole_name_only) {
  EXPECT_EQ(find_preset("high_reuse"), &default_preset());
  EXPECT_EQ(find_preset("high"), nullptr);
  EXPECT_EQ(find_preset(""), nullptr);
  EXPECT_EQ(find_preset("all"), nullptr);
}

}  // namespace

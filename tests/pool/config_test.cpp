#include <conpool/pool/config.h>
#include <gtest/gtest.h>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include <tests/support/expect.h>

namespace {

using conpool::pool_config;
using conpool::validation_policy;
using std::chrono::milliseconds;
using namespace std::chrono_literals;

using count_field = std::uint32_t pool_config::*;
using duration_field = milliseconds pool_config::*;

static_assert(std::is_trivially_destructible_v<pool_config>);
static_assert(std::is_trivially_copyable_v<pool_config>);
static_assert(std::is_aggregate_v<pool_config>);

// The detail of the error about `field` that `config` must give.
std::string refused(const pool_config& config, std::string_view field) {
  const auto valid = conpool::validate(config);
  if (valid) {
    ADD_FAILURE() << field << " was not refused";
    return {};
  }
  EXPECT_EQ(valid.error(), conpool::errc::invalid_config);
  EXPECT_EQ(valid.error().where(), conpool::phase::configure);
  EXPECT_EQ(valid.error().subject(), field);
  return std::string(valid.error().detail());
}

// The numeric fields with their first and last allowed values and the grid between them.
struct limits {
  const char* name;
  std::variant<count_field, duration_field> field;
  std::int64_t low;
  std::int64_t high;
  bool takes_zero;
  const char* allowed;
  std::int64_t step = 1;
};

constexpr std::int64_t day_ms = 86'400'000;
constexpr std::int64_t count_max = std::numeric_limits<std::uint32_t>::max();

const limits all_limits[] = {
    {"max_connections_per_endpoint", &pool_config::max_connections_per_endpoint, 1, 65'536, false,
     "it must be 1 to 65536: "},
    {"max_connections", &pool_config::max_connections, 1, 1'048'576, true,
     "it must be 0 (no limit) or 1 to 1048576: "},
    {"max_connecting_per_endpoint", &pool_config::max_connecting_per_endpoint, 1, 65'536, false,
     "it must be 1 to 65536: "},
    {"min_idle_per_endpoint", &pool_config::min_idle_per_endpoint, 0, 65'536, false,
     "it must be 0 to 65536: "},
    {"max_idle_per_endpoint", &pool_config::max_idle_per_endpoint, 1, 65'536, true,
     "it must be 0 (as many as max_connections_per_endpoint) or 1 to 65536: "},
    {"max_waiters_per_endpoint", &pool_config::max_waiters_per_endpoint, 1, 1'048'576, true,
     "it must be 0 (4 times max_connections_per_endpoint) or 1 to 1048576: "},
    {"connection_timeout", &pool_config::connection_timeout, 1, day_ms, false,
     "it must be 1 ms to 24 h: "},
    {"acquire_timeout", &pool_config::acquire_timeout, 1, day_ms, false,
     "it must be 1 ms to 24 h: "},
    {"read_timeout", &pool_config::read_timeout, 1, day_ms, false, "it must be 1 ms to 24 h: "},
    {"write_timeout", &pool_config::write_timeout, 1, day_ms, false, "it must be 1 ms to 24 h: "},
    {"max_idle_time", &pool_config::max_idle_time, 1, 30 * day_ms, true,
     "it must be 0 (never) or 1 ms to 720 h: "},
    {"max_connection_lifetime", &pool_config::max_connection_lifetime, 1, 30 * day_ms, true,
     "it must be 0 (never) or 1 ms to 720 h: "},
    {"lifetime_jitter_percent", &pool_config::lifetime_jitter_percent, 0, 90, false,
     "it must be 0 to 90: "},
    {"max_connection_uses", &pool_config::max_connection_uses, 0, count_max, true, ""},
    {"refill_jitter", &pool_config::refill_jitter, 0, 60'000, false, "it must be 0 to 60 s: "},
    {"trim_interval", &pool_config::trim_interval, 1, day_ms, true,
     "it must be 0 (off) or 1 ms to 24 h: "},
    {"max_endpoint_idle_time", &pool_config::max_endpoint_idle_time, 1, 30 * day_ms, true,
     "it must be 0 (never) or 1 ms to 720 h: "},
    {"validation_interval", &pool_config::validation_interval, 1, day_ms, true,
     "it must be 0 (off) or 1 ms to 24 h: "},
    {"probe_candidates", &pool_config::probe_candidates, 1, 64, false, "it must be 1 to 64: "},
    {"ping_window", &pool_config::ping_window, 0, day_ms, false, "it must be 0 to 24 h: "},
    {"ping_timeout", &pool_config::ping_timeout, 1, day_ms, false, "it must be 1 ms to 24 h: "},
    {"release_timeout", &pool_config::release_timeout, 1, day_ms, false,
     "it must be 1 ms to 24 h: "},
    {"max_releasing_per_endpoint", &pool_config::max_releasing_per_endpoint, 1, 65'536, false,
     "it must be 1 to 65536: "},
    {"connect_backoff_min", &pool_config::connect_backoff_min, 1, day_ms, false,
     "it must be 1 ms to 24 h: "},
    {"connect_backoff_max", &pool_config::connect_backoff_max, 1, day_ms, false,
     "it must be 1 ms to 24 h: "},
    {"breaker_failures", &pool_config::breaker_failures, 1, 1'000'000, true,
     "it must be 0 (off) or 1 to 1000000: "},
    {"leak_threshold", &pool_config::leak_threshold, 1, 30 * day_ms, true,
     "it must be 0 (off) or 1 ms to 720 h: "},
    {"keepalive_idle", &pool_config::keepalive_idle, 1'000, 32'767'000, false,
     "it must be 1 s to 32767 s: ", 1'000},
    {"keepalive_interval", &pool_config::keepalive_interval, 1'000, 32'767'000, false,
     "it must be 1 s to 32767 s: ", 1'000},
    {"keepalive_probes", &pool_config::keepalive_probes, 1, 127, false, "it must be 1 to 127: "},
    {"tcp_user_timeout", &pool_config::tcp_user_timeout, 1, day_ms, true,
     "it must be 0 (the kernel's own rule) or 1 ms to 24 h: "},
};

bool is_count(const limits& one) {
  return std::holds_alternative<count_field>(one.field);
}

// A configuration in which `one` may have any value of its range, and has `value`.
pool_config with(const limits& one, std::int64_t value) {
  pool_config config;
  if (std::string_view(one.name) != "max_connections_per_endpoint") {
    config.max_connections_per_endpoint = 65'536;
  }
  if (std::string_view(one.name) == "connect_backoff_max") config.connect_backoff_min = 1ms;
  if (std::string_view(one.name) == "connect_backoff_min") config.connect_backoff_max = 24h;
  if (is_count(one)) {
    config.*std::get<count_field>(one.field) = static_cast<std::uint32_t>(value);
  } else {
    config.*std::get<duration_field>(one.field) = milliseconds(value);
  }
  return config;
}

std::string shown(const limits& one, std::int64_t value) {
  return std::string(one.name) + " is " + std::to_string(value) + (is_count(one) ? "; " : " ms; ");
}

void expect_refused(const limits& one, std::int64_t value) {
  const std::string start = shown(one, value) + one.allowed;
  const std::string detail = refused(with(one, value), one.name);
  EXPECT_EQ(detail.substr(0, start.size()), start);
  EXPECT_GT(detail.size(), start.size() + 10) << "it must say why";
}

TEST(pool_config, has_the_documented_defaults_and_they_are_valid) {
  const pool_config config;
  EXPECT_TRUE(conpool::validate(config));
  EXPECT_EQ(config.max_connections_per_endpoint, 32u);
  EXPECT_EQ(config.max_connections, 0u);
  EXPECT_EQ(config.max_connecting_per_endpoint, 4u);
  EXPECT_EQ(config.min_idle_per_endpoint, 0u);
  EXPECT_EQ(config.max_idle_per_endpoint, 0u);
  EXPECT_EQ(config.max_waiters_per_endpoint, 0u);
  EXPECT_EQ(config.connection_timeout, 3s);
  EXPECT_EQ(config.acquire_timeout, 5s);
  EXPECT_EQ(config.read_timeout, 30s);
  EXPECT_EQ(config.write_timeout, 30s);
  EXPECT_EQ(config.max_idle_time, 60s);
  EXPECT_EQ(config.max_connection_lifetime, 1h);
  EXPECT_EQ(config.lifetime_jitter_percent, 10u);
  EXPECT_EQ(config.max_connection_uses, 0u);
  EXPECT_EQ(config.refill_jitter, 100ms);
  EXPECT_EQ(config.trim_interval, 0ms);
  EXPECT_EQ(config.max_endpoint_idle_time, 5min);
  EXPECT_EQ(config.validation, validation_policy::watch);
  EXPECT_EQ(config.validation_interval, 0ms);
  EXPECT_EQ(config.probe_candidates, 4u);
  EXPECT_EQ(config.ping_window, 1s);
  EXPECT_EQ(config.ping_timeout, 1s);
  EXPECT_EQ(config.release_timeout, 1s);
  EXPECT_EQ(config.max_releasing_per_endpoint, 8u);
  EXPECT_EQ(config.connect_backoff_min, 10ms);
  EXPECT_EQ(config.connect_backoff_max, 5s);
  EXPECT_EQ(config.breaker_failures, 5u);
  EXPECT_EQ(config.leak_threshold, 0ms);
  EXPECT_FALSE(config.reuse_unanswered);
  EXPECT_FALSE(config.server_speaks_first);
  EXPECT_TRUE(config.tcp_nodelay);
  EXPECT_TRUE(config.tcp_keepalive);
  EXPECT_EQ(config.keepalive_idle, 30s);
  EXPECT_EQ(config.keepalive_interval, 5s);
  EXPECT_EQ(config.keepalive_probes, 3u);
  EXPECT_EQ(config.tcp_user_timeout, 30s);
}

TEST(pool_config, has_no_number_without_a_test_of_its_limits) {
  // Does not compile once a field is added: give that field its limits above, then count it here.
  const auto [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
              f20, f21, f22, f23, f24, f25, f26, f27, f28, f29, f30, f31, f32, f33, f34, f35, f36] =
      pool_config();
  const auto count = [](const auto&... fields) {
    return (0 + ... +
            (std::same_as<std::remove_cvref_t<decltype(fields)>, std::uint32_t> ||
             std::same_as<std::remove_cvref_t<decltype(fields)>, milliseconds>));
  };
  EXPECT_EQ(
      count(f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
            f20, f21, f22, f23, f24, f25, f26, f27, f28, f29, f30, f31, f32, f33, f34, f35, f36),
      static_cast<int>(std::size(all_limits)));
}

TEST(pool_config, takes_the_first_and_the_last_allowed_value_of_each_field) {
  for (const auto& one : all_limits) {
    SCOPED_TRACE(one.name);
    for (const std::int64_t value : {one.low, one.low + one.step, one.high - one.step, one.high}) {
      const auto valid = conpool::validate(with(one, value));
      EXPECT_OK(valid);
    }
  }
}

TEST(pool_config, refuses_the_values_next_to_the_limits_of_each_field) {
  for (const auto& one : all_limits) {
    SCOPED_TRACE(one.name);
    if (one.high < count_max || !is_count(one)) expect_refused(one, one.high + 1);
    // 0 has a test of its own, and a count has nothing below it.
    if (one.low > 1 || (one.low == 0 && !is_count(one))) expect_refused(one, one.low - 1);
  }
}

TEST(pool_config, refuses_values_far_outside_of_each_field) {
  for (const auto& one : all_limits) {
    SCOPED_TRACE(one.name);
    if (is_count(one)) {
      if (one.high < count_max) expect_refused(one, count_max);
    } else {
      expect_refused(one, -1);
      expect_refused(one, milliseconds::min().count());
      expect_refused(one, milliseconds::max().count());
    }
  }
}

TEST(pool_config, takes_zero_only_where_it_has_a_meaning) {
  for (const auto& one : all_limits) {
    SCOPED_TRACE(one.name);
    if (one.takes_zero || one.low == 0) {
      EXPECT_TRUE(conpool::validate(with(one, 0)));
    } else {
      expect_refused(one, 0);
    }
  }
}

TEST(pool_config, takes_keepalive_times_in_whole_seconds_only) {
  for (const auto& one : all_limits) {
    if (one.step == 1) continue;
    SCOPED_TRACE(one.name);
    for (const std::int64_t value : {1'001, 1'500, 1'999, 32'766'999}) {
      expect_refused(one, value);
      EXPECT_NE(refused(with(one, value), one.name).find("whole seconds"), std::string::npos);
    }
  }
}

TEST(pool_config, checks_fields_that_another_one_switches_off) {
  pool_config config;
  config.tcp_keepalive = false;
  EXPECT_TRUE(conpool::validate(config));
  config.keepalive_probes = 0;
  refused(config, "keepalive_probes");
}

TEST(pool_config, says_why_a_pool_without_connections_is_refused) {
  pool_config config;
  config.max_connections_per_endpoint = 0;
  EXPECT_EQ(refused(config, "max_connections_per_endpoint"),
            "max_connections_per_endpoint is 0; it must be 1 to 65536: a pool that may open "
            "nothing cannot lend");
}

TEST(pool_config, refuses_more_idle_connections_than_connections) {
  pool_config config;
  config.max_connections_per_endpoint = 8;
  config.max_idle_per_endpoint = 8;
  EXPECT_TRUE(conpool::validate(config));
  config.max_idle_per_endpoint = 9;
  EXPECT_EQ(refused(config, "max_idle_per_endpoint"),
            "max_idle_per_endpoint is 9; it must be 0 (as many as max_connections_per_endpoint) or "
            "1 to 8, which is max_connections_per_endpoint: there can be no more idle connections "
            "than connections");
}

TEST(pool_config, refuses_more_idle_connections_kept_ready_than_may_be_idle) {
  pool_config config;
  config.max_idle_per_endpoint = 4;
  config.min_idle_per_endpoint = 4;
  EXPECT_TRUE(conpool::validate(config));
  config.min_idle_per_endpoint = 5;
  EXPECT_EQ(refused(config, "min_idle_per_endpoint"),
            "min_idle_per_endpoint is 5; it must be 0 to 4, which is max_idle_per_endpoint: more "
            "are not kept");
}

TEST(pool_config, refuses_more_idle_connections_kept_ready_than_connections) {
  pool_config config;
  config.max_connections_per_endpoint = 8;
  config.min_idle_per_endpoint = 8;
  EXPECT_TRUE(conpool::validate(config));
  config.min_idle_per_endpoint = 9;
  EXPECT_EQ(refused(config, "min_idle_per_endpoint"),
            "min_idle_per_endpoint is 9; it must be 0 to 8, which is max_connections_per_endpoint: "
            "there can be no more idle connections than connections");
}

TEST(pool_config, refuses_a_backoff_that_ends_below_its_beginning) {
  pool_config config;
  config.connect_backoff_min = 100ms;
  config.connect_backoff_max = 100ms;
  EXPECT_TRUE(conpool::validate(config));
  config.connect_backoff_max = 99ms;
  EXPECT_EQ(refused(config, "connect_backoff_max"),
            "connect_backoff_max is 99 ms; it must be at least connect_backoff_min, which is 100 "
            "ms: a wait that grows cannot end below where it begins");
}

TEST(pool_config, lets_the_pools_limit_be_less_than_that_of_one_endpoint) {
  pool_config config;
  config.max_connections = config.max_connections_per_endpoint - 1;
  EXPECT_TRUE(conpool::validate(config));
}

TEST(pool_config, puts_in_the_meaning_of_zero_limits) {
  pool_config config;
  EXPECT_EQ(config.idle_limit(), 32u);
  EXPECT_EQ(config.waiter_limit(), 128u);
  config.max_connections_per_endpoint = 65'536;
  EXPECT_EQ(config.idle_limit(), 65'536u);
  EXPECT_EQ(config.waiter_limit(), 262'144u);
  config.max_idle_per_endpoint = 5;
  config.max_waiters_per_endpoint = 1;
  EXPECT_EQ(config.idle_limit(), 5u);
  EXPECT_EQ(config.waiter_limit(), 1u);
}

TEST(pool_config, refuses_a_validation_policy_that_does_not_exist) {
  pool_config config;
  for (const auto known : {validation_policy::watch, validation_policy::probe,
                           validation_policy::ping, validation_policy::none}) {
    config.validation = known;
    EXPECT_TRUE(conpool::validate(config)) << to_string(known);
  }
  config.validation = static_cast<validation_policy>(4);
  EXPECT_EQ(refused(config, "validation"),
            "validation is 4, which is no validation policy; the known ones are watch, probe, ping "
            "and none");
}

TEST(validation_policy, is_read_from_the_name_it_is_written_as) {
  for (const auto policy : {validation_policy::watch, validation_policy::probe,
                            validation_policy::ping, validation_policy::none}) {
    const auto again = conpool::parse_validation_policy(to_string(policy));
    ASSERT_OK(again);
    EXPECT_EQ(*again, policy);
  }
  EXPECT_STREQ(to_string(validation_policy::watch), "watch");
  EXPECT_STREQ(to_string(validation_policy::probe), "probe");
  EXPECT_STREQ(to_string(validation_policy::ping), "ping");
  EXPECT_STREQ(to_string(validation_policy::none), "none");
  EXPECT_STREQ(to_string(static_cast<validation_policy>(7)), "unknown");
}

TEST(validation_policy, refuses_other_names_and_lists_the_known_ones) {
  for (const std::string_view text : {"", "Watch", "watch ", "nonexistent", "unknown", "peek\n"}) {
    const auto parsed = conpool::parse_validation_policy(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error(), conpool::errc::invalid_config);
    EXPECT_EQ(parsed.error().where(), conpool::phase::configure);
    EXPECT_EQ(parsed.error().subject(), "validation");
  }
  EXPECT_EQ(conpool::parse_validation_policy("peek\n").error().detail(),
            "validation is 'peek?'; the known ones are watch, probe, ping and none");
  EXPECT_LT(conpool::parse_validation_policy(std::string(10'000, 'x')).error().detail().size(),
            200u);
}

}  // namespace

#include <bench/options.h>
#include <bench/tls.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <expected>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace std::chrono_literals;
using conpool::validation_policy;
using conpool::bench::all_presets;
using conpool::bench::early_exit;
using conpool::bench::options;
using conpool::bench::parse_options;
using conpool::bench::run_plan;
using conpool::bench::wire_protocol;

std::expected<options, early_exit> parse(std::initializer_list<const char*> given,
                                         unsigned cores = 2) {
  std::vector<const char*> arguments{"conpool-bench"};
  arguments.insert(arguments.end(), given);
  return parse_options(static_cast<int>(arguments.size()), arguments.data(), cores);
}

// The one run that the arguments ask for.
run_plan plan_of(std::initializer_list<const char*> given, unsigned cores = 2) {
  const auto parsed = parse(given, cores);
  if (!parsed) {
    ADD_FAILURE() << parsed.error().text;
    return {};
  }
  EXPECT_EQ(parsed->runs.size(), 1U);
  return parsed->runs.front();
}

// What is said of bad arguments: one line, status 2.
std::string refusal(std::initializer_list<const char*> given) {
  const auto parsed = parse(given);
  if (parsed) {
    ADD_FAILURE() << "not refused";
    return {};
  }
  EXPECT_EQ(parsed.error().status, 2);
  EXPECT_EQ(parsed.error().text.find('\n'), std::string::npos) << parsed.error().text;
  return parsed.error().text;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

TEST(options, run_high_reuse_when_nothing_is_asked_for) {
  const run_plan plan = plan_of({});
  EXPECT_EQ(plan.name, "high_reuse");
  EXPECT_EQ(plan.servers, 2U);
  EXPECT_EQ(plan.clients, 40U);
  EXPECT_EQ(plan.parallel, 10U);
  EXPECT_EQ(plan.messages, 50U);
  EXPECT_EQ(plan.message_bytes, 32U);
  EXPECT_EQ(plan.pool_size, 3U);
  EXPECT_EQ(plan.protocol, wire_protocol::echo);
  EXPECT_EQ(plan.validation, validation_policy::watch);
  EXPECT_EQ(plan.requests(), 2'000U);
  EXPECT_TRUE(plan.endpoints.empty());
}

TEST(options, run_all_presets_in_their_order) {
  const auto parsed = parse({"--preset", "all"});
  ASSERT_TRUE(parsed);
  ASSERT_EQ(parsed->runs.size(), all_presets().size());
  for (std::size_t index = 0; index < all_presets().size(); ++index) {
    EXPECT_EQ(parsed->runs[index].name, all_presets()[index].name);
    EXPECT_EQ(parsed->runs[index].requests(), all_presets()[index].requests());
  }
}

TEST(options, keep_half_of_the_processors_for_the_servers) {
  EXPECT_EQ(plan_of({}, 1).shards, 1U);
  EXPECT_EQ(plan_of({}, 1).server_shards, 1U);
  EXPECT_EQ(plan_of({}, 2).shards, 1U);
  EXPECT_EQ(plan_of({"--preset", "sixteen_servers"}, 16).shards, 8U);
  EXPECT_EQ(plan_of({"--preset", "sixteen_servers"}, 16).server_shards, 8U);
  EXPECT_EQ(plan_of({"--preset", "sixteen_servers", "--shards", "16"}, 16).server_shards, 1U);
}

TEST(options, make_a_custom_run_without_a_preset) {
  const run_plan plan = plan_of({"--clients", "200", "--messages", "7", "--message-size", "99",
                                 "--pool-size", "4", "--shards", "3"});
  EXPECT_EQ(plan.name, "custom");
  EXPECT_EQ(plan.clients, 200U);
  EXPECT_EQ(plan.parallel, 200U);
  EXPECT_EQ(plan.requests(), 1'400U);
  EXPECT_EQ(plan.message_bytes, 99U);
  EXPECT_EQ(plan.pool_size, 4U);
  EXPECT_EQ(plan.shards, 3U);
}

TEST(options, replace_numbers_of_a_preset) {
  const run_plan fewer = plan_of({"--preset", "extended_stress", "--clients", "100"});
  EXPECT_EQ(fewer.name, "extended_stress");
  EXPECT_EQ(fewer.clients, 100U);
  EXPECT_EQ(fewer.parallel, 100U);
  EXPECT_EQ(fewer.pool_size, 50U);
  const run_plan more = plan_of({"--preset", "extended_stress", "--clients", "50000"});
  EXPECT_EQ(more.clients, 50'000U);
  EXPECT_EQ(more.parallel, 500U);
}

TEST(options, take_servers_that_are_there) {
  const run_plan plan =
      plan_of({"--endpoint", "tcp://127.0.0.1:7", "--endpoint", "unix:/run/echo", "--quiet"});
  EXPECT_EQ(plan.name, "custom");
  ASSERT_EQ(plan.endpoints.size(), 2U);
  EXPECT_EQ(plan.endpoints[0].text(), "tcp://127.0.0.1:7");
  EXPECT_EQ(plan.endpoints[1].text(), "unix:/run/echo");
}

TEST(options, let_a_duration_replace_the_number_of_messages) {
  const run_plan plan = plan_of({"--duration", "1.5"});
  EXPECT_EQ(plan.name, "high_reuse");
  EXPECT_TRUE(plan.timed());
  EXPECT_EQ(plan.duration, 1500ms);
  EXPECT_EQ(plan.requests(), 0U);
  EXPECT_EQ(plan.clients, 10U);  // those at once: each goes on to the end
}

TEST(options, take_the_rest_as_it_is_given) {
  const run_plan plan =
      plan_of({"--protocol", "redis", "--validation", "none", "--rate", "2500.5"});
  EXPECT_EQ(plan.protocol, wire_protocol::redis);
  EXPECT_EQ(plan.validation, validation_policy::none);
  EXPECT_DOUBLE_EQ(plan.rate_per_s, 2500.5);
  EXPECT_EQ(plan_of({"--validation", "probe"}).validation, validation_policy::probe);
  EXPECT_EQ(plan_of({"--validation", "watch"}).validation, validation_policy::watch);
  const auto parsed = parse({"--json", "-", "--html=page.html", "--quiet"});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->json_path, "-");
  EXPECT_EQ(parsed->html_path, "page.html");
  EXPECT_TRUE(parsed->quiet);
}

TEST(options, list_the_presets_on_request) {
  const auto parsed = parse({"--list-presets"});
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().status, 0);
  for (const auto& each : all_presets()) EXPECT_TRUE(contains(parsed.error().text, each.name));
}

TEST(options, explain_themselves) {
  const auto parsed = parse({"--help"});
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().status, 0);
  for (const char* const option :
       {"--preset", "--list-presets", "--endpoint", "--protocol", "--tls", "--shards", "--clients",
        "--messages", "--duration", "--rate", "--message-size", "--pool-size", "--validation",
        "--json", "--html", "--quiet"}) {
    EXPECT_TRUE(contains(parsed.error().text, option)) << option;
  }
}

TEST(options, refuse_numbers_out_of_range_and_name_the_option) {
  for (const char* const option :
       {"--shards", "--clients", "--messages", "--message-size", "--pool-size"}) {
    for (const char* const value :
         {"0", "-1", "1.5", "many", "", "1x", " 1", "99999999999999999999999"}) {
      const std::string text = refusal({option, value});
      EXPECT_TRUE(text.starts_with(option)) << text;
      EXPECT_TRUE(contains(text, value)) << text;
    }
  }
  for (const char* const option : {"--duration", "--rate"}) {
    for (const char* const value : {"0", "-1", "nan", "inf", "1e99", "soon", ""}) {
      const std::string text = refusal({option, value});
      EXPECT_TRUE(text.starts_with(option)) << text;
    }
  }
  EXPECT_TRUE(contains(refusal({"--duration", "1e-9"}), "at least 0.001"));
  EXPECT_TRUE(contains(refusal({"--pool-size", "65537"}), "65536"));
}

TEST(options, refuse_more_memory_than_is_sensible) {
  EXPECT_TRUE(contains(refusal({"--clients", "100000", "--message-size", "16777216"}), "1 GiB"));
}

TEST(options, refuse_what_comes_later) {
  EXPECT_TRUE(contains(refusal({"--protocol", "http1"}), "later"));
}

TEST(options, tls_is_for_the_embedded_servers_or_by_endpoint) {
  if (!conpool::bench::has_tls()) {
    EXPECT_TRUE(contains(refusal({"--tls"}), "this build has no TLS"));
    return;
  }
  EXPECT_TRUE(contains(refusal({"--tls", "--endpoint", "tcp://localhost:7"}), "embedded"));
  EXPECT_TRUE(contains(refusal({"--endpoint", "tls://localhost:443", "--ca", "/no/such/file"}),
                       "/no/such/file"));
}

TEST(options, refuse_pings_as_no_protocol_here_has_one) {
  const std::string text = refusal({"--validation", "ping"});
  EXPECT_TRUE(text.starts_with("--validation")) << text;
  EXPECT_TRUE(contains(text, "needs a protocol with a ping")) << text;
  EXPECT_TRUE(contains(text, "watch, probe or none")) << text;
}

TEST(options, refuse_unknown_names_and_say_which_there_are) {
  const std::string preset = refusal({"--preset", "fast"});
  EXPECT_TRUE(contains(preset, "'fast'"));
  EXPECT_TRUE(contains(preset, "sixteen_servers"));
  EXPECT_TRUE(contains(refusal({"--protocol", "smtp"}), "echo or redis"));
  EXPECT_TRUE(contains(refusal({"--validation", "hope"}), "watch, probe or none"));
}

TEST(options, refuse_bad_endpoints_and_say_why) {
  const std::string text = refusal({"--endpoint", "tcp://host"});
  EXPECT_TRUE(contains(text, "--endpoint")) << text;
  EXPECT_TRUE(contains(text, "tcp://host")) << text;
  EXPECT_TRUE(contains(text, "port")) << text;
}

TEST(options, refuse_arguments_that_nobody_knows) {
  EXPECT_TRUE(contains(refusal({"--fast"}), "--fast"));
  EXPECT_TRUE(contains(refusal({"high_reuse"}), "high_reuse"));
  EXPECT_TRUE(contains(refusal({"--clients"}), "--clients"));
  EXPECT_TRUE(contains(refusal({"--clients", "1", "--clients", "2"}), "--clients"));
  EXPECT_TRUE(contains(refusal({"--html", "-"}), "--html"));
}

}  // namespace

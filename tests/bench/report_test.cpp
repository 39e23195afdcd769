#include <bench/html.h>
#include <bench/report.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace {

using conpool::bench::failure;
using conpool::bench::latency_summary;
using conpool::bench::machine_info;
using conpool::bench::run_report;
using json = nlohmann::ordered_json;

const machine_info machine{"6.1.0-test", 2, "A <fast> CPU & more"};

run_report sample() {
  run_report run;
  run.plan = conpool::bench::plan_of(conpool::bench::default_preset());
  run.requests = 2'000;
  run.errors = 3;
  run.stale_errors = 1;
  run.duration_s = 0.5;
  run.acquire_ns = latency_summary{2'000, 20, 45, 60, 1'234, 56'789, 1'234'567};
  run.request_ns = latency_summary{1'997, 5'000, 9'000, 12'000, 40'000, 90'000, 2'345'678};
  run.connections.hits = 1'990;
  run.connections.misses = 10;
  run.connections.created = 10;
  run.connections.reused = 1'985;
  run.connections.closed_by[0] = 1;
  run.connections.closed_by[1] = 3;
  run.failures = {failure{conpool::errc::connection_reset, conpool::phase::read, "tcp://h:1",
                          "read from tcp://h:1: <reset>", 3}};
  return run;
}

std::vector<std::string> keys(const json& object) {
  std::vector<std::string> found;
  for (const auto& item : object.items()) found.push_back(item.key());
  return found;
}

using names = std::vector<std::string>;

TEST(report, has_the_keys_that_programs_rely_upon) {
  const std::vector<run_report> runs{sample()};
  const json made = to_json(machine, runs);
  EXPECT_EQ(keys(made), (names{"conpool", "machine", "runs"}));
  EXPECT_EQ(keys(made["conpool"]), (names{"version"}));
  EXPECT_EQ(keys(made["machine"]), (names{"kernel", "cpus", "cpu"}));
  ASSERT_EQ(made["runs"].size(), 1U);
  const json& run = made["runs"][0];
  EXPECT_EQ(keys(run), (names{"preset", "protocol", "tls", "validation", "shards", "clients",
                              "requests", "errors", "stale_errors", "duration_s", "throughput_rps",
                              "hit_ratio", "connections", "acquire_ns", "request_ns"}));
  EXPECT_EQ(keys(run["connections"]), (names{"created", "reused", "closed"}));
  const names latency{"count", "min", "p50", "p90", "p99", "p999", "max"};
  EXPECT_EQ(keys(run["acquire_ns"]), latency);
  EXPECT_EQ(keys(run["request_ns"]), latency);
}

TEST(report, has_numbers_as_numbers) {
  const std::vector<run_report> runs{sample()};
  const json made = json::parse(to_json(machine, runs).dump());
  EXPECT_EQ(made["conpool"]["version"], conpool::bench::conpool_version());
  EXPECT_EQ(made["machine"]["kernel"], "6.1.0-test");
  EXPECT_EQ(made["machine"]["cpus"], 2);
  const json& run = made["runs"][0];
  EXPECT_EQ(run["preset"], "high_reuse");
  EXPECT_EQ(run["protocol"], "echo");
  EXPECT_EQ(run["tls"], false);
  EXPECT_EQ(run["validation"], "watch");
  EXPECT_EQ(run["clients"], 40);
  EXPECT_EQ(run["requests"], 2'000);
  EXPECT_EQ(run["errors"], 3);
  EXPECT_EQ(run["stale_errors"], 1);
  EXPECT_DOUBLE_EQ(run["duration_s"], 0.5);
  EXPECT_DOUBLE_EQ(run["throughput_rps"], 1'997 / 0.5);
  EXPECT_DOUBLE_EQ(run["hit_ratio"], 0.995);
  EXPECT_EQ(run["connections"]["created"], 10);
  EXPECT_EQ(run["connections"]["reused"], 1'985);
  EXPECT_EQ(run["connections"]["closed"], 4);
  EXPECT_EQ(run["acquire_ns"]["p999"], 56'789);
  EXPECT_EQ(run["request_ns"]["count"], 1'997);
}

TEST(report, of_a_run_in_which_nothing_worked_has_no_strange_numbers) {
  run_report run;
  run.plan.name = "custom";
  run.requests = 5;
  run.errors = 5;
  const std::vector<run_report> runs{run};
  const json made = to_json(machine, runs);
  EXPECT_EQ(made["runs"][0]["throughput_rps"], 0.0);
  EXPECT_EQ(made["runs"][0]["hit_ratio"], 0.0);
  EXPECT_NE(table_row(run).find("custom"), std::string::npos);
  EXPECT_NE(to_html(machine, runs).find("custom"), std::string::npos);
}

TEST(report, table_rows_line_up_with_the_header) {
  const std::string header = conpool::bench::table_header();
  const std::size_t names_begin = header.find('\n') + 1;
  const std::string row = table_row(sample());
  EXPECT_EQ(header.size() - names_begin, row.size()) << header << row;
  EXPECT_LE(row.size(), 120U);
  for (const char* const column : {"requests", "hits", "errors"}) {
    const std::size_t end = header.find(column) + std::string_view(column).size() - names_begin;
    EXPECT_NE(row[end - 1], ' ') << column;
    EXPECT_TRUE(row[end] == ' ' || row[end] == '\n') << column;
  }
  for (const char* const part : {"high_reuse", "2,000", "3,994", "99.50 %", "45 ns", "1.23 us",
                                 "56.8 us", "1.23 ms", "9.00 us", "40.0 us"}) {
    EXPECT_NE(row.find(part), std::string::npos) << part << " in " << row;
  }
}

TEST(report, names_each_kind_of_error_once) {
  const std::string lines = failure_lines(sample());
  EXPECT_NE(lines.find("3 requests failed: read from tcp://h:1: <reset>"), std::string::npos);
  EXPECT_NE(lines.find("1 of them over a connection that its peer had closed already"),
            std::string::npos);
  EXPECT_EQ(failure_lines(run_report{}), "");
}

TEST(report, as_a_page_needs_nothing_else_and_escapes_what_it_shows) {
  const std::vector<run_report> runs{sample(), sample()};
  const std::string page = to_html(machine, runs);
  EXPECT_TRUE(page.starts_with("<!doctype html>"));
  EXPECT_NE(page.find("<svg"), std::string::npos);
  EXPECT_NE(page.find("A &lt;fast&gt; CPU &amp; more"), std::string::npos);
  EXPECT_NE(page.find("&lt;reset&gt;"), std::string::npos);
  for (const char* const outside : {"http://", "https://", "<script", "<link", "src="}) {
    EXPECT_EQ(page.find(outside), std::string::npos) << outside;
  }
}

}  // namespace

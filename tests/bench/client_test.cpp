#include <bench/client.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <bench/progress.h>
#include <bench/report.h>
#include <bench/run.h>

namespace {

using conpool::errc;
using conpool::phase;
using conpool::bench::failure;
using conpool::bench::progress;
using conpool::bench::run_plan;
using conpool::bench::run_report;
using conpool::bench::wire_protocol;

run_plan small_run() {
  run_plan plan;
  plan.name = "small";
  plan.servers = 3;
  plan.clients = 20;
  plan.parallel = 7;
  plan.messages = 25;
  plan.message_bytes = 40;
  plan.pool_size = 2;
  return plan;
}

// Runs it against embedded servers.
run_report run(const run_plan& plan) {
  progress silent(stderr, progress::style::none);
  auto report = conpool::bench::execute(plan, silent);
  if (!report) {
    ADD_FAILURE() << report.error().message();
    return {};
  }
  return *report;
}

void expect_conserved(const run_report& report, const run_plan& plan) {
  EXPECT_EQ(report.requests, plan.requests());
  EXPECT_EQ(report.errors, 0U) << failure_lines(report);
  EXPECT_EQ(report.request_ns.count, plan.requests());
  EXPECT_EQ(report.acquire_ns.count, plan.requests());
  EXPECT_EQ(report.connections.hits + report.connections.misses, plan.requests());
  EXPECT_GE(report.connections.created, 1U);
  EXPECT_LE(report.connections.created, plan.servers * plan.pool_size * plan.shards);
  EXPECT_LE(report.acquire_ns.min, report.request_ns.max);
  EXPECT_GT(report.duration_s, 0.0);
}

TEST(client, makes_every_request_once_and_counts_it) {
  expect_conserved(run(small_run()), small_run());
}

TEST(client, spreads_over_shards_without_losing_anybody) {
  run_plan plan = small_run();
  plan.shards = 3;
  plan.server_shards = 2;
  expect_conserved(run(plan), plan);
}

TEST(client, leaves_shards_idle_if_there_are_more_of_them_than_clients) {
  run_plan plan = small_run();
  plan.shards = 4;
  plan.clients = 5;
  plan.parallel = 2;
  expect_conserved(run(plan), plan);
}

TEST(client, speaks_redis_with_the_embedded_server) {
  run_plan plan = small_run();
  plan.protocol = wire_protocol::redis;
  expect_conserved(run(plan), plan);
  plan.message_bytes = 100'000;
  expect_conserved(run(plan), plan);
}

TEST(client, takes_messages_of_any_size) {
  run_plan plan = small_run();
  plan.messages = 3;
  for (const std::uint32_t bytes : {1U, 2U, 15U, 16U, 17U, 3'000'000U}) {
    plan.message_bytes = bytes;
    expect_conserved(run(plan), plan);
  }
}

TEST(client, ends_by_the_clock_if_it_is_given_a_duration) {
  run_plan plan = small_run();
  plan.clients = plan.parallel;
  plan.messages = 1;
  plan.duration = std::chrono::milliseconds(50);
  const run_report report = run(plan);
  EXPECT_GT(report.requests, plan.clients);
  EXPECT_EQ(report.errors, 0U);
  EXPECT_GE(report.duration_s, 0.05);
}

TEST(client, keeps_the_pace_that_it_is_given) {
  run_plan plan = small_run();
  plan.clients = plan.parallel = 5;
  plan.messages = 10;
  plan.rate_per_s = 500;
  const run_report report = run(plan);
  EXPECT_EQ(report.requests, 50U);
  // The last of 50 requests is due 98 ms after the first; later is always possible.
  EXPECT_GE(report.duration_s, 0.098);
}

TEST(client, counts_failures_by_their_kind) {
  std::vector<failure> all;
  for (int i = 0; i < 3; ++i) {
    add_failure(all, {errc::connect_failed, phase::connect, "tcp://h:1", "first", 1});
    add_failure(all, {errc::connect_failed, phase::connect, "tcp://h:2", "second", 1});
  }
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].message, "first");
  EXPECT_EQ(all[0].count, 3U);
  EXPECT_EQ(all[1].count, 3U);
}

TEST(client, does_not_keep_more_kinds_of_failures_than_anybody_reads) {
  std::vector<failure> all;
  for (int i = 0; i < 1'000; ++i) {
    add_failure(all, {errc::connect_failed, phase::connect, std::to_string(i), "no", 1});
  }
  EXPECT_LE(all.size(), 10U);
  std::uint64_t sum = 0;
  for (const failure& each : all) sum += each.count;
  EXPECT_EQ(sum, 1'000U);
}

}  // namespace

#include <bench/run.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <span>
#include <utility>

#include <bench/echo_server.h>
#include <conpool/runtime/runtime.h>

namespace conpool::bench {
namespace {

constexpr std::chrono::milliseconds look_every(200);

using group_list = std::vector<std::unique_ptr<client_group>>;

task<void> run_group(client_group& clients) {
  co_await clients.run();
}
task<void> close_group(client_group& clients) {
  co_await clients.close();
}

// Runs the clients of all shards, and meanwhile shows how far they have come.
void run_clients(runtime& shards, const group_list& groups, progress& bar) {
  auto everyone = std::async(std::launch::async, [&shards, &groups] {
    shards.run_on_all([&groups](shard& home) { return run_group(*groups[home.id()]); });
  });
  do {
    std::uint64_t requests = 0;
    std::uint64_t errors = 0;
    for (const auto& group : groups) {
      requests += group->requests_so_far();
      errors += group->errors_so_far();
    }
    bar.show(requests, errors);
  } while (everyone.wait_for(look_every) != std::future_status::ready);
  everyone.get();
}

run_report sum_up(const run_plan& plan, const group_list& groups) {
  run_report report;
  report.plan = plan;
  histogram acquire_ns;
  histogram request_ns;
  std::uint64_t began_ns = ~std::uint64_t{0};
  std::uint64_t ended_ns = 0;
  for (const auto& group : groups) {
    const client_results& part = group->results();
    if (part.requests == 0) continue;
    report.requests += part.requests;
    report.errors += part.errors;
    report.stale_errors += part.stale_errors;
    report.connections += part.connections;
    for (const failure& one : part.failures) add_failure(report.failures, one);
    acquire_ns.merge(part.acquire_ns);
    request_ns.merge(part.request_ns);
    began_ns = std::min(began_ns, part.began_ns);
    ended_ns = std::max(ended_ns, part.ended_ns);
  }
  if (ended_ns > began_ns) report.duration_s = static_cast<double>(ended_ns - began_ns) / 1e9;
  report.acquire_ns = acquire_ns.summary();
  report.request_ns = request_ns.summary();
  return report;
}

task<result<void>> open_group(client_group& clients) {
  co_return clients.open(*shard::current());
}

}  // namespace

result<run_report> execute(const run_plan& plan, progress& bar) {
  std::unique_ptr<embedded_servers> embedded;
  std::span<const endpoint> servers(plan.endpoints);
  if (servers.empty()) {
    result<std::unique_ptr<embedded_servers>> started = embedded_servers::start(plan);
    if (!started) return fail(std::move(started.error()));
    embedded = std::move(*started);
    servers = embedded->endpoints();
  }

  runtime_options options;
  options.shards = plan.shards;
  result<std::unique_ptr<runtime>> shards = runtime::create(options);
  if (!shards) return fail(std::move(shards.error()));
  group_list groups;
  for (unsigned index = 0; index < plan.shards; ++index) {
    groups.push_back(std::make_unique<client_group>(plan, servers, index));
    result<void> opened = (*shards)->run_on(index, open_group, std::ref(*groups.back()));
    if (!opened) return fail(std::move(opened.error()));
  }

  bar.begin(plan);
  run_clients(**shards, groups, bar);
  bar.end();
  (*shards)->run_on_all([&groups](shard& home) { return close_group(*groups[home.id()]); });
  return sum_up(plan, groups);
}

std::uint64_t descriptors_for(const run_plan& plan) noexcept {
  const bool embedded = plan.endpoints.empty();
  const std::uint64_t servers = embedded ? plan.servers : plan.endpoints.size();
  // Every pool may be full for every server; embedded servers hold the other ends in this process.
  const std::uint64_t connections = servers * plan.pool_size * plan.shards;
  const std::uint64_t others = 64 + std::uint64_t{plan.shards} * 8;
  return embedded ? 2 * connections + servers + others : connections + others;
}

}  // namespace conpool::bench

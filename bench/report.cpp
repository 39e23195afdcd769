#include <bench/report.h>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include <bench/units.h>
#include <conpool/pool/config.h>
#include <conpool/runtime/version.h>

namespace conpool::bench {
namespace {

using json = nlohmann::ordered_json;

json to_json(const latency_summary& latency) {
  json made;
  made["count"] = latency.count;
  made["min"] = latency.min;
  made["p50"] = latency.p50;
  made["p90"] = latency.p90;
  made["p99"] = latency.p99;
  made["p999"] = latency.p999;
  made["max"] = latency.max;
  return made;
}

json to_json(const run_report& run) {
  json made;
  made["preset"] = run.plan.name;
  made["protocol"] = to_string(run.plan.protocol);
  made["tls"] = run.plan.tls;
  made["validation"] = to_string(run.plan.validation);
  made["shards"] = run.plan.shards;
  made["clients"] = run.plan.clients;
  made["requests"] = run.requests;
  made["errors"] = run.errors;
  made["stale_errors"] = run.stale_errors;
  made["duration_s"] = run.duration_s;
  made["throughput_rps"] = run.throughput_rps();
  made["hit_ratio"] = run.connections.hit_ratio();
  json& connections = made["connections"];
  connections["created"] = run.connections.created;
  connections["reused"] = run.connections.reused;
  connections["closed"] = run.connections.closed();
  made["acquire_ns"] = to_json(run.acquire_ns);
  made["request_ns"] = to_json(run.request_ns);
  return made;
}

std::string plural(std::uint64_t count, std::string_view one) {
  return fmt::format("{} {}{}", grouped(count), one, count == 1 ? "" : "s");
}

constexpr std::string_view groups =
    "                                                "
    "------------ acquire -------------  ---- request ----\n";
constexpr std::string_view row_format =
    "{:<17}{:>10}{:>10}{:>9}  {:>8}{:>9}{:>9}{:>9}  {:>8}{:>9}{:>9}\n";

}  // namespace

std::string_view conpool_version() noexcept {
  return version().text;
}

std::string table_title(const machine_info& machine, const run_plan& plan) {
  std::string servers;
  if (plan.endpoints.empty()) {
    servers = "servers embedded, on " + plural(plan.server_shards, "shard") + " of their own";
  } else {
    servers =
        plural(plan.endpoints.size(), "server") + " given, first " + plan.endpoints.front().text();
  }
  return fmt::format("conpool {}, Linux {}, {} of {}\n{}, clients on {}; validation: {}; {}\n\n",
                     conpool_version(), machine.kernel, plural(machine.cpus, "cpu"), machine.cpu,
                     to_string(plan.protocol), plural(plan.shards, "shard"),
                     to_string(plan.validation), servers);
}

std::string table_header() {
  return std::string(groups) + fmt::format(row_format, "preset", "requests", "per s", "hits", "p50",
                                           "p99", "p99.9", "max", "p50", "p99", "errors");
}

std::string table_row(const run_report& run) {
  const latency_summary& acquire = run.acquire_ns;
  const latency_summary& request = run.request_ns;
  // Where nothing was recorded, a dash stands in place of a time.
  const auto time = [](const latency_summary& of, std::uint64_t value_ns) {
    return of.count == 0 ? std::string("-") : human_time(value_ns);
  };
  return fmt::format(row_format, run.plan.name, grouped(run.requests),
                     grouped(static_cast<std::uint64_t>(run.throughput_rps())),
                     human_ratio(run.connections.hit_ratio()), time(acquire, acquire.p50),
                     time(acquire, acquire.p99), time(acquire, acquire.p999),
                     time(acquire, acquire.max), time(request, request.p50),
                     time(request, request.p99), grouped(run.errors));
}

std::string failure_lines(const run_report& run) {
  std::string made;
  for (const failure& one : run.failures) {
    made += fmt::format("{}: {} failed: {}\n", run.plan.name, plural(one.count, "request"),
                        one.message);
  }
  if (run.stale_errors > 0) {
    made += fmt::format("{}: {} of them over a connection that its peer had closed already\n",
                        run.plan.name, grouped(run.stale_errors));
  }
  return made;
}

nlohmann::ordered_json to_json(const machine_info& machine, std::span<const run_report> runs) {
  json made;
  made["conpool"]["version"] = conpool_version();
  made["machine"]["kernel"] = machine.kernel;
  made["machine"]["cpus"] = machine.cpus;
  made["machine"]["cpu"] = machine.cpu;
  made["runs"] = json::array();
  for (const run_report& run : runs) made["runs"].push_back(to_json(run));
  return made;
}

}  // namespace conpool::bench

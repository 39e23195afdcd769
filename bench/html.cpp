#include <bench/html.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include <bench/report.h>
#include <bench/units.h>

namespace conpool::bench {
namespace {

constexpr std::string_view head = R"(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>conpool-bench</title>
<style>
:root { color-scheme: light dark; --ink: #1c2024; --soft: #6b7480; --line: #d9dee4;
        --page: #fff; --acquire: #2563c9; --request: #c2570c; --bad: #c01d2e }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --soft: #98a2ad; --line: #343a41; --page: #16191d;
          --acquire: #6ea3ff; --request: #f0964a; --bad: #ff6b78 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
       max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
p { color: var(--soft); margin: .3rem 0 } .wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap;
         border-bottom: 1px solid var(--line) }
th { font-weight: 600; color: var(--soft) } th:first-child, td:first-child { text-align: left }
.bad { color: var(--bad); font-weight: 600 } .acquire { color: var(--acquire) }
.request { color: var(--request) } pre { white-space: pre-wrap; color: var(--bad) }
svg { width: 100%; min-width: 44rem; height: auto }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink) }
svg .soft { fill: var(--soft) } svg .grid { stroke: var(--line) }
svg .acquire { stroke: var(--acquire); fill: var(--acquire) }
svg .request { stroke: var(--request); fill: var(--request) }
</style>
)";

constexpr double chart_left = 150;
constexpr double chart_right = 960;
constexpr double chart_top = 24;
constexpr double row_height = 44;

std::string escaped(std::string_view text) {
  std::string made;
  for (const char each : text) {
    switch (each) {
      case '&':
        made += "&amp;";
        break;
      case '<':
        made += "&lt;";
        break;
      case '>':
        made += "&gt;";
        break;
      case '"':
        made += "&quot;";
        break;
      default:
        made += each;
    }
  }
  return made;
}

std::string table(std::span<const run_report> runs) {
  std::string made =
      "<div class=\"wide\"><table>\n<tr><th>preset<th>clients<th>requests<th>per second<th>hits"
      "<th class=\"acquire\">acquire p50<th class=\"acquire\">p99<th class=\"acquire\">p99.9"
      "<th class=\"acquire\">max<th class=\"request\">request p50<th class=\"request\">p99"
      "<th>errors\n";
  for (const run_report& run : runs) {
    made += fmt::format(
        "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}"
        "<td{}>{}\n",
        escaped(run.plan.name), grouped(run.plan.clients), grouped(run.requests),
        grouped(static_cast<std::uint64_t>(run.throughput_rps())),
        human_ratio(run.connections.hit_ratio()), human_time(run.acquire_ns.p50),
        human_time(run.acquire_ns.p99), human_time(run.acquire_ns.p999),
        human_time(run.acquire_ns.max), human_time(run.request_ns.p50),
        human_time(run.request_ns.p99), run.errors > 0 ? " class=\"bad\"" : "",
        grouped(run.errors));
  }
  return made + "</table></div>\n";
}

// The chart's axis: the whole powers of ten that cover all values.
struct log_axis {
  int first = 1;  // 10 ns
  int last = 6;   // 1 ms

  explicit log_axis(std::span<const run_report> runs) {
    for (const run_report& run : runs) {
      for (const latency_summary* each : {&run.acquire_ns, &run.request_ns}) {
        if (each->count == 0) continue;
        const double most = static_cast<double>(std::max<std::uint64_t>(each->max, 1));
        last = std::max(last, static_cast<int>(std::ceil(std::log10(most))));
      }
    }
  }
  double x(std::uint64_t value_ns) const {
    const double power = std::log10(static_cast<double>(std::max<std::uint64_t>(value_ns, 1)));
    const double part = (power - first) / (last - first);
    return chart_left + std::clamp(part, 0.0, 1.0) * (chart_right - chart_left);
  }
};

// A line from the minimum to the maximum, with a dot at each percentile. The rarer a percentile,
// the smaller its dot.
std::string latency_line(const log_axis& axis, const latency_summary& latency, double y,
                         std::string_view name) {
  if (latency.count == 0) return {};
  std::string made = fmt::format(
      "<g class=\"{}\"><line x1=\"{:.1f}\" y1=\"{}\" x2=\"{:.1f}\" y2=\"{}\" stroke-width=\"2\" "
      "opacity=\".45\"/>",
      name, axis.x(latency.min), y, axis.x(latency.max), y);
  struct mark {
    const char* label;
    std::uint64_t value_ns;
    double radius;
  };
  const mark marks[] = {{"p50", latency.p50, 6},
                        {"p90", latency.p90, 5},
                        {"p99", latency.p99, 4},
                        {"p99.9", latency.p999, 3},
                        {"max", latency.max, 2}};
  for (const mark& each : marks) {
    made += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{}\" r=\"{}\"><title>{} {}: {}</title></circle>",
        axis.x(each.value_ns), y, each.radius, name, each.label, human_time(each.value_ns));
  }
  return made + "</g>\n";
}

std::string chart(std::span<const run_report> runs) {
  const log_axis axis(runs);
  const double bottom = chart_top + row_height * static_cast<double>(runs.size());
  std::string made = fmt::format(
      "<div class=\"wide\"><svg viewBox=\"0 0 1000 {:.0f}\" role=\"img\" "
      "aria-label=\"Latencies of acquire and request\">\n",
      bottom + 12);
  std::uint64_t tick_ns = 10;
  for (int power = axis.first; power <= axis.last; ++power, tick_ns *= 10) {
    made += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\"/>"
        "<text class=\"soft\" x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4}</text>\n",
        axis.x(tick_ns), chart_top, bottom, chart_top - 8, human_tick(tick_ns));
  }
  double y = chart_top;
  for (const run_report& run : runs) {
    made += fmt::format("<text x=\"0\" y=\"{}\">{}</text>\n", y + row_height / 2 + 4,
                        escaped(run.plan.name));
    made += latency_line(axis, run.acquire_ns, y + row_height / 2 - 8, "acquire");
    made += latency_line(axis, run.request_ns, y + row_height / 2 + 8, "request");
    y += row_height;
  }
  return made + "</svg></div>\n";
}

}  // namespace

std::string to_html(const machine_info& machine, std::span<const run_report> runs) {
  std::string made(head);
  made += "<h1>conpool-bench</h1>\n";
  made += fmt::format("<p>conpool {}, Linux {}, {} cpus of {}</p>\n", conpool_version(),
                      escaped(machine.kernel), machine.cpus, escaped(machine.cpu));
  if (!runs.empty()) {
    const run_plan& plan = runs.front().plan;
    made += fmt::format("<p>protocol {}, clients on {} {}, validation {}</p>\n",
                        to_string(plan.protocol), plan.shards,
                        plan.shards == 1 ? "shard" : "shards", to_string(plan.validation));
  }
  made += "<h2>Results</h2>\n" + table(runs);
  made +=
      "<h2>Latencies</h2>\n<p><span class=\"acquire\">Acquire</span>: from the call to the lease. "
      "<span class=\"request\">Request</span>: from the call of acquire to the release. Dots, from "
      "large to small: p50, p90, p99, p99.9 and the maximum.</p>\n";
  made += chart(runs);
  std::string failures;
  for (const run_report& run : runs) failures += failure_lines(run);
  if (!failures.empty()) made += "<h2>Errors</h2>\n<pre>" + escaped(failures) + "</pre>\n";
  return made + "</html>\n";
}

}  // namespace conpool::bench

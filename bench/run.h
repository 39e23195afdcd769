// Takes a run from its plan to its results: starts the servers and the shards, lets the clients
// work, and combines what the shards have measured.
//
//   auto report = execute(plan, bar);       // blocks; result<run_report>
//
// An error means that nothing could be measured (no io_uring, no free port). Failed requests are
// not an error here: the report counts them.
#pragma once

#include <cstdint>
#include <vector>

#include <bench/client.h>
#include <bench/histogram.h>
#include <bench/plan.h>
#include <bench/progress.h>
#include <conpool/runtime/error.h>

namespace conpool::bench {

struct run_report {
  run_plan plan;
  std::uint64_t requests = 0;
  std::uint64_t errors = 0;
  std::uint64_t stale_errors = 0;
  double duration_s = 0;  // from the start of the first request to the end of the last
  latency_summary acquire_ns;
  latency_summary request_ns;
  pool_counts connections;
  std::vector<failure> failures;

  // Requests that succeeded, per second.
  double throughput_rps() const noexcept {
    return duration_s > 0 ? static_cast<double>(requests - errors) / duration_s : 0;
  }
};

result<run_report> execute(const run_plan& plan, progress& bar);

// How many descriptors the process may need at once for this plan.
std::uint64_t descriptors_for(const run_plan& plan) noexcept;

}  // namespace conpool::bench

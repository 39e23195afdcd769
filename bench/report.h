// The results of the runs, for people and for programs: rows of a table, and one JSON object.
//
//   {"conpool": {"version"}, "machine": {"kernel", "cpus", "cpu"}, "runs": [{"preset", ...}]}
//
// Times in JSON are in nanoseconds. acquire_ns covers the acquires that got a connection, and
// request_ns the requests that succeeded, from the call of acquire to the release.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include <bench/machine.h>
#include <bench/run.h>

namespace conpool::bench {

std::string_view conpool_version() noexcept;

// The lines above the table: versions, the machine, and what is the same for all runs.
std::string table_title(const machine_info& machine, const run_plan& plan);
std::string table_header();
std::string table_row(const run_report& run);

// One line for each kind of error of the run; empty if there were none.
std::string failure_lines(const run_report& run);

nlohmann::ordered_json to_json(const machine_info& machine, std::span<const run_report> runs);

}  // namespace conpool::bench

// The command line of conpool-bench, read and checked: what to run and where the reports go.
//
//   auto parsed = parse_options(argc, argv);
//   if (!parsed) return parsed.error().print();      // --help, --list-presets, a bad argument
//   for (const run_plan& plan : parsed->runs) ...
//
// A bad argument is reported in one line that names the option, and the exit status is 2.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include <bench/plan.h>

namespace conpool::bench {

struct options {
  std::vector<run_plan> runs;
  std::string json_path;  // empty: none; "-": standard output
  std::string html_path;  // empty: none
  bool quiet = false;     // no progress
};

// Why there is nothing to run: a text for standard output (status 0) or standard error.
struct early_exit {
  int status = 0;
  std::string text;

  // Writes the text to the stream where it belongs, and returns the status.
  int print() const;
};

// `cores` is the number of processors that the process may use. Half of them get a shard with
// clients unless --shards says otherwise; the embedded servers get the rest, and at least one
// shard.
std::expected<options, early_exit> parse_options(int argc, const char* const* argv, unsigned cores);

}  // namespace conpool::bench

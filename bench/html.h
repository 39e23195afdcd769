// The report as one self-contained HTML page: the table, and a chart of the latencies, drawn as SVG
// on a logarithmic axis. The page is light or dark as the reader's system is.
#pragma once

#include <span>
#include <string>

#include <bench/machine.h>
#include <bench/run.h>

namespace conpool::bench {

std::string to_html(const machine_info& machine, std::span<const run_report> runs);

}  // namespace conpool::bench

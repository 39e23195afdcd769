// How far a run is, on standard error: a bar on a terminal, and now and then a line elsewhere.
//
// Used by the main thread only, which looks at the clients' counters a few times a second; the
// shards do not know of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

#include <bench/plan.h>

namespace conpool::bench {

class progress {
 public:
  enum class style : std::uint8_t {
    none,   // --quiet
    bar,    // one line, painted over
    lines,  // a line every ten seconds, for logs
  };

  // Does not own the file.
  progress(std::FILE* to, style look) noexcept : to_(to), style_(look) {}

  void begin(const run_plan& plan);
  // So many requests are done, so many of them failed.
  void show(std::uint64_t requests, std::uint64_t errors);
  // Leaves no trace of a bar.
  void end();

  // What show() says after `elapsed`; a bar if `with_bar`, for a line otherwise.
  static std::string text(const run_plan& plan, std::uint64_t requests, std::uint64_t errors,
                          std::chrono::nanoseconds elapsed, bool with_bar);

 private:
  using clock = std::chrono::steady_clock;

  std::FILE* to_;
  style style_;
  run_plan plan_;
  clock::time_point began_;
  clock::time_point next_line_;
};

// bar on a terminal, lines elsewhere.
progress::style progress_style_for(std::FILE* file) noexcept;

}  // namespace conpool::bench

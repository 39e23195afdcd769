// Shows on standard error how far a run has come: as a bar on a terminal, and as a line now and
// then elsewhere.
//
// It is used by the main thread only, which looks at the clients' counters a few times a second.
// The shards know nothing of it.
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
    bar,    // one line, overwritten in place
    lines,  // a line every ten seconds, for logs
  };

  // Does not take ownership of the file.
  progress(std::FILE* to, style look) noexcept : to_(to), style_(look) {}

  void begin(const run_plan& plan);
  // Shows that `requests` are done and that `errors` of them failed.
  void show(std::uint64_t requests, std::uint64_t errors);
  // Erases the bar, if there is one.
  void end();

  // The text that show() prints after `elapsed`: with a bar if `with_bar`, and as a plain line
  // otherwise.
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

// Returns bar for a terminal, and lines for anything else.
progress::style progress_style_for(std::FILE* file) noexcept;

}  // namespace conpool::bench

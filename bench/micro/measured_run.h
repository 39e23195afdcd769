// One run of a benchmark: how many iterations it makes, and what is measured between begin and end.
//
// Google Benchmark decides the number, or CONPOOL_MICRO_ITERATIONS does: every benchmark then makes
// exactly that many, once. Its own `Iterations(N)` would put "/iterations:N" into the names; so
// main asks for a minimum time of 0, which makes it run one iteration once, and a run asks for its
// iterations as one batch, however many these are.
//
//   void acquire_hit(benchmark::State& state) {
//     ... set up ...
//     measured_run run(state);
//     run.begin();                               // the clock starts here
//     for (std::int64_t i = 0; i < run.iterations(); ++i) ...;
//     run.end();                                 // and stops here
//   }
//
// begin() and end() may stand in different functions, a coroutine included, on one thread: the CPU
// time reported is that thread's. Besides time it reports allocations_per_iteration, and with a
// ring enters_per_UNIT and sqes_per_UNIT, where the unit is what an iteration is.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <optional>
#include <string>

#include <conpool/runtime/detail/ring.h>

namespace conpool::micro {

// CONPOOL_MICRO_ITERATIONS, read once; nothing if it is not set. Exits with status 2 if it is not a
// number from 1 to 10^12.
std::optional<std::int64_t> exact_iterations();

// True after any benchmark of this process failed.
bool any_failed() noexcept;

class measured_run {
 public:
  explicit measured_run(benchmark::State& state) noexcept;

  std::int64_t iterations() const noexcept { return iterations_; }
  // Also reports this ring's calls and entries between begin and end, for each iteration.
  void count_ring(const ring& kernel, std::string unit);

  void begin();
  void end();
  // What is between is not measured: neither time, nor allocations, nor the ring's work.
  void pause();
  void resume();

  // Reports the benchmark as failed; end() and begin() do nothing after that.
  void fail(const std::string& why);
  bool failed() const noexcept { return failed_; }

 private:
  void start_counting() noexcept;
  void stop_counting() noexcept;

  benchmark::State& state_;
  std::int64_t iterations_;
  const ring* kernel_ = nullptr;
  std::string unit_;
  std::uint64_t allocations_ = 0;
  std::uint64_t enters_ = 0;
  std::uint64_t submissions_ = 0;
  bool began_ = false;
  bool failed_ = false;
};

}  // namespace conpool::micro

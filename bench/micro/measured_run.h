// One run of a benchmark: how many iterations it makes, and what is measured between begin and end.
//
// Google Benchmark decides the number, unless CONPOOL_MICRO_ITERATIONS does: then every benchmark
// makes exactly that many, once. Google Benchmark's own `Iterations(N)` would put "/iterations:N"
// into the names. So main() asks for a minimum time of 0, which makes it run one iteration once,
// and a run asks for all of its iterations as one batch.
//
//   void acquire_hit(benchmark::State& state) {
//     ... set up ...
//     measured_run run(state);
//     run.begin();                               // the clock starts here
//     for (std::int64_t i = 0; i < run.iterations(); ++i) ...;
//     run.end();                                 // and stops here
//   }
//
// begin() and end() may stand in different functions, coroutines included, but must run on one
// thread, whose CPU time is reported. Besides time, a run reports allocations_per_iteration and,
// with a ring, enters_per_UNIT and sqes_per_UNIT, where the unit is what one iteration does.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <optional>
#include <string>

#include <conpool/runtime/detail/ring.h>

namespace conpool::micro {

// Returns CONPOOL_MICRO_ITERATIONS, which is read once; nothing if it is not set. Exits with status
// 2 if it is not a number from 1 to 10^12.
std::optional<std::int64_t> exact_iterations();

// True once any benchmark of this process has failed.
bool any_failed() noexcept;

class measured_run {
 public:
  explicit measured_run(benchmark::State& state) noexcept;

  std::int64_t iterations() const noexcept { return iterations_; }
  // Also reports how many calls and entries this ring makes between begin() and end(), per
  // iteration.
  void count_ring(const ring& kernel, std::string unit);

  void begin();
  void end();
  // What happens between these two is not measured: neither time, nor allocations, nor the ring's
  // work.
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

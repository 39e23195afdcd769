#include <bench/micro/measured_run.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <bench/micro/allocations.h>

namespace conpool::micro {
namespace {

constexpr std::int64_t iterations_max = 1'000'000'000'000;
bool failed_any = false;

}  // namespace

std::optional<std::int64_t> exact_iterations() {
  static const std::optional<std::int64_t> parsed = []() -> std::optional<std::int64_t> {
    const char* const text = std::getenv("CONPOOL_MICRO_ITERATIONS");
    if (text == nullptr || *text == '\0') return std::nullopt;
    const char* const end = text + std::strlen(text);
    std::int64_t count = 0;
    const auto [stop, code] = std::from_chars(text, end, count);
    if (code != std::errc{} || stop != end || count < 1 || count > iterations_max) {
      std::fprintf(stderr,
                   "conpool-micro: CONPOOL_MICRO_ITERATIONS is \"%s\"; it must be a number from 1 "
                   "to %lld\n",
                   text, static_cast<long long>(iterations_max));
      std::exit(2);
    }
    return count;
  }();
  return parsed;
}

bool any_failed() noexcept {
  return failed_any;
}

measured_run::measured_run(benchmark::State& state) noexcept
    : state_(state), iterations_(exact_iterations().value_or(state.max_iterations)) {}

void measured_run::count_ring(const ring& kernel, std::string unit) {
  kernel_ = &kernel;
  unit_ = std::move(unit);
}

// These sums are unsigned and wrap: first the value at the start is subtracted, then the value at
// the end is added.
void measured_run::start_counting() noexcept {
  allocations_ -= thread_allocations();
  if (kernel_ == nullptr) return;
  enters_ -= kernel_->statistics().enters;
  submissions_ -= kernel_->statistics().submissions;
}

void measured_run::stop_counting() noexcept {
  allocations_ += thread_allocations();
  if (kernel_ == nullptr) return;
  enters_ += kernel_->statistics().enters;
  submissions_ += kernel_->statistics().submissions;
}

void measured_run::begin() {
  if (failed_) return;
  began_ = true;
  start_counting();
  // The batch may be larger than what Google Benchmark asked for; see the header.
  if (!state_.KeepRunningBatch(iterations_)) fail("Google Benchmark did not let it run");
}

void measured_run::end() {
  if (failed_) return;
  state_.KeepRunningBatch(iterations_);  // the second call stops the clock
  stop_counting();
  const auto by_iteration = [this](std::uint64_t count) {
    return static_cast<double>(count) / static_cast<double>(iterations_);
  };
  state_.counters["allocations_per_iteration"] = by_iteration(allocations_);
  if (kernel_ == nullptr) return;
  state_.counters["enters_per_" + unit_] = by_iteration(enters_);
  state_.counters["sqes_per_" + unit_] = by_iteration(submissions_);
}

void measured_run::pause() {
  if (failed_) return;
  state_.PauseTiming();
  stop_counting();
}

void measured_run::resume() {
  if (failed_) return;
  start_counting();
  state_.ResumeTiming();
}

void measured_run::fail(const std::string& why) {
  if (std::exchange(failed_, true)) return;
  failed_any = true;
  state_.SkipWithError(why.c_str());
  // Google Benchmark wants a run that has begun to come to its end.
  if (began_) state_.KeepRunningBatch(iterations_);
}

}  // namespace conpool::micro

// Time as the library sees it.
//
// Only a shard reads the clock. It reads its clock_source once a turn and hands the value out as
// shard::now(): a reading costs 30 ns, and because time moves only between turns, the decisions of
// one turn agree with each other. For the same reason the code can run in virtual time: a test or a
// simulation gives the shard a manual_clock.
//
// `time_point` is CLOCK_MONOTONIC in nanoseconds, which is what std::chrono::steady_clock reads on
// Linux. A program with an event loop of its own may therefore mix its readings with the library's:
// `*home.next_deadline() - std::chrono::steady_clock::now()`. CLOCK_MONOTONIC never goes back, and
// it does not count the time for which a machine was suspended.
//
//   manual_clock clock;                       // starts at an arbitrary fixed moment
//   clock.advance(std::chrono::seconds(30));  // every idle timeout of 30 s is due now
//
// A shard does not own its clock; the clock must outlive it. The monotonic clock may be read on any
// thread, a manual_clock only on the thread of the shards that it drives.
#pragma once

#include <time.h>

#include <chrono>
#include <type_traits>

#include <conpool/runtime/detail/assert.h>

namespace conpool {

using duration = std::chrono::nanoseconds;
using time_point = std::chrono::steady_clock::time_point;
static_assert(std::is_same_v<time_point::duration, duration>);

// Returns `from` plus `by`, or the last moment there is if the sum would overflow: so
// duration::max() means never.
constexpr time_point saturating_add(time_point from, duration by) noexcept {
  if (by > duration::zero() && from > time_point::max() - by) return time_point::max();
  return from + by;
}

// The source of a shard's time. Its readings never go back.
class clock_source {
 public:
  virtual time_point now() noexcept = 0;

 protected:
  constexpr clock_source() noexcept = default;
  clock_source(const clock_source&) = delete;
  clock_source& operator=(const clock_source&) = delete;
  ~clock_source() = default;
};

namespace detail {

class monotonic_clock_source final : public clock_source {
 public:
  constexpr monotonic_clock_source() noexcept = default;
  time_point now() noexcept override {
    timespec reading;
    [[maybe_unused]] const int status = ::clock_gettime(CLOCK_MONOTONIC, &reading);
    CONPOOL_ASSERT(status == 0, "CLOCK_MONOTONIC cannot be read");
    return time_point(std::chrono::seconds(reading.tv_sec) + duration(reading.tv_nsec));
  }
};

CONPOOL_API inline constinit monotonic_clock_source the_monotonic_clock;

}  // namespace detail

// The default: the kernel's CLOCK_MONOTONIC. The process has one, which is never destroyed.
inline clock_source& monotonic_clock() noexcept {
  return detail::the_monotonic_clock;
}

// A clock that stands still until it is told to move.
class manual_clock final : public clock_source {
 public:
  // Starts at `start`. The default is not zero, because real readings are not.
  explicit manual_clock(time_point start = time_point(std::chrono::hours(1))) noexcept
      : now_(start) {}

  time_point now() noexcept override { return now_; }

  // Moves forward by `by`, which must not be negative.
  void advance(duration by) noexcept {
    CONPOOL_ASSERT(by >= duration::zero(), "a clock cannot go back");
    now_ += by;
  }

  // Moves forward to `moment`, which must not be before now().
  void set(time_point moment) noexcept {
    CONPOOL_ASSERT(moment >= now_, "a clock cannot go back");
    now_ = moment;
  }

 private:
  time_point now_;
};

}  // namespace conpool

// The time of day, by which certificates and tickets are valid.
//
// All else in conpool runs on the shard's monotonic clock, but validity periods are in calendar
// time. The shard_resources read it once a handshake, never for a record. A simulation or a test
// gives them a manual_wall_clock.
//
// A source is owned by whoever made it, and outlives the shard_resources that read it.
// system_wall_clock() may be read on any thread, a manual_wall_clock only on the thread of those
// that it serves.
#pragma once

#include <cstdint>
#include <ctime>

namespace conpool::tls {

class wall_clock_source {
 public:
  // Seconds since 1970, UTC.
  virtual std::int64_t now_s() noexcept = 0;

 protected:
  constexpr wall_clock_source() noexcept = default;
  wall_clock_source(const wall_clock_source&) = delete;
  wall_clock_source& operator=(const wall_clock_source&) = delete;
  ~wall_clock_source() = default;
};

namespace detail {

class system_wall_clock_source final : public wall_clock_source {
 public:
  constexpr system_wall_clock_source() noexcept = default;
  std::int64_t now_s() noexcept override { return std::time(nullptr); }
};

inline constinit system_wall_clock_source the_system_wall_clock;

}  // namespace detail

inline wall_clock_source& system_wall_clock() noexcept {
  return detail::the_system_wall_clock;
}

// Stands still until it is told to move; unlike a manual_clock also backwards, as clocks are set.
class manual_wall_clock final : public wall_clock_source {
 public:
  explicit manual_wall_clock(std::int64_t start_s) noexcept : now_s_(start_s) {}
  std::int64_t now_s() noexcept override { return now_s_; }
  void advance_s(std::int64_t by_s) noexcept { now_s_ += by_s; }
  void set_s(std::int64_t now_s) noexcept { now_s_ = now_s; }

 private:
  std::int64_t now_s_;
};

}  // namespace conpool::tls

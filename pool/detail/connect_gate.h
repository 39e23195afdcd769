// When an endpoint may be dialed again after connects to it have failed: backoff and breaker.
//
// After the k-th failure in a row the next connect waits a random time between 0 and
// connect_backoff_min * 2^(k-1), at most connect_backoff_max ("full jitter": Brooker, "Exponential
// Backoff and Jitter", AWS Architecture Blog, 2015), so that many clients of one broken server
// spread out. After breaker_failures in a row the breaker opens: callers who would have to wait for
// a connect fail at once, and trial connects go on one at a time, paced by the same backoff.
//
// A connect that stands closes the breaker. The count of failures starts anew only when a
// connection was really lent: a server that accepts and closes at once is failing, too.
//
// Owned by an endpoint's pool. It holds no timer: next_attempt() says when to look again.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include <conpool/pool/config.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/random.h>

namespace conpool {

class connect_gate {
 public:
  // True if this failure opened the breaker.
  bool failed(time_point now, const pool_config& config, random_source& random) noexcept {
    if (failures_ < UINT32_MAX) ++failures_;
    duration most = config.connect_backoff_min;
    // Doubled so often it is above every limit; more would overflow.
    constexpr std::uint32_t doublings_max = 32;
    for (std::uint32_t i = 1; i < std::min(failures_, doublings_max); ++i) {
      most *= 2;
      if (most >= config.connect_backoff_max) break;
    }
    not_before_ = now + random.up_to(std::min<duration>(most, config.connect_backoff_max));
    if (open_ || config.breaker_failures == 0 || failures_ < config.breaker_failures) return false;
    open_ = true;
    return true;
  }
  // A connect stands. True if this closed the breaker.
  bool stood() noexcept {
    not_before_ = time_point::min();
    return std::exchange(open_, false);
  }
  // A new connection was lent.
  void served() noexcept { failures_ = 0; }

  bool open() const noexcept { return open_; }
  std::uint32_t failures() const noexcept { return failures_; }
  bool may_dial(time_point now) const noexcept { return now >= not_before_; }
  time_point next_attempt() const noexcept { return not_before_; }

 private:
  time_point not_before_ = time_point::min();
  std::uint32_t failures_ = 0;
  bool open_ = false;
};

}  // namespace conpool

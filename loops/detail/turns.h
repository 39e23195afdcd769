// A foreign loop's part in turning a shard: a few turns at once, and then when the next is due.
//
//   const due next = turn(home);
//   if (next.ended) ...           // it was stopped, and has ended: turn it no more
//   if (next.now) ...             // there is more to do; let the loop serve its others first
//   if (next.at) ...              // at the latest at this moment, and when fd() is readable
//
// For the adapters in loops/. It is used on the shard's thread, outside of a turn.
#pragma once

#include <optional>

#include <conpool/runtime/clock.h>
#include <conpool/runtime/shard.h>

namespace conpool::loops::detail {

// A shard that is always busy must not keep the rest of its loop waiting.
inline constexpr unsigned turns_at_once = 8;

struct due {
  bool ended = false;
  bool now = false;
  std::optional<time_point> at;
};

inline due turn(shard& home) {
  due next;
  next.now = true;
  for (unsigned turns = 0; next.now && turns < turns_at_once; ++turns) {
    next.now = home.run_once(duration::zero());
  }
  next.ended = home.stopped();
  if (!next.now) next.at = home.next_deadline();
  return next;
}

}  // namespace conpool::loops::detail

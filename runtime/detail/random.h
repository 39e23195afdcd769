// The pseudo-random numbers of one shard. They are for jitter, so that what began together does not
// end together.
//
//   const duration wait = home.random().up_to(100ms);
//
// The generator is SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
// Generators", 2014): eight bytes of state and three multiplications. It is not for secrets. From
// one seed it gives the same numbers again, which is how a simulation replays. It is used on its
// shard's thread only.
#pragma once

#include <cstdint>

#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/assert.h>

namespace conpool {

class random_source {
 public:
  explicit random_source(std::uint64_t seed) noexcept : state_(seed) {}

  std::uint64_t next() noexcept {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return mixed ^ (mixed >> 31);
  }
  // Returns 0 to bound - 1, with a bias below bound / 2^64. Precondition: bound > 0.
  std::uint64_t below(std::uint64_t bound) noexcept {
    CONPOOL_ASSERT(bound > 0, "there is no number below 0");
    return next() % bound;
  }
  // Returns 0 to `most`, both included. Precondition: `most` is not negative.
  duration up_to(duration most) noexcept {
    CONPOOL_ASSERT(most >= duration::zero(), "jitter is not negative");
    return duration(
        static_cast<duration::rep>(below(static_cast<std::uint64_t>(most.count()) + 1)));
  }

 private:
  std::uint64_t state_;
};

}  // namespace conpool

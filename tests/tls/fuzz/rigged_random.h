// Random bytes that are the same in every run: each end of a session draws from its own sequence.
//
// The fuzz program defines RAND_bytes, which BoringSSL's shared libraries then use. So a flight
// that was recorded once is a good flight when it is replayed to a new stream, and a mutated one is
// good up to the mutation. EC and PSS signatures draw inside of BoringSSL: where an answer to the
// attacked end's signature is recorded, it is one of plain RSA, which draws nothing; TLS 1.3 has
// none of these, so a full handshake of a 1.3 server cannot be replayed.
#pragma once

#include <cstdint>

namespace conpool::test {

class rigged_random {
 public:
  explicit rigged_random(std::uint64_t seed) noexcept : state_(seed) {}

  std::uint64_t next() noexcept {  // splitmix64
    state_ += 0x9E3779B97F4A7C15U;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9U;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBU;
    return mixed ^ (mixed >> 31U);
  }

  // The sequence that RAND_bytes draws from, until the scope ends.
  class scope {
   public:
    explicit scope(rigged_random& from) noexcept : before_(current_) { current_ = &from; }
    ~scope() { current_ = before_; }
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;

   private:
    rigged_random* before_;
  };
  // Outside of every scope: one of the program's own.
  static rigged_random& current() noexcept {
    static rigged_random general(1);
    return current_ != nullptr ? *current_ : general;
  }

 private:
  static inline rigged_random* current_ = nullptr;
  std::uint64_t state_;
};

}  // namespace conpool::test

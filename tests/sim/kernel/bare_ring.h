// A ring on a simulated network without a shard, and operations that remember their result: for
// tests of the simulation itself.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include <conpool/runtime/detail/operation.h>
#include <conpool/runtime/detail/ring.h>

#include <tests/sim/kernel/network.h>

namespace conpool::sim {

struct recorded : operation {
  recorded() noexcept : operation(&recorded::finished) {}
  static void finished(operation& op) noexcept { ++static_cast<recorded&>(op).times; }
  unsigned times = 0;  // its handler ran
};

struct bare_ring {
  explicit bare_ring(std::uint64_t seed, const ring_options& options = {}) : net(seed) {
    auto made = ring::create(options);
    EXPECT_TRUE(made);
    ring = std::move(*made);
    EXPECT_TRUE(ring->enable());
  }

  // Submits, waits and harvests until the handler of `op` has run, for at most ten minutes.
  bool finish(const recorded& op) {
    const time_point limit = net.now() + std::chrono::minutes(10);
    while (op.in_flight() && net.now() < limit) {
      if (!ring->completions_pending()) ring->enter(limit - net.now());
      ring->harvest();
    }
    return !op.in_flight();
  }
  // Lets time pass; harvests nothing.
  void pass(duration time) {
    const time_point until = net.now() + time;
    while (net.now() < until) net.advance(until);
  }

  network net;
  std::unique_ptr<conpool::ring> ring;
};

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span<const char>(text));
}

inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace conpool::sim

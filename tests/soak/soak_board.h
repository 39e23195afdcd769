// What the operator's thread and the clients' shard of conpool-soak-servers tell each other.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include <conpool/runtime/clock.h>

namespace conpool::test {

inline constexpr std::size_t soak_servers = 3;
inline constexpr std::array<const char*, soak_servers> soak_names{"nginx", "redis", "postgres"};

struct soak_board {
  // Ports and times are set before the clients begin.
  std::array<std::uint16_t, soak_servers> ports{};
  duration backoff_max = std::chrono::seconds(1);
  // For machines that do other things beside: added to each time that is promised.
  duration slack{0};

  // Since when each server answers, by the monotonic clock; 0 while it is paused or down.
  std::array<std::atomic<duration::rep>, soak_servers> ready_since{};
  // The operator asks for rest: the clients stop, and all connections are closed. `at_rest` says
  // that this has come, and its figures are written down.
  std::atomic<bool> quiet = false;
  std::atomic<bool> at_rest = false;
  std::atomic<bool> stop = false;
  std::atomic<bool> ended = false;
  std::atomic<std::uint64_t> violations = 0;

  duration back_within() const noexcept { return backoff_max + std::chrono::seconds(1) + slack; }
};

// Blocks the operator's thread; in whole milliseconds.
void let_pass(duration time);

// Writes a line to standard error and counts it.
void note_violation(soak_board& on, const char* law, const char* server, const char* detail);

// Runs the clients until `stop`; to be called on a thread of its own.
void run_soak_clients(soak_board& on);

}  // namespace conpool::test

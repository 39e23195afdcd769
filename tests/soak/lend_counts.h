// What the programs that look for stale lends count, and how they judge one lend.
#pragma once

#include <cstdint>
#include <string>

#include <conpool/pool/config.h>
#include <conpool/pool/lease.h>
#include <conpool/runtime/clock.h>

namespace conpool::test {

struct lend_case {
  validation_policy policy = validation_policy::watch;
  bool secure = false;
  std::uint64_t lends = 0;
  std::uint64_t seed = 1;
};

struct lend_counts {
  std::uint64_t lends = 0;
  std::uint64_t reused = 0;
  std::uint64_t refused = 0;  // acquires that failed
  std::uint64_t faults = 0;   // what the server did
  std::uint64_t found = 0;    // lends of a connection that was broken by then, however short before
  std::uint64_t stale = 0;    // and of these: broken for longer than `known_after`
  bool expects_stale = false;  // and does not describe them

  lend_counts& operator+=(const lend_counts& other) noexcept;
};

// What is there for so long before the pool looks, the pool should have known.
inline constexpr duration known_after = std::chrono::microseconds(50);

// Counts a lend. `broke` is when the connection broke, the epoch for not at all, and never later
// than it did. `asked` was read before the acquire was awaited. Returns whether the connection is
// still good; what is stale is described on standard error.
bool judge_lend(lend_counts& sum, const lease& lent, time_point broke, time_point asked);

// What a look at the socket finds, and takes nothing of it: "nothing", "end", "bytes", "reset".
std::string look_at_socket(int fd);

// The line of a table, and its head.
std::string head_of_counts();
std::string line_of_counts(const std::string& name, const lend_counts& sum);

// Runs against a server that breaks connections at random (faulty_server), and against nginx, which
// ends those that are idle for about as long as leases are held.
lend_counts soak_faulty_server(const lend_case& how);
lend_counts soak_nginx(const lend_case& how);

}  // namespace conpool::test

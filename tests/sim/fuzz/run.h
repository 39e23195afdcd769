// One run of the fuzz: a world, a pool, clients and an operator, and the oracle that looks on.
//
//   run one(seed);
//   one.live();                  // all its steps, the end, and what must be true then
//
// A step is a turn of the shard, or something that the operator does between two turns; the oracle
// looks after each. Clients act within the turns.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <conpool/pool/pool.h>
#include <conpool/runtime/detail/random.h>
#include <conpool/runtime/task.h>

#include <tests/sim/fuzz/oracle.h>
#include <tests/sim/fuzz/plan.h>
#include <tests/sim/world.h>

namespace conpool::sim::fuzz {

struct run {
  explicit run(std::uint64_t seed);

  void live();
  // A turn, which waits at most so long, and the oracle's look.
  bool turn(duration most_wait);
  void look() { checks.check(); }

  endpoint draw_endpoint(random_source& dice);
  void start(task<void> (*body)(run&, random_source), std::uint64_t number);

  std::uint64_t seed;
  plan drawn;
  world here;
  oracle checks;
  std::vector<endpoint> peers;
  std::shared_ptr<pool> current;
  std::shared_ptr<pool> successor;  // while `current` drains
  random_source dice;
  std::uint64_t pools_made = 0;
  std::size_t tasks = 0;
  unsigned validating = 0;
  bool ending = false;

 private:
  void end();
};

// --- clients.cpp. Until run::ending: acquires and does something with what it gets.
task<void> client(run& in, random_source dice);

// --- operator.cpp. Something that an operator may do between two turns.
void operate(run& in);
void make_next_pool(run& in);

}  // namespace conpool::sim::fuzz

// What must hold after each step of the fuzz, whatever happened: see oracle::check().
//
// It sees the pool through its public statistics and the network through the simulation; clients,
// protocol and observer tell it of what they got, gave back and saw closed.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <conpool/pool/pool.h>

#include <tests/sim/fuzz/plan.h>
#include <tests/sim/world.h>

namespace conpool::sim::fuzz {

// One acquire, from the call to its result.
struct wish {
  std::string peer;
  std::uint64_t number = 0;  // in the order of asking
  time_point asked{};
  time_point due{};  // it has ended by then
  acquire_priority lane = acquire_priority::normal;
  bool fresh = false;
  bool others_waited = false;  // in the queue, and an old connection would have done for them
};

class oracle {
 public:
  oracle(world& here, const plan& drawn) : here_(here), plan_(drawn) {}

  // The pool that clients use; one that was drained is looked at until the end.
  void watch(std::shared_ptr<pool> made);

  // --- Told by clients.
  wish asks(pool& from, const std::string& peer, const acquire_options& options);
  void got(const wish& one, const pool& from, lease& taken, bool waited);
  void failed(const wish& one, const error& why);
  void gives_back(const pool& from, std::uint64_t id);
  // --- Told by protocols and observers.
  void saw_closed(const pool& from, std::uint64_t id) { retired_.emplace(&from, id); }

  // After each step.
  void check();
  // When everything has ended.
  void check_end();

  std::uint64_t steps() const noexcept { return steps_; }
  std::uint64_t served() const noexcept { return served_; }
  std::uint64_t refused() const noexcept { return refused_; }
  std::size_t asking() const noexcept { return pending_.size(); }

 private:
  using connection_key = std::pair<const pool*, std::uint64_t>;
  // What was seen of an endpoint a step before.
  struct memory {
    std::uint32_t standing = 0;
    std::uint32_t total = 0;
    std::uint32_t connecting = 0;
    std::uint32_t waiting = 0;
    std::uint64_t created = 0;
    unsigned stuck_steps = 0;
    time_point stuck_since{};
  };

  void check_counts(const pool_counts& counts, const std::string& whose) const;
  void check_caps(const endpoint_stats& now, memory& before, const pool_config& config) const;
  void check_progress(const endpoint_stats& now, memory& before, const pool_stats& all);
  bool could_go_on(const endpoint_stats& now, const pool_stats& all) const;
  std::string trouble() const;

  world& here_;
  const plan& plan_;
  std::vector<std::shared_ptr<pool>> pools_;
  std::map<std::string, memory> memory_;
  std::map<std::uint64_t, wish> pending_;
  std::map<connection_key, unsigned> lent_;
  std::map<connection_key, std::uint64_t> returned_;  // in which step
  std::set<connection_key> retired_;
  std::map<std::pair<std::string, bool>, std::array<std::uint64_t, 2>> last_served_;
  duration longest_backoff_{0};
  std::uint64_t connections_before_ = 0;
  std::uint64_t last_wish_ = 0;
  std::uint64_t steps_ = 0;
  std::uint64_t served_ = 0;
  std::uint64_t refused_ = 0;
};

}  // namespace conpool::sim::fuzz

// What must hold after each step of the fuzz, whatever happened: see oracle::check().
//
// It sees the pool through its public statistics and the network through the simulation; clients,
// protocols and observers tell it of what they got, gave back and saw closed. Laws of one kind each
// are in files of their own:
//
//   oracle.cpp          counts, caps, progress, who is served before whom, what is lent
//   oracle_outages.cpp  dials, the breaker, who is refused, recovery
//   oracle_upkeep.cpp   reuse, evictions, pings, idle times
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
  std::uint64_t step = 0;
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
  void got(const wish& one, const pool& from, connection& taken, bool waited);
  void failed(const wish& one, const pool& from, const error& why);
  // `clean`: its user has left nothing in the middle.
  void gives_back(const pool& from, std::uint64_t id, bool clean);
  // --- Told by protocols, observers and the operator.
  void saw_closed(const pool& from, std::uint64_t id);
  void hears_of_end(const pool& from, std::uint64_t id, close_reason why);
  void sees_ping(const pool& from, const connection& one);
  void sees_rest(const pool& from, std::uint64_t id);
  void reconfigured();
  void leaves_something() { ++unclean_; }
  void pings_at_will() { may_ping_since_ = here_.now(); }

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
  // Since when nobody has used a connection, and since when it was not asked either.
  struct rest {
    time_point unused;
    time_point unasked;
  };
  // What was seen of an endpoint a step before.
  struct memory {
    std::uint32_t standing = 0;
    std::uint32_t total = 0;
    std::uint32_t connecting = 0;
    std::uint32_t waiting = 0;
    std::uint64_t created = 0;
    std::uint64_t seen = 0;  // created, at the last look
    std::uint64_t breaker_opened = 0;
    unsigned stuck_steps = 0;
    unsigned open_steps = 0;
    time_point stuck_since{};
    // When a new connection was lent last, and what had failed by then.
    std::uint64_t failed_before = 0;
    std::uint64_t moments_before = 0;
    bool dialed_before = false;  // and a dial was under way
    std::uint64_t lent_in_step = 0;
    // While its server is down and nothing stands.
    bool out = false;
    time_point out_since{};
    std::uint64_t dials_before = 0;
    // When it was reachable again and somebody waited.
    time_point reachable_since{};
    bool recovering = false;
  };

  void check_counts(const pool_counts& counts, const std::string& whose) const;
  void check_caps(const endpoint_stats& now, memory& before, const pool_config& config) const;
  void check_progress(const endpoint_stats& now, memory& before, const pool_stats& all);
  void check_lend(const wish& one, const pool& from, connection& taken) const;
  void check_order(const wish& one, const pool& from, const connection& taken, bool waited);
  bool others_wait(const pool& from, const std::string& peer) const;
  bool could_go_on(const endpoint_stats& now, const pool_stats& all) const;
  std::string trouble() const;
  // --- oracle_outages.cpp
  void check_breaker(const endpoint_stats& now, memory& before, const pool_config& config) const;
  void check_outage(const endpoint_stats& now, memory& before, const pool_config& config);
  void check_refusal(const wish& one, const pool& from, const error& why) const;
  void note_first_lend(const pool& from, const wish& one);
  const server& server_of(const std::string& peer) const;
  // --- oracle_upkeep.cpp
  void check_reuse() const;
  void check_evictions(const pool_stats& all);
  void check_rests(const pool_config& config) const;
  std::uint64_t surprises() const;

  world& here_;
  const plan& plan_;
  std::vector<std::shared_ptr<pool>> pools_;
  std::map<std::string, memory> memory_;
  std::map<std::uint64_t, wish> pending_;
  std::map<connection_key, unsigned> lent_;
  std::map<connection_key, std::uint64_t> returned_;  // in which step
  std::map<connection_key, rest> resting_;
  std::set<connection_key> retired_;
  std::map<std::pair<std::string, bool>, std::array<std::uint64_t, 2>> last_served_;
  duration longest_backoff_{0};
  time_point configured_{};
  time_point may_ping_since_{};
  std::uint64_t connections_before_ = 0;
  std::uint64_t last_wish_ = 0;
  std::uint64_t fresh_wishes_ = 0;
  std::uint64_t evicted_before_ = 0;
  std::uint64_t new_for_others_ = 0;     // new connections lent to callers who waited for any
  std::uint64_t taken_from_others_ = 0;  // for none who had nothing
  bool somebody_has_nothing_ = false;
  time_point watched_since_{};
  bool ever_capped_ = false;
  std::uint64_t unclean_ = 0;
  std::uint64_t steps_ = 0;
  std::uint64_t served_ = 0;
  std::uint64_t refused_ = 0;
};

}  // namespace conpool::sim::fuzz

// Asks idle connections whether they are alive: probes and pings, on demand and at intervals.
//
// A probe peeks at the socket through the ring; a ping is the protocol's own round trip. All that
// begin in a turn leave in one submission. Under `watch` nothing has to be asked unless the
// protocol can ping: the posted receive tells.
//
// A connection that is being checked is held by the pool and marked `checking`; whoever lets go of
// it calls over(). Used on its shard only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/idle_stack.h>
#include <conpool/pool/detail/protocol_tasks.h>
#include <conpool/pool/detail/shared_leases.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/event.h>

namespace conpool {

// A run of checks that somebody waits for (pool::validate()). Lives in the caller's frame.
struct check_batch {
  explicit check_batch(shard& home) noexcept : done(home) {}
  bool begins = true;  // what was told before anything is asked is being counted
  std::uint32_t pending = 0;
  std::uint32_t checked = 0;
  std::uint32_t alive = 0;
  std::array<std::uint64_t, close_reasons> closed_by{};
  event done;
};

class health_checks {
 public:
  health_checks(endpoint_facts& facts, idle_stack& idle, protocol_tasks& tasks,
                const shared_leases& shared) noexcept
      : facts_(&facts), idle_(&idle), tasks_(&tasks), shared_(&shared) {}

  // Whether an idle connection has to be asked before it is lent.
  bool needed_for(const pooled_connection& candidate) const noexcept;
  // Begins checks for callers who take any connection and for whom no check is under way: some
  // candidates for each under `probe`, one under `ping`.
  void begin_for(std::uint64_t patient_callers) noexcept;
  // How many of these callers are left if all checks under way find a healthy connection, and what
  // is being cleaned or recovered comes back. While pings fail, checks do not count.
  std::uint64_t callers_left(std::uint64_t patient_callers) const noexcept;
  // Under way, and likely to serve somebody.
  std::uint32_t promising() const noexcept {
    return tasks_->returning() + (pings_all_ ? 0 : checking_);
  }

  // A ping has answered, or has not: then each lend pings until one succeeds.
  void ping_over(const pooled_connection& pinged, bool failed) noexcept;
  // A check has ended: well, or with what closes the connection.
  void over(pooled_connection& checked, std::optional<close_reason> bad) noexcept;

  // Whether there is anything that a check could find which is not told by itself.
  bool can_ask() const noexcept;
  // For validation_interval: begins to check what nobody used or checked for so long.
  void check_due(time_point now) noexcept;
  // When that is due next, an interval from now if it was not known.
  time_point next_due(time_point now) noexcept;
  // After a change of the configuration.
  void reschedule() noexcept { next_due_ = time_point::max(); }

  // Begins to check all idle connections; `into` is told of each. One batch at a time.
  void check_all(check_batch& into) noexcept;
  void leave_batch() noexcept;
  check_batch* batch() const noexcept { return batch_; }
  // An idle connection was closed: a batch that begins counts what had been told before it.
  void idle_closed(close_reason why) noexcept {
    if (batch_ != nullptr && batch_->begins) ++batch_->closed_by[static_cast<std::size_t>(why)];
  }

 private:
  bool pings() const noexcept;
  bool can_be_checked(const pooled_connection& candidate) const noexcept;
  void begin(pooled_connection& candidate, bool by_ping) noexcept;

  endpoint_facts* facts_;
  idle_stack* idle_;
  protocol_tasks* tasks_;
  const shared_leases* shared_;
  check_batch* batch_ = nullptr;  // that somebody waits for
  time_point next_due_ = time_point::max();
  std::uint32_t checking_ = 0;  // by a probe or ping, for whatever reason
  bool pings_all_ = false;      // the last ping failed
};

}  // namespace conpool

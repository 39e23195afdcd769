// When an endpoint dials: what its callers, its floor and its warm() requests need, and what its
// limits, the backoff and the breaker allow.
//
// Demand is looked at once a turn, from the ready queue: what came back or gave up in the meantime
// counts, so no connect is begun for somebody who has a connection already or is gone.
//
// It keeps the connect gate's facts: what of the dials that fail is whose business.
//
// Invariant: counts.connecting is the number of dials that were begun() and have not stood, failed
// or been spared. Used on its shard only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <conpool/pool/detail/connect_gate.h>
#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/endpoint_reports.h>
#include <conpool/pool/detail/health_checks.h>
#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/pool/detail/shared_leases.h>
#include <conpool/pool/detail/waiter_queue.h>
#include <conpool/pool/detail/warm_requests.h>
#include <conpool/pool/observer.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/detail/ready_queue.h>
#include <conpool/runtime/detail/timers.h>
#include <conpool/runtime/error.h>

namespace conpool {

class dial_demand : private ready_node, private timer_node {
 public:
  dial_demand(endpoint_facts& facts, waiter_queue& waiters, const health_checks& checks,
              const shared_leases& shared, endpoint_reports& whole) noexcept;
  ~dial_demand();

  // Looks in this turn whether waiters can be served or connects begun: reports demand_due().
  void look() noexcept;
  bool will_look() const noexcept { return looking_; }

  // --- What is needed.
  // How many connects there should be, those under way included: for callers, and in all.
  std::uint32_t wanted_for_callers() const noexcept;
  std::uint32_t connects_wanted() const noexcept;
  // How many connections that were lent before have to go so that callers who want a new one can be
  // served: at a limit, those for whom no slot is free or on its way. 0 while no connect may begin.
  std::uint32_t slots_missing() const noexcept;
  // How many idle connections are kept whatever their age. Those that will end soon keep their
  // places beside their replacements.
  std::uint32_t floor() const noexcept;
  void set_expiring_soon(std::uint32_t count) noexcept { expiring_soon_ = count; }
  // When the first caller came for whom nothing is under way and a connect may be begun; nullopt if
  // there is none, or its own limits or backoff allow none. The trial connect of an open breaker
  // comes before all: it stands for the callers that are refused meanwhile.
  std::optional<std::uint64_t> first_unserved() const noexcept;

  // Those who warm the endpoint up. Whoever joins them looks().
  warm_requests& warming() noexcept { return warming_; }
  const warm_requests& warming() const noexcept { return warming_; }

  // --- What is allowed.
  const connect_gate& gate() const noexcept { return gate_; }
  bool gate_allows_one_more() const noexcept;
  bool at_own_limit() const noexcept {
    return facts_->total() >= facts_->config().max_connections_per_endpoint;
  }

  // What hinders who waits, for a person; empty if no failed connect does.
  std::string held_back_by() const;

  // --- What happens.
  connect_gate::beginning begun() noexcept;
  // Whoever asked for it has gone since, or has got another one.
  void spared() noexcept;
  // True if it closed the breaker.
  bool stood(const connect_gate::beginning& dial) noexcept;
  // Something stands that was not dialed. True if it closed the breaker.
  bool adopted() noexcept { return gate_.adopted(); }
  // True if a caller waited for it who has no other one under way.
  bool failed(const error& why, const connect_gate::beginning& dial) noexcept;
  // A server that closes at once what callers wait for is failing, whatever it accepts; so is one
  // whose new connections are of no use to the protocol. What nobody needed when it stood delays
  // only its replacement, and after connection_timeout it is the server's own idle timeout.
  void note_if_unserved(const pooled_connection& gone, close_reason why) noexcept;
  // A connection is gone: what the floor misses is refilled after a random time.
  void one_left(bool was_used) noexcept;
  // At the cap over all endpoints there may be a slot for it then.
  void look_for_slot_at(time_point when) noexcept { slot_at_ = when; }
  // Looks again when the backoff is over, or the refill's jitter, or when there may be a slot.
  void schedule_retry() noexcept;

  // No more connects; those who warm hear `why`.
  void shut_down(const error& why) noexcept;

 private:
  static void look_now(ready_node& node) noexcept;
  static void retry_fired(timer_node& node) noexcept;
  std::uint32_t idle_wanted() const noexcept;
  std::uint32_t spare_wanted(std::uint32_t for_callers) const noexcept;
  std::uint32_t callers_connections() const noexcept;
  connect_gate::facts seen() const noexcept;
  void count_failure(const error& why, const connect_gate::failure& what,
                     const connect_gate::beginning& dial, const pooled_connection* of) noexcept;

  endpoint_facts* facts_;
  waiter_queue* waiters_;
  const health_checks* checks_;
  const shared_leases* shared_;
  endpoint_reports* whole_;
  connect_gate gate_;
  warm_requests warming_;
  time_point refill_at_ = time_point::min();
  time_point slot_at_ = time_point::min();
  std::uint32_t expiring_soon_ = 0;  // idle ones whose replacements should stand by now
  bool looking_ = false;             // on the ready queue
};

}  // namespace conpool

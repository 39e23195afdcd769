// How connections come into an endpoint's pool: dialed on demand, or adopted.
//
// Connects belong to the pool and not to a caller: a caller that gives up does not end its connect.
// While something stands a connect that fails fails nobody: callers wait for what comes back. While
// nothing does, it fails the caller who has waited longest; when it opens the breaker all who wait
// are told. Used on its shard only.
#pragma once

#include <cstdint>

#include <conpool/pool/detail/connection_cap.h>
#include <conpool/pool/detail/counted.h>
#include <conpool/pool/detail/dial_demand.h>
#include <conpool/pool/detail/dialer.h>
#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/handover.h>
#include <conpool/pool/detail/idle_stack.h>
#include <conpool/pool/detail/lend_rules.h>
#include <conpool/pool/detail/maintenance.h>
#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/pool/detail/protocol_tasks.h>
#include <conpool/pool/detail/retirement.h>
#include <conpool/pool/detail/shared_leases.h>
#include <conpool/pool/detail/waiter_queue.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/task.h>

namespace conpool {

class intake {
 public:
  intake(endpoint_facts& facts, const lend_rules& rules, idle_stack& idle, waiter_queue& waiters,
         shared_leases& shared, protocol_tasks& tasks, dial_demand& demand, retirement& retirements,
         maintenance& timed, handover& hand_over, cap_member& self)
      : facts_(&facts),
        rules_(&rules),
        idle_(&idle),
        waiters_(&waiters),
        shared_(&shared),
        tasks_(&tasks),
        demand_(&demand),
        retirements_(&retirements),
        maintenance_(&timed),
        handover_(&hand_over),
        self_(&self),
        dialer_(facts) {}

  // Begins as many connects as are wanted and allowed.
  void begin_dials() noexcept;
  // Makes a connected descriptor an idle connection; see pool::adopt().
  result<void> adopt(int fd, const adopt_options& known);

 private:
  bool may_dial_now() noexcept;
  static task<void> dial(counted_pointer<pool_facts> keep, intake& self, std::uint32_t generation,
                         connect_gate::beginning begun);
  void dial_failed(const error& why, const connect_gate::beginning& begun) noexcept;
  void established(pooled_connection& fresh, std::uint32_t generation) noexcept;
  void take_in(pooled_connection& fresh, std::uint32_t generation) noexcept;

  endpoint_facts* facts_;
  const lend_rules* rules_;
  idle_stack* idle_;
  waiter_queue* waiters_;
  shared_leases* shared_;
  protocol_tasks* tasks_;
  dial_demand* demand_;
  retirement* retirements_;
  maintenance* maintenance_;
  handover* handover_;
  cap_member* self_;
  time_point last_begun_ = time_point::min();
  dialer dialer_;
};

}  // namespace conpool

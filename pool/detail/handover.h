// Where a clean connection goes: to the first waiter who can use it, back on the idle stack, or
// out.
//
// Binding is late: a waiter takes whatever comes first, a connection given back or a new one, and
// the other becomes idle. Between the moment when a connection is handed to a waiter and the moment
// when the waiter's task runs, the connection is watched; if it dies the waiter goes back to the
// head of the queue, and if the waiter gives up the connection goes to the next. Used on its shard
// only.
#pragma once

#include <optional>

#include <conpool/pool/detail/connection_cap.h>
#include <conpool/pool/detail/connection_watch.h>
#include <conpool/pool/detail/dial_demand.h>
#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/idle_stack.h>
#include <conpool/pool/detail/lend_rules.h>
#include <conpool/pool/detail/lender.h>
#include <conpool/pool/detail/maintenance.h>
#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/pool/detail/protocol_tasks.h>
#include <conpool/pool/detail/retirement.h>
#include <conpool/pool/detail/shared_leases.h>
#include <conpool/pool/detail/waiter_queue.h>

namespace conpool {

class handover {
 public:
  // `self`: how the cap over all endpoints knows this one.
  handover(endpoint_facts& facts, lend_rules& rules, const connection_watch& watch,
           idle_stack& idle, waiter_queue& waiters, shared_leases& shared, protocol_tasks& tasks,
           dial_demand& demand, retirement& retirements, lender& lending, maintenance& timed,
           cap_member& self) noexcept
      : facts_(&facts),
        rules_(&rules),
        watch_(&watch),
        idle_(&idle),
        waiters_(&waiters),
        shared_(&shared),
        tasks_(&tasks),
        demand_(&demand),
        retirements_(&retirements),
        lender_(&lending),
        maintenance_(&timed),
        self_(&self) {}

  // A clean connection that is counted as active. `existed`: it is not new, as far as hits are
  // concerned. May free it.
  void place(pooled_connection& clean, bool existed = true) noexcept;
  // A claim (lender.h) was not lent: for `why` if it is to be closed, else somebody else gets it.
  void release_claim(pooled_connection& claimed, std::optional<close_reason> why) noexcept;
  // Hands idle connections to waiters: after a pause, or when a check found more than was asked.
  void serve_from_idle() noexcept;

  // --- For a waiter.
  void leave_queue(waiter& one) noexcept;
  // The waiter's task is about to run: the last look at what it was handed. It takes it; or loses
  // it and is in the queue again, or has failed.
  void deliver(waiter& one, pooled_connection& reserved) noexcept;
  // The waiter gives up; the next one gets what it was handed.
  void take_back(waiter& one, pooled_connection& reserved) noexcept;

 private:
  bool may_have(pooled_connection& reserved) noexcept;
  void lend_to(waiter& one, pooled_connection& claimed) noexcept;
  void place_shared(managed_connection& one, bool existed) noexcept;
  void put_by(pooled_connection& clean) noexcept;
  // Whether a connection that was lent before has to make room now for a caller who wants a new
  // one.
  bool makes_room_next() noexcept;
  void make_room(pooled_connection& unwanted) noexcept;
  bool lend_unused_idle() noexcept;
  void reserve(pooled_connection& clean, waiter& first, bool existed) noexcept;
  void reserve_shared(managed_connection& one, waiter& first, bool existed) noexcept;

  endpoint_facts* facts_;
  lend_rules* rules_;
  const connection_watch* watch_;
  idle_stack* idle_;
  waiter_queue* waiters_;
  shared_leases* shared_;
  protocol_tasks* tasks_;
  dial_demand* demand_;
  retirement* retirements_;
  lender* lender_;
  maintenance* maintenance_;
  cap_member* self_;
};

}  // namespace conpool

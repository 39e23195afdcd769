// The protocol's coroutines on a connection that nobody has leased: a ping, cleaning after a lease,
// saving one whose lease was cut short, data that came while it was idle, a farewell before it is
// closed; and the task that lives as long as the connection.
//
// While one of them runs, the connection is held by the pool and counted as active, or, for a
// farewell, closing. The coroutine owns it: whatever closes the connection meanwhile ends its
// operations, and the end of the coroutine lets go of it and is reported. All are bounded in time
// but run(), which ends with its connection. Those that clean, recover and say farewell are bounded
// in number, too (max_releasing_per_endpoint): what comes beyond waits for its turn, and those that
// come back for callers go before those that leave. A hook that throws counts as one that failed.
//
// Used on its shard only.
#pragma once

#include <cstdint>
#include <optional>

#include <conpool/pool/detail/connection_watch.h>
#include <conpool/pool/detail/counted.h>
#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/endpoint_reports.h>
#include <conpool/pool/detail/idle_stack.h>
#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/task.h>

namespace conpool {

class protocol_tasks {
 public:
  protocol_tasks(endpoint_facts& facts, idle_stack& idle, endpoint_reports& whole) noexcept
      : facts_(&facts), idle_(&idle), whole_(&whole) {}

  // The connection is idle, counted as active, or, for a farewell, closing.
  void begin(pooled_connection& one, protocol_task what) noexcept;
  // Saves it from being closed for `reason`, if its protocol can.
  void begin_recovery(managed_connection& one, close_reason reason) noexcept;
  bool can_recover(const pooled_connection& one, close_reason reason) const noexcept;
  // Being cleaned or recovered, or waiting for it: they will be capacity again.
  std::uint32_t returning() const noexcept { return returning_; }
  // It takes no new leases, so nobody need wait for it.
  void not_returning(pooled_connection& one) noexcept;
  // It no longer waits for its turn. False if it did not.
  bool leave_queue(pooled_connection& one) noexcept;
  // Closes those that wait to say farewell.
  void spare_farewells() noexcept;

  void begin_run(managed_connection& one) noexcept;

  // Why a connection whose task did not go well is not lent again.
  static close_reason reason_after(protocol_task what, task_end how,
                                   const pooled_connection& one) noexcept;

 private:
  using keep_alive = counted_pointer<pool_facts>;
  void start(pooled_connection& one, protocol_task what) noexcept;
  void start_next() noexcept;
  void ended(pooled_connection& one, protocol_task what) noexcept;
  static task<void> work(keep_alive keep, protocol_tasks& self, pooled_connection& one,
                         protocol_task what);
  task<task_end> ping(pooled_connection& one);
  task<task_end> clean(pooled_connection& one);
  task<task_end> recover(managed_connection& one);
  task<task_end> say_farewell(pooled_connection& one);
  task<task_end> take_idle_data(pooled_connection& one);
  static task<void> run(keep_alive keep, protocol_tasks& self, managed_connection& one);

  endpoint_facts* facts_;
  idle_stack* idle_;
  endpoint_reports* whole_;
  // Those that wait for their turn, first come first served.
  connection_list coming_back_;
  connection_list leaving_;
  std::uint32_t bounded_running_ = 0;
  std::uint32_t returning_ = 0;
};

}  // namespace conpool

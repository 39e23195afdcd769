// The protocol's coroutines on a connection that nobody has leased: a ping, cleaning after a lease,
// data that came while it was idle, and the task that lives as long as the connection.
//
// While one of them runs, the connection is held by the pool and counted as active. The coroutine
// owns it: whatever closes the connection meanwhile ends its operations, and the end of the
// coroutine lets go of it and is reported. All are bounded in time but run(), which ends with its
// connection; cleaning is bounded in number, too. A hook that throws counts as one that failed.
#pragma once

#include <cstdint>

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

  // The connection is idle, or counted as active.
  void begin(pooled_connection& one, protocol_task what) noexcept;
  // max_releasing_per_endpoint.
  bool may_clean_one_more() const noexcept {
    return cleaning_ < facts_->config().max_releasing_per_endpoint;
  }
  void begin_run(managed_connection& one) noexcept;

  // Why a connection whose task did not go well is not lent again.
  static close_reason reason_after(protocol_task what, const pooled_connection& one) noexcept;

 private:
  using keep_alive = counted_pointer<pool_facts>;

  static task<void> work(keep_alive keep, protocol_tasks& self, pooled_connection& one,
                         protocol_task what);
  task<result<void>> ping(pooled_connection& one);
  task<result<void>> clean(pooled_connection& one);
  task<result<void>> take_idle_data(pooled_connection& one);
  static task<void> run(keep_alive keep, protocol_tasks& self, managed_connection& one);

  endpoint_facts* facts_;
  idle_stack* idle_;
  endpoint_reports* whole_;
  std::uint32_t cleaning_ = 0;
};

}  // namespace conpool

// How connections end, one by one and all at once.
//
//   close()      nobody holds it: closed now
//   retire()     takes no new leases, and is closed as soon as nobody holds it
//   break_off()  somebody holds it: closed under their hands, theirs until they let go of it
//
// A connection is `closing` from the moment when nobody holds it any more and until the kernel has
// nothing of it. If it is whole and closes for a reason of ours, its protocol may say farewell
// first. At the end it is counted by its reason, its protocol hears on_close, and its memory goes.
// With a protocol this last step comes from the ready queue: its hook and its state's destructor
// are user code, which may do anything to other connections while somebody walks over them.
//
// A generation tells connections from before a clear() from later ones. Used on its shard
// only.
#pragma once

#include <cstdint>
#include <optional>

#include <conpool/pool/detail/dial_demand.h>
#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/health_checks.h>
#include <conpool/pool/detail/idle_stack.h>
#include <conpool/pool/detail/lend_rules.h>
#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/pool/detail/protocol_tasks.h>
#include <conpool/pool/detail/shared_leases.h>
#include <conpool/pool/detail/waiter_queue.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/detail/ready_queue.h>

namespace conpool {

class retirement : private ready_node {
 public:
  retirement(endpoint_facts& facts, lend_rules& rules, idle_stack& idle, waiter_queue& waiters,
             shared_leases& shared, protocol_tasks& tasks, health_checks& checks,
             dial_demand& demand) noexcept
      : ready_node(&retirement::bury_all),
        facts_(&facts),
        rules_(&rules),
        idle_(&idle),
        waiters_(&waiters),
        shared_(&shared),
        tasks_(&tasks),
        checks_(&checks),
        demand_(&demand) {}

  // What connects and connections belong to; clear() begins a new one.
  std::uint32_t generation() const noexcept { return generation_; }

  // --- One connection. Each of these may free it.
  // Precondition: in whichever list and stage, nobody holds it.
  void close(pooled_connection& unwanted, close_reason why) noexcept;
  // The waiters that it was handed to and that have not run get another one. It is closed at once
  // if nobody holds it.
  void retire(pooled_connection& one, close_reason why) noexcept;
  // From now on it takes no new leases and does not count as capacity; nothing more.
  void begin_retiring(pooled_connection& one, close_reason why) noexcept;
  void break_off(pooled_connection& held, close_reason why) noexcept;
  // Its protocol has said farewell, or could not.
  void farewell_over(pooled_connection& left) noexcept;
  // Somebody who held a connection that was closed under their hands lets go of it.
  void leave_closing(pooled_connection& left) noexcept;
  // Nobody used it, and something arrived that ends it.
  void end_unused(pooled_connection& source, close_reason why) noexcept;
  // The pool has held it and lets go of it: true if all is well and it is to be placed; otherwise
  // it is closed, for `bad` or for what has closed it meanwhile.
  bool release_hold(pooled_connection& one, std::optional<close_reason> bad) noexcept;
  // The stream is closed and the kernel has nothing of it.
  void stream_closed(pooled_connection& gone) noexcept;

  // The waiters that were chosen for a connection that is lost take their old places in the queue.
  void return_to_queue(pooled_connection& lost) noexcept;

  // --- All of them.
  void close_all_idle(close_reason why) noexcept;
  // Idle connections are closed now, connecting ones when they stand, leased ones when they come
  // back, or now if `leased_too`.
  void clear(bool leased_too) noexcept;
  // Lends no more: fails all waiters with `why`, and closes what nobody holds.
  void shut_down(const error& why) noexcept;
  // Closes what is still leased; tells of each.
  template <typename F>
  void force_leased(F tell_of) noexcept;

 private:
  bool says_farewell(const pooled_connection& one, close_reason why) const noexcept;
  void break_hold(pooled_connection& one, close_reason why) noexcept;
  static void bury_all(ready_node& node) noexcept;
  void bury(pooled_connection& gone) noexcept;
  void forget(pooled_connection& gone) noexcept;

  endpoint_facts* facts_;
  lend_rules* rules_;
  idle_stack* idle_;
  waiter_queue* waiters_;
  shared_leases* shared_;
  protocol_tasks* tasks_;
  health_checks* checks_;
  dial_demand* demand_;
  connection_list ended_;  // the kernel has nothing of them, and their protocol has not heard of it
  std::uint32_t generation_ = 0;
  bool will_bury_ = false;
};

template <typename F>
void retirement::force_leased(F tell_of) noexcept {
  for (auto it = facts_->members.begin(); it != facts_->members.end();) {
    pooled_connection& one = *it++;
    if (one.stage == connection_stage::leased) {
      tell_of(one);
      break_hold(one, close_reason::forced);
    } else if (one.stage == connection_stage::held_by_pool) {
      break_hold(one, close_reason::forced);
    }
  }
}

}  // namespace conpool

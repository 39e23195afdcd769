// Chooses the connection to lend next, and notes who got it.
//
// An exclusive connection is lent from the top of the idle stack; a shared one that has room, least
// loaded first. A candidate that turns out to be dead is closed on the way.
//
// The protocol's hooks are asked about a connection that was claimed: it is in no list, and the
// pool or a lease has it. So a hook may retire, discard or close whatever it likes, this connection
// among it; what became of the claim is looked at afterwards. Used on its shard only.
#pragma once

#include <optional>
#include <source_location>

#include <conpool/pool/detail/connection_watch.h>
#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/health_checks.h>
#include <conpool/pool/detail/idle_stack.h>
#include <conpool/pool/detail/leak_detector.h>
#include <conpool/pool/detail/lend_rules.h>
#include <conpool/pool/detail/maintenance.h>
#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/pool/detail/protocol_tasks.h>
#include <conpool/pool/detail/retirement.h>
#include <conpool/pool/detail/shared_leases.h>

namespace conpool {

class lender {
 public:
  lender(endpoint_facts& facts, const lend_rules& rules, const connection_watch& watch,
         idle_stack& idle, shared_leases& shared, protocol_tasks& tasks, health_checks& checks,
         retirement& retirements, leak_detector& leaks, maintenance& timed) noexcept
      : facts_(&facts),
        rules_(&rules),
        watch_(&watch),
        idle_(&idle),
        shared_(&shared),
        tasks_(&tasks),
        checks_(&checks),
        retirements_(&retirements),
        leaks_(&leaks),
        maintenance_(&timed) {}

  // The connection that a caller or waiter gets next, where it is: on the idle stack, or shared
  // with room. Null if there is none, or if it has to be checked first.
  pooled_connection* next() noexcept;
  // Looks at an idle or shared connection, and takes it out of its list if it is of no use.
  bool is_alive(pooled_connection& candidate) noexcept;
  // Takes it out of its list, or counts one more lease, for somebody who may yet not get it.
  void claim(pooled_connection& candidate) noexcept;
  // Asks its protocol, once for each lease, and says why the claim cannot be lent, if so.
  std::optional<close_reason> ask(pooled_connection& claimed) const noexcept;
  // Its user has it from now on. Precondition: it is claimed, and not shared.
  void become_leased(pooled_connection& claimed) const noexcept;
  // Lends what was claimed to a caller who has not waited: a hit.
  void lend_claimed(pooled_connection& claimed) noexcept;

  // Lends it to a caller who has not waited: a hit.
  static void lend_idle(pooled_connection& taken, idle_stack& idle, pool_counts& counts) noexcept {
    idle.take(taken, counts);
    taken.stage = connection_stage::leased;
    taken.count_from_here();
    ++counts.hits;
    counts.reused += taken.times_lent++ > 0 ? 1U : 0U;
  }
  // One more lease on a shared connection, wherever it was. True if it has room for another.
  bool add_lease(managed_connection& one) noexcept;

  // Who reads it when its lease begins: nobody but run() can.
  static void note_reader(pooled_connection& lent) noexcept;
  // For the observer and the leak detector.
  void note_lent(pooled_connection& taken, const std::source_location& where) noexcept;
  void note_returned(pooled_connection& returned) noexcept {
    leaks_->returned(returned, !rules_->shares);
  }

 private:
  pooled_connection* warmest_idle() noexcept;

  endpoint_facts* facts_;
  const lend_rules* rules_;
  const connection_watch* watch_;
  idle_stack* idle_;
  shared_leases* shared_;
  protocol_tasks* tasks_;
  health_checks* checks_;
  retirement* retirements_;
  leak_detector* leaks_;
  maintenance* maintenance_;
};

}  // namespace conpool

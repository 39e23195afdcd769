// The connections of one endpoint on one shard: the hit path, and the parts behind it.
//
// Internal to the pool; users see `pool` and `endpoint_handle`. Owned by the pool's core, used on
// its shard only.
//
//   acquire: take_idle() -- a hit: no system call, allocation, suspension or clock read
//            else the caller waits in strict FIFO order, and a connect is begun if limits allow
//   release: give_back() -- to the first waiter, or on top of the idle stack (LIFO: warmest first)
//
// Each idle connection has a receive posted. Its completion is the end of the stream, a reset, or
// bytes that nobody asked for: the connection is closed and counted at once. take_idle() first
// looks at two words of memory that say whether completions are pending, and reaps them only then.
// It relies on a receive only once the kernel has it (connection_watch.h), so it sees what
// recv(MSG_PEEK) would.
//
// This type composes the parts and routes events between them; each part owns its state and knows
// only the parts below it, in the order in which they are declared here. What they report upward
// goes through endpoint_reports, and the cap over all endpoints sees a cap_member.
#pragma once

#include <cstdint>
#include <optional>
#include <source_location>

#include <conpool/pool/detail/connection_cap.h>
#include <conpool/pool/detail/connection_watch.h>
#include <conpool/pool/detail/dial_demand.h>
#include <conpool/pool/detail/dialer.h>
#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/endpoint_reports.h>
#include <conpool/pool/detail/handover.h>
#include <conpool/pool/detail/health_checks.h>
#include <conpool/pool/detail/idle_stack.h>
#include <conpool/pool/detail/intake.h>
#include <conpool/pool/detail/leak_detector.h>
#include <conpool/pool/detail/lend_rules.h>
#include <conpool/pool/detail/lender.h>
#include <conpool/pool/detail/maintenance.h>
#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/pool/detail/protocol_tasks.h>
#include <conpool/pool/detail/retirement.h>
#include <conpool/pool/detail/shared_leases.h>
#include <conpool/pool/detail/waiter_queue.h>
#include <conpool/pool/endpoint.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/shard.h>

namespace conpool {

class CONPOOL_API endpoint_pool final : private endpoint_reports, private cap_member {
 public:
  endpoint_pool(pool_facts& pool, const endpoint& to);
  ~endpoint_pool();

  const endpoint_facts& facts() const noexcept { return facts_; }
  endpoint_stats stats() const;

  // The hit path. Null if no idle connection is alive, or a closer look has to wait.
  pooled_connection* take_idle(const std::source_location& where) noexcept {
    facts_.home->assert_owner();
    if (facts_.counts.idle <= rules_.floor) return take_at_floor(where);
    const ring& kernel = facts_.home->ring();
    if (rules_.lends == lend_rules::look::at_completions) [[likely]] {
      if (kernel.completions_pending()) [[unlikely]]
        return take_idle_slowly(where);
    } else if (rules_.lends == lend_rules::look::closely) {
      return take_idle_slowly(where);
    }
    pooled_connection& taken = idle_.top();
    if (!taken.receive_in_kernel(kernel)) [[unlikely]]
      return take_idle_slowly(where);
    lender::lend_idle(taken, idle_, facts_.counts);
    return &taken;
  }

  // The other half of the hit path.
  void give_back(pooled_connection& returned) noexcept {
    if ((returned.conditions() & rules_.dirty) == 0 && facts_.counts.waiting == 0 &&
        facts_.counts.idle < rules_.idle_room && returned.generation == retirement_.generation())
        [[likely]] {
      facts_.home->assert_owner();
      const time_point now = facts_.home->now();
      if (now < returned.retire_at) [[likely]] {
        idle_.push(returned, now, facts_.counts);
        return;
      }
    }
    give_back_slowly(returned);
  }

  // --- For the acquire of a caller who waits.
  // Why it may not queue up, nothing if it may.
  std::optional<error> refusal(bool try_only) noexcept;
  void join_queue(waiter& one) noexcept;
  // What it returns when its deadline or its context has ended it. It leaves the queue, or what it
  // was handed goes to the next.
  error give_up(waiter& one, pooled_connection* reserved, errc why) noexcept;
  // The last look at what a waiter was handed, before its task runs: the waiter takes it, or loses
  // it and is in the queue again.
  void deliver(waiter& one, pooled_connection& reserved) noexcept;
  // Reaps what completions have to tell; may take away what waiters were handed.
  void look_at_completions() noexcept;

  // --- For the pool and its core.
  dial_demand& demand() noexcept { return demand_; }
  health_checks& checks() noexcept { return checks_; }
  retirement& retirements() noexcept { return retirement_; }
  // While somebody holds a handle the endpoint is not forgotten.
  void add_handle() noexcept { maintenance_.add_handle(); }
  void drop_handle() noexcept { maintenance_.drop_handle(); }
  // Lends no more: fails all waiters with `why`, and clears.
  void shut_down(errc why) noexcept;
  // The configuration, the pause, an observer or a shortage changed what lends and returns look at.
  void refresh() noexcept;
  // After a reconfigure: serves waiters anew and closes what is above lowered limits.
  void limits_changed() noexcept;
  void resumed() noexcept;
  void fail_waiters(const error& why) noexcept;
  // Makes a connected descriptor an idle connection of this endpoint.
  result<void> adopt(int fd, const adopt_options& known) { return intake_.adopt(fd, known); }

  // --- For its connections.
  void something_arrived(pooled_connection& source) noexcept;
  void lease_limit_changed(managed_connection& one, std::uint32_t most) noexcept;
  void upgraded(const pooled_connection& one, bool well) noexcept {
    if (well) facts_.count_handshake(one);
    if (!well) ++facts_.counts.handshakes_failed;
  }

 private:
  // --- endpoint_reports
  void demand_due() noexcept override;
  void task_over(pooled_connection& one, protocol_task what, task_end how) noexcept override;
  void run_over(managed_connection& one) noexcept override;
  // --- cap_member
  std::optional<std::uint64_t> first_unserved() const noexcept override;
  bool wants_fresh() const noexcept override { return waiters_.fresh() > 0; }
  void look_at_demand() noexcept override { demand_.look(); }
  void look_at_demand_at(time_point when) noexcept override { demand_.look_for_slot_at(when); }
  void look_at_returns() noexcept override { rules_.idle_room = 0; }
  time_point now() const noexcept override { return facts_.now(); }
  bool holds_any() const noexcept override { return facts_.standing() > 0; }
  std::optional<time_point> coldest() noexcept override;
  void close_coldest(close_reason why) noexcept override;

  pooled_connection* take_idle_slowly(const std::source_location& where) noexcept;
  // None is idle, or so few that what is taken of them is refilled.
  pooled_connection* take_at_floor(const std::source_location& where) noexcept;
  void give_back_slowly(pooled_connection& returned) noexcept;
  void settle(pooled_connection& returned, bool may_recover) noexcept;
  void release(pooled_connection& clean) noexcept;
  bool release_hook_agrees(pooled_connection& clean) noexcept;
  void give_back_shared(managed_connection& returned) noexcept;
  void watch_unwatched() noexcept;

  // Each part knows those above it. What the hit path touches comes first.
  endpoint_facts facts_;
  lend_rules rules_;
  connection_watch watch_;
  idle_stack idle_;
  waiter_queue waiters_;
  shared_leases shared_;
  protocol_tasks tasks_;
  health_checks checks_;
  dial_demand demand_;
  retirement retirement_;
  leak_detector leaks_;
  maintenance maintenance_;
  lender lender_;
  handover handover_;
  intake intake_;
};

}  // namespace conpool

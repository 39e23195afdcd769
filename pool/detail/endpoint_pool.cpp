#include <conpool/pool/detail/endpoint_pool.h>

#include <utility>

#include <conpool/pool/detail/refusals.h>
#include <conpool/pool/detail/return_verdict.h>

namespace conpool {

endpoint_pool::endpoint_pool(pool_facts& pool, const endpoint& to)
    : facts_(pool, *this, to),
      watch_(facts_),
      idle_(facts_, watch_),
      waiters_(facts_.counts),
      shared_(facts_),
      tasks_(facts_, idle_, *this),
      checks_(facts_, idle_, tasks_, shared_),
      demand_(facts_, waiters_, checks_, shared_, *this),
      retirement_(facts_, rules_, idle_, waiters_, shared_, tasks_, checks_, demand_),
      leaks_(facts_),
      maintenance_(facts_, idle_, waiters_, checks_, demand_, leaks_, retirement_),
      lender_(facts_, rules_, watch_, idle_, shared_, tasks_, checks_, retirement_, leaks_,
              maintenance_),
      handover_(facts_, rules_, watch_, idle_, waiters_, shared_, tasks_, demand_, retirement_,
                lender_, maintenance_, *this),
      intake_(facts_, rules_, idle_, waiters_, shared_, tasks_, demand_, retirement_, maintenance_,
              handover_, *this) {
  pool.cap().join(*this);
  rules_.whose = this;
  refresh();
  demand_.look();  // min_idle_per_endpoint
}

endpoint_pool::~endpoint_pool() {
  CONPOOL_ASSERT(facts_.total() + facts_.counts.retiring == 0,
                 "an endpoint's pool was destroyed before its connections");
  facts_.pool->cap().leave(*this);
}

endpoint_stats endpoint_pool::stats() const {
  endpoint_stats made;
  static_cast<pool_counts&>(made) = facts_.counts;
  made.endpoint = facts_.peer.to_string();
  made.failed_in_a_row = demand_.gate().failures(facts_.first_lends());
  made.breaker_open = demand_.gate().open();
  if (facts_.last_error) made.last_error = facts_.last_error->message();
  return made;
}

// --- what a lend and a return look at

void endpoint_pool::refresh() noexcept {
  const bool did_detect = rules_.detects_leaks;
  const bool were_supervised = rules_.supervised;
  rules_.refresh(facts_);
  if (did_detect && !rules_.detects_leaks) leaks_.forget_all();
  if (rules_.supervised == were_supervised) return;
  for (pooled_connection& one : facts_.members) {
    if (rules_.supervised || one.retiring) {
      one.mark(pooled_connection::supervised);
    } else {
      one.clear(pooled_connection::supervised);
    }
  }
}

void endpoint_pool::limits_changed() noexcept {
  facts_.config_changed();
  if (facts_.shut_down) return;
  const counted_pointer<pool_facts> keep(*facts_.pool);
  const pool_config& config = facts_.config();
  while (!idle_.empty() && facts_.standing() > config.max_connections_per_endpoint) {
    retirement_.close(idle_.coldest(), close_reason::over_limit);
  }
  while (facts_.counts.idle > config.idle_limit()) {
    retirement_.close(idle_.coldest(), close_reason::over_idle_limit);
  }
  watch_unwatched();
  maintenance_.reschedule();
  resumed();
}

// After a change of the policy: what was not watched so far is looked at once, and then watched.
void endpoint_pool::watch_unwatched() noexcept {
  if (!rules_.watch) return;
  for (auto it = idle_.begin(); it != idle_.end();) {
    pooled_connection& one = *it++;
    if (!one.receive_posted() && lender_.is_alive(one)) watch_.begin(one);
  }
}

void endpoint_pool::resumed() noexcept {
  if (facts_.shut_down) return;
  if (!facts_.pool->paused()) handover_.serve_from_idle();  // before a newcomer can pass
  demand_.look();
}

void endpoint_pool::shut_down(errc why) noexcept {
  maintenance_.shut_down();
  retirement_.shut_down(error(why, phase::acquire).about(facts_.peer.text()));
}

// --- lending and taking back

void endpoint_pool::look_at_completions() noexcept {
  ring& kernel = facts_.home->ring();
  // Closes what has ended, each through something_arrived().
  if (rules_.watch && kernel.completions_pending()) kernel.harvest();
}

pooled_connection* endpoint_pool::take_idle_slowly(const std::source_location& where) noexcept {
  // In a child of fork() something always seems to be pending, so every lend comes here.
  if (facts_.pool->paused() || facts_.home->ring().forked()) return nullptr;
  look_at_completions();
  if (rules_.nobody_passes && waiters_.empty()) refresh();  // all of them have been served
  // Nobody passes those who wait while another connection is checked for them, nor those who need
  // the slot of one that is idle.
  if (rules_.shares ? !waiters_.empty() : waiters_.patient() > 0) return nullptr;
  if (facts_.counts.idle > 0 && facts_.counts.idle <= demand_.slots_missing()) return nullptr;
  const counted_pointer<pool_facts> keep(*facts_.pool);
  while (pooled_connection* const candidate = lender_.next()) {
    lender_.claim(*candidate);
    if (const auto why = lender_.ask(*candidate)) {
      handover_.release_claim(*candidate, why);
      continue;
    }
    lender_.lend_claimed(*candidate);
    lender_.note_lent(*candidate, where);
    return candidate;
  }
  return nullptr;
}

pooled_connection* endpoint_pool::take_at_floor(const std::source_location& where) noexcept {
  if (idle_.empty() && !rules_.shares) return nullptr;
  pooled_connection* const taken = take_idle_slowly(where);
  if (taken != nullptr && facts_.counts.idle < rules_.floor) demand_.look();
  return taken;
}

void endpoint_pool::give_back_slowly(pooled_connection& returned) noexcept {
  if (is_shared(returned)) {
    give_back_shared(as_managed(returned));
    return;
  }
  lender_.note_returned(returned);
  if (returned.closed() || (returned.conditions() & stream::closing) != 0) {
    // Cleared, forced, detached or stopped while it was leased. Its shard may be gone.
    retirement_.leave_closing(returned);
    return;
  }
  facts_.home->assert_owner();
  returned.last_used = facts_.now();
  settle(returned, true);
}

// What is to become of a connection that its user, or the one who recovered it, has left.
void endpoint_pool::settle(pooled_connection& returned, bool may_recover) noexcept {
  std::optional<close_reason> why;
  if (returned.has_codec()) why = return_verdict::settle_codec(returned);
  if (!why && return_verdict::faults_of(returned, rules_.dirty) != 0) {
    why = return_verdict::reason_of(returned);
  }
  if (why && watch_.protocol_takes_idle_data() && return_verdict::is_push(returned)) {
    tasks_.begin(returned, protocol_task::idle_data);
  } else if (why && may_recover && tasks_.can_recover(returned, *why)) {
    tasks_.begin_recovery(as_managed(returned), *why);
  } else if (why) {
    retirement_.close(returned, *why);
  } else {
    release(returned);
  }
}

void endpoint_pool::release(pooled_connection& clean) noexcept {
  const protocol_hooks* const hooks = facts_.hooks();
  if (hooks != nullptr && !return_verdict::unwanted(clean, facts_, retirement_.generation())) {
    if (!release_hook_agrees(clean)) return;
    if (hooks->clean != nullptr && (hooks->needs_cleaning == nullptr ||
                                    hooks->needs_cleaning(facts_.pool->protocol(), clean))) {
      tasks_.begin(clean, protocol_task::clean);
      return;
    }
  }
  handover_.place(clean);
}

// The pool holds the connection while its protocol is asked, so the hook may do what it likes.
bool endpoint_pool::release_hook_agrees(pooled_connection& clean) noexcept {
  if (facts_.hooks()->on_release == nullptr) return true;
  const counted_pointer<pool_facts> keep(*facts_.pool);
  facts_.hold(clean);
  std::optional<close_reason> why;
  if (!facts_.hooks()->on_release(facts_.pool->protocol(), clean)) {
    why = close_reason::vetoed;
  } else if (return_verdict::faults_of(clean, rules_.dirty) != 0) {
    why = return_verdict::reason_of(clean);
  }
  return retirement_.release_hold(clean, why);
}

// Its lease counts until the hook has been asked: so the connection stays, whatever the hook does.
void endpoint_pool::give_back_shared(managed_connection& returned) noexcept {
  const counted_pointer<pool_facts> keep(*facts_.pool);
  lender_.note_returned(returned);
  if ((returned.conditions() & stream::closing) == 0) {
    facts_.home->assert_owner();
    returned.last_used = facts_.now();
    const protocol_hooks* const hooks = facts_.hooks();
    if (hooks->on_release != nullptr && !hooks->on_release(facts_.pool->protocol(), returned)) {
      retirement_.begin_retiring(returned, close_reason::vetoed);
    }
  }
  shared_.drop_lease(returned);
  handover_.place(returned);
}

// --- for callers who wait

std::optional<error> endpoint_pool::refusal(bool try_only) noexcept {
  if (demand_.gate().open()) demand_.look();  // somebody asks, so the trial may need a slot
  return refusals::at_the_door(facts_, demand_, try_only);
}

void endpoint_pool::join_queue(waiter& one) noexcept {
  waiters_.join(one, facts_.pool->next_ticket());
  if (one.fresh) rules_.let_nobody_pass();
  facts_.tell(pool_event_kind::waiter_queued);
  demand_.look();
}

error endpoint_pool::give_up(waiter& one, pooled_connection* reserved, errc why) noexcept {
  if (reserved != nullptr) {
    handover_.take_back(one, *reserved);
  } else if (one.waiter_hook::is_linked()) {
    handover_.leave_queue(one);
  }
  return refusals::ended_early(facts_, demand_, in_line(), why);
}

void endpoint_pool::deliver(waiter& one, pooled_connection& reserved) noexcept {
  handover_.deliver(one, reserved);
}

void endpoint_pool::fail_waiters(const error& why) noexcept {
  waiters_.fail_all(why);
  if (in_line()) demand_.look();  // another endpoint may have waited behind this one
}

// --- what parts and connections report

// From the ready queue, once a turn.
void endpoint_pool::demand_due() noexcept {
  demand_.warming().end_satisfied();
  if (!facts_.pool->paused()) {
    handover_.serve_from_idle();
    checks_.begin_for(waiters_.patient());
    handover_.serve_from_idle();  // from below what has to be checked
    // While the breaker is open nobody waits, however they came to.
    if (demand_.gate().open() && !waiters_.empty()) {
      waiters_.fail_all(refusals::breaker_opened(facts_, demand_));
    }
    intake_.begin_dials();
  }
  if (rules_.lends == lend_rules::look::closely) refresh();
  facts_.pool->cap().demand_looked_at(*this);
  if (maintenance_.unused()) maintenance_.schedule();
}

void endpoint_pool::task_over(pooled_connection& one, protocol_task what, task_end how) noexcept {
  if (what == protocol_task::farewell) {
    retirement_.farewell_over(one);
    return;
  }
  const bool returns = what == protocol_task::clean || what == protocol_task::recover;
  std::optional<close_reason> why;
  // What came beside the answers may be for the codec alone.
  if (how == task_end::well && one.has_codec()) why = return_verdict::settle_codec(one);
  const bool bad =
      why || how != task_end::well || return_verdict::faults_of(one, rules_.dirty) != 0;
  if (returns) {
    one.last_used = facts_.now();
  } else if (what == protocol_task::ping && (one.conditions() & stream::closing) == 0) {
    checks_.ping_over(one, bad);
  }
  if (bad && !why) why = protocol_tasks::reason_after(what, how, one);
  if (!retirement_.release_hold(one, why)) return;
  if (what == protocol_task::recover) {
    settle(one, false);
  } else {
    handover_.place(one);
  }
}

void endpoint_pool::run_over(managed_connection& one) noexcept {
  if (one.stage != connection_stage::closing) {
    retirement_.retire(one, close_reason::retired);
  } else if (one.closed()) {
    retirement_.stream_closed(one);
  }
}

// From within a harvest: the posted receive or a probe of a connection has completed and nobody
// reads.
void endpoint_pool::something_arrived(pooled_connection& source) noexcept {
  const bool held = source.stage == connection_stage::held_by_pool;
  if (held && !std::exchange(source.probing, false)) return;  // its protocol reads it
  const bool unused =
      source.stage == connection_stage::idle || source.stage == connection_stage::reserved;
  if (!held && !unused) return;  // its reader's
  const watch_finding found = held ? watch_.answered(source) : watch_.arrived(source);
  switch (found.what) {
    case watch_finding::kind::alive:
      if (held && retirement_.release_hold(source, std::nullopt)) handover_.place(source);
      return;
    case watch_finding::kind::for_protocol:
      if (!held) retirement_.return_to_queue(source);
      tasks_.begin(source, protocol_task::idle_data);  // which ends a check, too
      return;
    case watch_finding::kind::gone:
      if (!held) {
        retirement_.end_unused(source, found.why);
        return;
      }
      demand_.note_if_unserved(source, found.why);
      retirement_.release_hold(source, found.why);
      return;
  }
}

void endpoint_pool::lease_limit_changed(managed_connection& one, std::uint32_t most) noexcept {
  one.lease_limit = std::max(1U, most);
  shared_.expect(one.lease_limit);
  if (shared_.list_if_open(one) && !waiters_.empty()) demand_.look();
}

// --- what the cap over all endpoints asks

std::optional<std::uint64_t> endpoint_pool::first_unserved() const noexcept {
  return demand_.first_unserved();
}

std::optional<time_point> endpoint_pool::coldest() noexcept {
  if (idle_.empty()) return std::nullopt;
  return idle_.coldest().last_used;
}

void endpoint_pool::close_coldest(close_reason why) noexcept {
  retirement_.close(idle_.coldest(), why);
}

}  // namespace conpool

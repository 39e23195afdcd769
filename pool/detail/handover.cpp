#include <conpool/pool/detail/handover.h>

#include <limits>
#include <optional>

#include <conpool/pool/detail/return_verdict.h>

namespace conpool {

void handover::place(pooled_connection& clean, bool existed) noexcept {
  facts_->end_hold(clean);
  if (is_shared(clean)) {
    place_shared(as_managed(clean), existed);
    return;
  }
  if (const auto why = return_verdict::unwanted(clean, *facts_, retirements_->generation())) {
    retirements_->close(clean, *why);
    return;
  }
  const bool paused = facts_->pool->paused();
  waiter* const first = paused ? nullptr : waiters_->first_for(clean.times_lent == 0);
  const waiter* const next = paused ? nullptr : waiters_->first_for(true);
  connection_cap& cap = facts_->pool->cap();
  // At the cap over all endpoints whoever came first is next, wherever they wait.
  if (next != nullptr && cap.in_shortage() && cap.claim_slot_of(*self_, next->ticket)) {
    retirements_->close(clean, close_reason::evicted);
  } else if (clean.times_lent != 0 && makes_room_next()) {
    make_room(clean);
  } else if (first != nullptr) {
    reserve(clean, *first, existed);
  } else {
    put_by(clean);
  }
}

// Serves waiters while it has room, or becomes idle if nobody has it, or is closed.
void handover::place_shared(managed_connection& one, bool existed) noexcept {
  if ((one.conditions() & stream::closing) != 0) {
    if (one.lease_count == 0) retirements_->leave_closing(one);
    return;
  }
  // One lease's error says nothing of the others, but there will be no new ones.
  const std::optional<close_reason> why =
      return_verdict::is_broken(one)
          ? return_verdict::reason_of(one)
          : return_verdict::unwanted(one, *facts_, retirements_->generation());
  if (why) retirements_->begin_retiring(one, *why);
  while (!facts_->pool->paused() && shared_leases::has_room(one)) {
    waiter* const first = waiters_->first_for(one.times_lent == 0);
    if (first == nullptr) break;
    reserve_shared(one, *first, existed);
  }
  if (one.lease_count > 0) {
    if (shared_->list_if_open(one) && !waiters_->empty()) demand_->look();
    return;
  }
  if (why) {
    retirements_->close(one, *why);
    return;
  }
  shared_leases::unlist(one);
  if (one.times_lent != 0 && makes_room_next()) {
    make_room(one);
  } else {
    put_by(one);
  }
}

// Nobody can use it now: it becomes idle, or is closed.
void handover::put_by(pooled_connection& clean) noexcept {
  constexpr auto nobody = std::numeric_limits<std::uint64_t>::max();
  connection_cap& cap = facts_->pool->cap();
  if (facts_->counts.idle >= facts_->config().idle_limit()) {
    retirements_->close(clean, close_reason::over_idle_limit);
  } else if (cap.in_shortage() && cap.claim_slot_of(*self_, nobody)) {
    retirements_->close(clean, close_reason::evicted);
  } else {
    if (clean.times_lent == 0) clean.was_spare = true;
    idle_->push(clean);
    cap.has_idle(*self_);
    if (rules_->idle_room == 0) rules_->refresh(*facts_);  // a limit that was passed may be kept
    if (facts_->config().min_idle_per_endpoint > 0) maintenance_->schedule();
    // A caller who waits for a fresh one gets its slot, if there is no other.
    if (!waiters_->empty()) demand_->look();
  }
}

bool handover::makes_room_next() noexcept {
  if (waiters_->fresh() == 0 || facts_->pool->paused()) return false;
  const std::uint32_t missing = demand_->slots_missing();
  return missing > 0 && waiters_->fresh_is_next(waiters_->fresh() - missing);
}

void handover::make_room(pooled_connection& unwanted) noexcept {
  facts_->pool->cap().frees_slot_for_itself();
  retirements_->close(unwanted, close_reason::evicted);
  demand_->look();
}

// What was never lent lies at the bottom of the stack. True if a caller has it, or if it was dead.
bool handover::lend_unused_idle() noexcept {
  pooled_connection& unused = idle_->coldest();
  if (unused.times_lent != 0) return false;
  if (lender_->is_alive(unused)) {
    idle_->take(unused);
    reserve(unused, *waiters_->first_for(true), true);
  }
  return true;
}

void handover::serve_from_idle() noexcept {
  while (!waiters_->empty()) {
    if (!idle_->empty() && makes_room_next()) {
      if (is_shared(idle_->coldest()) || !lend_unused_idle()) make_room(idle_->coldest());
      continue;
    }
    pooled_connection* const next = lender_->next();
    waiter* const first = next == nullptr ? nullptr : waiters_->first_for(next->times_lent == 0);
    if (first == nullptr) return;
    if (is_shared(*next)) {
      reserve_shared(as_managed(*next), *first, true);
    } else {
      idle_->take(*next);
      reserve(*next, *first, true);
    }
  }
}

// --- for a waiter

void handover::leave_queue(waiter& one) noexcept {
  waiters_->leave(one);
  // Another endpoint may have waited behind this one for a slot.
  if (self_->in_line()) demand_->look();
}

void handover::reserve(pooled_connection& clean, waiter& first, bool existed) noexcept {
  waiters_->serve(first);
  if (self_->in_line()) demand_->look();
  clean.stage = connection_stage::reserved;
  clean.reserved_for = &first;
  watch_->begin(clean);
  first.hand(clean, existed);
}

void handover::reserve_shared(managed_connection& one, waiter& first, bool existed) noexcept {
  waiters_->serve(first);
  if (self_->in_line()) demand_->look();
  if (lender_->add_lease(one) && !waiters_->empty()) demand_->look();
  one.chosen.push_back(first);
  first.hand(one, existed);
}

void handover::release_claim(pooled_connection& claimed, std::optional<close_reason> why) noexcept {
  if (why) demand_->note_if_unserved(claimed, *why);
  if (is_shared(claimed)) {
    shared_->drop_lease(as_managed(claimed));
    if (why) retirements_->begin_retiring(claimed, *why);
    place(claimed);
  } else if (retirements_->release_hold(claimed, why)) {
    place(claimed);
  }
}

// Whether nothing is known against it. If something is, its waiter is in the queue again.
bool handover::may_have(pooled_connection& reserved) noexcept {
  const watch_finding found = watch_->look(reserved);
  if (found.what == watch_finding::kind::alive) return true;
  if (found.what == watch_finding::kind::gone) {
    retirements_->retire(reserved, found.why);
  } else {
    retirements_->return_to_queue(reserved);
    tasks_->begin(reserved, protocol_task::idle_data);
  }
  return false;
}

void handover::deliver(waiter& one, pooled_connection& reserved) noexcept {
  const counted_pointer<pool_facts> keep(*facts_->pool);
  if (!may_have(reserved)) return;
  one.take_away();
  if (is_shared(reserved)) {
    as_managed(reserved).chosen.remove(one);
  } else {
    CONPOOL_ASSERT(reserved.stage == connection_stage::reserved, "only what is reserved is taken");
    reserved.reserved_for = nullptr;
    facts_->hold(reserved);
  }
  const std::optional<close_reason> why = lender_->ask(reserved);
  // Within the hook its deadline or context may have ended it.
  if (!why && !one.has_failed()) {
    lend_to(one, reserved);
    return;
  }
  if (!one.has_failed() && facts_->shut_down) {
    one.fail_with(error(facts_->pool->closed_because(), phase::acquire).about(facts_->peer.text()));
  } else if (!one.has_failed()) {
    waiters_->put_back(one);
    rules_->let_nobody_pass();
    demand_->look();
  }
  release_claim(reserved, why);
}

void handover::lend_to(waiter& one, pooled_connection& claimed) noexcept {
  if (!is_shared(claimed)) lender_->become_leased(claimed);
  one.take(claimed);
  const bool used = claimed.times_lent++ > 0;
  facts_->counts.reused += used ? 1 : 0;
  if (used || one.was_handed_existing()) {
    ++facts_->counts.hits;
  } else {
    ++facts_->counts.misses;
  }
  lender_->note_lent(claimed, one.where);
}

void handover::take_back(waiter& one, pooled_connection& reserved) noexcept {
  one.take_away();
  if (is_shared(reserved)) {
    as_managed(reserved).chosen.remove(one);
    shared_->drop_lease(as_managed(reserved));
  } else {
    reserved.reserved_for = nullptr;
    reserved.last_used = facts_->now();
  }
  place(reserved);
}

}  // namespace conpool

#include <conpool/pool/detail/lender.h>

#include <conpool/pool/detail/return_verdict.h>

namespace conpool {

pooled_connection* lender::next() noexcept {
  pooled_connection* const idle = warmest_idle();
  if (idle != nullptr || !rules_->shares) return idle;
  while (managed_connection* const least = shared_->least_loaded()) {
    if (is_alive(*least)) return least;
  }
  return nullptr;
}

pooled_connection* lender::warmest_idle() noexcept {
  while (!idle_->empty()) {
    pooled_connection& candidate = idle_->top();
    if (checks_->needed_for(candidate)) return nullptr;
    if (is_alive(candidate)) return &candidate;
  }
  return nullptr;
}

bool lender::is_alive(pooled_connection& candidate) noexcept {
  const watch_finding found = watch_->look(candidate);
  switch (found.what) {
    case watch_finding::kind::alive:
      return true;
    case watch_finding::kind::for_protocol:
      tasks_->begin(candidate, protocol_task::idle_data);
      return false;
    case watch_finding::kind::gone:
      if (candidate.stage == connection_stage::idle) {
        retirements_->close(candidate, found.why);
      } else {
        retirements_->retire(candidate, found.why);
      }
      return false;
  }
  return false;
}

void lender::claim(pooled_connection& candidate) noexcept {
  if (is_shared(candidate)) {
    add_lease(as_managed(candidate));
    return;
  }
  if (candidate.stage == connection_stage::idle) idle_->take(candidate);
  facts_->hold(candidate);
}

std::optional<close_reason> lender::ask(pooled_connection& claimed) const noexcept {
  const protocol_hooks* const hooks = facts_->hooks();
  if (hooks == nullptr || !hooks->asked_before_lend()) return std::nullopt;
  void* const protocol = facts_->pool->protocol();
  const bool wanted = (hooks->is_healthy == nullptr || hooks->is_healthy(protocol, claimed)) &&
                      (hooks->on_acquire == nullptr || hooks->on_acquire(protocol, claimed));
  if (!wanted) return close_reason::vetoed;
  // The hook may have done more than answer.
  if (facts_->shut_down) return close_reason::pool_closed;
  if (claimed.retiring) return claimed.reason;
  if (return_verdict::is_broken(claimed)) return return_verdict::reason_of(claimed);
  if (claimed.generation != retirements_->generation()) return close_reason::cleared;
  return std::nullopt;
}

void lender::become_leased(pooled_connection& claimed) const noexcept {
  note_reader(claimed);
  facts_->end_hold(claimed);
  claimed.stage = connection_stage::leased;
  claimed.checked_at = time_point{};  // what a check has found says nothing any more
  claimed.count_from_here();
}

void lender::lend_claimed(pooled_connection& claimed) noexcept {
  if (!is_shared(claimed)) become_leased(claimed);
  ++facts_->counts.hits;
  facts_->counts.reused += claimed.times_lent++ > 0 ? 1 : 0;
}

bool lender::add_lease(managed_connection& one) noexcept {
  if (one.stage == connection_stage::idle) idle_->take(one);
  shared_->add_lease(one);
  return shared_->list_if_open(one);
}

void lender::note_reader(pooled_connection& lent) noexcept {
  if (lent.managed && (lent.conditions() & stream::reading) != 0) {
    as_managed(lent).read_by_run = true;
  }
}

void lender::note_lent(pooled_connection& taken, const std::source_location& where) noexcept {
  const bool listed = rules_->detects_leaks && !rules_->shares;
  const bool is_first = leaks_->lent(taken, where, listed);
  if (listed && (is_first || !maintenance_->scheduled())) maintenance_->schedule();
}

}  // namespace conpool

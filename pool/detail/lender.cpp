#include <conpool/pool/detail/lender.h>

#include <conpool/pool/detail/return_verdict.h>

namespace conpool {

pooled_connection* lender::next() noexcept {
  pooled_connection* const idle = warmest_idle();
  return idle != nullptr || !rules_->shares ? idle : shared_->least_loaded();
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
  const idle_finding found = idle_->look_at(candidate, rules_->watch);
  switch (found.what) {
    case idle_finding::kind::alive:
      return true;
    case idle_finding::kind::for_protocol:
      tasks_->begin(candidate, protocol_task::idle_data);
      return false;
    case idle_finding::kind::gone:
      retirements_->close(candidate, found.why);
      return false;
  }
  return false;
}

bool lender::protocol_wants(pooled_connection& candidate) const noexcept {
  const protocol_hooks* const hooks = facts_->hooks();
  if (hooks == nullptr) return true;
  void* const protocol = facts_->pool->protocol();
  return (hooks->is_healthy == nullptr || hooks->is_healthy(protocol, candidate)) &&
         (hooks->on_acquire == nullptr || hooks->on_acquire(protocol, candidate));
}

bool lender::add_lease(managed_connection& one) noexcept {
  if (one.stage == connection_stage::idle) idle_->take(one);
  shared_->add_lease(one);
  return shared_->list_if_open(one);
}

void lender::lend_shared(managed_connection& taken) noexcept {
  add_lease(taken);
  ++facts_->counts.hits;
  facts_->counts.reused += taken.times_lent++ > 0 ? 1 : 0;
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

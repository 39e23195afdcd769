#include <conpool/pool/detail/health_checks.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include <conpool/pool/detail/return_verdict.h>

namespace conpool {
namespace {

// Not one that has a receive posted (from before a change of the policy), or a reader of its own:
// these tell by themselves.
bool can_be_probed(const pooled_connection& candidate) noexcept {
  constexpr std::uint32_t taken = stream::has_data | stream::reading;
  return !candidate.receive_posted() && !return_verdict::read_by_run(candidate) &&
         (candidate.conditions() & taken) == 0;
}

}  // namespace

bool health_checks::pings() const noexcept {
  return facts_->hooks() != nullptr && facts_->hooks()->ping != nullptr;
}

bool health_checks::needed_for(const pooled_connection& candidate) const noexcept {
  const pool_config& config = facts_->config();
  if (config.validation == validation_policy::probe) return can_be_probed(candidate);
  if (config.validation != validation_policy::ping) return false;
  const time_point known_good = std::max(candidate.last_used, candidate.checked_at);
  return pings_all_ || facts_->now() - known_good >= config.ping_window;
}

bool health_checks::can_ask() const noexcept {
  return pings() || facts_->config().validation == validation_policy::probe;
}

// On demand or at intervals. A ping says more than a peek.
bool health_checks::can_be_checked(const pooled_connection& candidate) const noexcept {
  return pings() ||
         (facts_->config().validation == validation_policy::probe && can_be_probed(candidate));
}

void health_checks::begin(pooled_connection& candidate, bool by_ping) noexcept {
  candidate.checking = true;
  ++checking_;
  // The kernel looks when the turn ends, and a slow turn or a busy machine may bring the answer
  // long after that. So an answer is as old as its question.
  candidate.checked_at = facts_->home->read_clock();
  if (by_ping) {
    tasks_->begin(candidate, protocol_task::ping);
    return;
  }
  idle_->take(candidate);
  facts_->hold(candidate);
  candidate.probing = true;
  ++facts_->counts.probes;
  candidate.begin_probe();
}

std::uint64_t health_checks::callers_left(std::uint64_t patient_callers) const noexcept {
  const std::uint64_t served = std::uint64_t{promising()} * shared_->expected();
  return patient_callers > served ? patient_callers - served : 0;
}

// The first healthy candidate goes to the first waiter, the others become idle again.
void health_checks::begin_for(std::uint64_t patient_callers) noexcept {
  const pool_config& config = facts_->config();
  const bool peeks = config.validation == validation_policy::probe;
  const std::uint64_t served = std::uint64_t{checking_} * shared_->expected();
  const std::uint64_t left = patient_callers > served ? patient_callers - served : 0;
  std::uint64_t wanted = shared_->connections_for(left);
  // A ping costs the server something, too: one for each.
  if (peeks) wanted *= config.probe_candidates;
  while (wanted-- > 0 && !idle_->empty() && needed_for(idle_->top())) begin(idle_->top(), !peeks);
}

void health_checks::ping_over(const pooled_connection& pinged, bool failed) noexcept {
  pings_all_ = failed;
  if (failed) facts_->tell(pool_event_kind::ping_failed, &pinged);
}

void health_checks::over(pooled_connection& checked, std::optional<close_reason> bad) noexcept {
  checked.checking = false;
  --checking_;
  if (!std::exchange(checked.in_batch, false) || batch_ == nullptr) return;
  ++batch_->checked;
  if (bad) {
    ++batch_->closed_by[static_cast<std::size_t>(*bad)];
  } else {
    ++batch_->alive;
  }
  if (--batch_->pending == 0) batch_->done.set();
}

time_point health_checks::next_due(time_point now) noexcept {
  if (next_due_ == time_point::max()) next_due_ = now + facts_->config().validation_interval;
  return next_due_;
}

// Each connection is asked an interval after it was last known to be good, those that are due
// together as one batch.
void health_checks::check_due(time_point now) noexcept {
  if (now < next_due_) return;
  const duration interval = facts_->config().validation_interval;
  next_due_ = now + interval;
  // Coldest first: the healthy come back in the same order, each on top of the one before.
  for (auto it = idle_->end(); it != idle_->begin();) {
    --it;
    pooled_connection& one = *it;
    const time_point due = std::max(one.last_used, one.checked_at) + interval;
    if (one.last_used + interval > now) {
      next_due_ = std::min(next_due_, one.last_used + interval);  // the others were used later
      return;
    }
    if (due > now) {
      next_due_ = std::min(next_due_, due);
      continue;
    }
    if (!can_be_checked(one)) continue;
    it = std::next(it);  // the check takes it off the stack
    begin(one, pings());
  }
}

void health_checks::check_all(check_batch& into) noexcept {
  batch_ = &into;
  ring& kernel = facts_->home->ring();
  // What has been told already counts first.
  if (kernel.completions_pending()) kernel.harvest();
  into.begins = false;
  for (const std::uint64_t closed : into.closed_by) {
    into.checked += static_cast<std::uint32_t>(closed);
  }
  // Coldest first, as above.
  for (auto it = idle_->end(); it != idle_->begin();) {
    --it;
    pooled_connection& one = *it;
    if (!can_be_checked(one)) {
      // Its receive, or its reader, would have told.
      ++into.checked;
      ++into.alive;
      continue;
    }
    it = std::next(it);
    ++into.pending;
    one.in_batch = true;
    begin(one, pings());
  }
  if (into.pending == 0) into.done.set();
}

void health_checks::leave_batch() noexcept {
  for (pooled_connection& one : facts_->members) one.in_batch = false;
  // Whoever waits for a turn to check must not wait for a batch that nobody waits for any more.
  std::exchange(batch_, nullptr)->done.set();
}

}  // namespace conpool

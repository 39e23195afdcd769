// Asking idle connections whether they are alive: probes, pings, on demand and at intervals.
//
// A probe peeks at the socket through the ring; a ping is the protocol's own round trip. All that
// begin in a turn leave in one submission. Under `watch` nothing has to be asked unless the
// protocol can ping: the posted receive tells.
#include <algorithm>

#include <conpool/pool/endpoint_pool.h>
#include <conpool/pool/pool_core.h>

namespace conpool {
namespace {

// What somebody receives on tells by itself: run(), or a receive that was posted before the policy
// became `probe`. A greeting is the first lease's.
bool can_be_probed(const connection& candidate) noexcept {
  constexpr std::uint32_t taken = stream::has_data | stream::reading;
  return !candidate.receive_posted() && (candidate.conditions() & taken) == 0;
}

}  // namespace

// Whether an idle connection has to be asked before it is lent.
bool endpoint_pool::needs_check(const connection& candidate) const noexcept {
  const pool_config& config = core_->config();
  if (config.validation == validation_policy::probe) return can_be_probed(candidate);
  if (config.validation != validation_policy::ping) return false;
  const time_point known_good = std::max(candidate.last_used_, candidate.checked_at_);
  return pings_all_ || home_->now() - known_good >= config.ping_window;
}

void endpoint_pool::begin_check(connection& candidate, bool for_demand) noexcept {
  candidate.for_demand_ = for_demand;
  if (for_demand) ++checks_for_waiters_;
  const bool peeks = core_->config().validation == validation_policy::probe;
  if (!peeks) {
    begin_service(candidate, service::ping);
    return;
  }
  idle_.remove(candidate);
  --counts_.idle;
  ++counts_.active;
  candidate.state_ = state::serviced;
  candidate.probing_ = true;
  ++counts_.probes;
  candidate.begin_probe();
}

// Each waiter that no check is under way for has some candidates asked: the first healthy one is
// handed to the first waiter, the others become idle again.
void endpoint_pool::begin_checks_for_waiters() noexcept {
  const std::uint32_t patient = counts_.waiting - fresh_waiting_;
  if (patient <= checks_for_waiters_ || idle_.empty() || shares_) return;
  const pool_config& config = core_->config();
  const bool peeks = config.validation == validation_policy::probe;
  // A ping costs the server something, too: one for each.
  std::uint64_t wanted = patient - checks_for_waiters_;
  if (peeks) wanted *= config.probe_candidates;
  while (wanted-- > 0 && !idle_.empty() && needs_check(idle_.front())) {
    begin_check(idle_.front(), true);
  }
}

// From within a harvest.
void endpoint_pool::probed(connection& candidate) noexcept {
  const std::uint32_t what = candidate.conditions();
  std::optional<close_reason> bad;
  if ((what & stream::ended) != 0) {
    bad = close_reason::peer_closed;
  } else if ((what & stream::failed) != 0) {
    bad = reason_of(candidate);
  } else if ((what & stream::more_data) != 0) {
    // A greeting belongs to the first lease.
    if (candidate.uses_ == 0 && (hooks_ == nullptr || hooks_->on_idle_data == nullptr)) {
      candidate.clear(stream::more_data);
    } else if (hooks_ != nullptr && hooks_->on_idle_data != nullptr) {
      check_over(candidate, std::nullopt, true);
      begin_service(candidate, service::idle_data);
      return;
    } else {
      bad = close_reason::unexpected_data;
    }
  }
  check_over(candidate, bad);
}

// A check has ended: well, or with what closes the connection. `goes_on` leaves it serviced.
void endpoint_pool::check_over(connection& checked, std::optional<close_reason> bad,
                               bool goes_on) noexcept {
  checked.checked_at_ = home_->now();
  if (std::exchange(checked.for_demand_, false)) --checks_for_waiters_;
  if (std::exchange(checked.in_batch_, false) && batch_ != nullptr) {
    ++batch_->checked;
    if (bad) {
      ++batch_->closed_by[static_cast<std::size_t>(*bad)];
    } else {
      ++batch_->alive;
    }
    if (--batch_->pending == 0) batch_->done.set();
  }
  if (counts_.waiting > 0) look_at_demand();
  if (goes_on) return;
  if ((checked.conditions() & stream::closing) != 0) {
    leave_closing(checked);
  } else if (bad) {
    close_connection(checked, *bad);
  } else {
    checked.count_from_here();
    place(checked);
  }
}

// For validation_interval: those that nobody used or checked for so long.
void endpoint_pool::check_due(time_point now) noexcept {
  const duration interval = core_->config().validation_interval;
  next_check_ = now + interval;
  if (!asks_connections()) return;
  const bool peeks = core_->config().validation == validation_policy::probe;
  // Coldest first: the healthy come back in the same order, each on top of the one before.
  for (auto it = idle_.end(); it != idle_.begin();) {
    --it;
    connection& one = *it;
    if (one.last_used_ + interval > now) return;  // the others were used later
    if (one.checked_at_ + interval > now) continue;
    if (peeks && !can_be_probed(one)) continue;
    it = std::next(it);  // the check takes it out of the list
    begin_check(one, false);
  }
}

// Whether a check asks the connection; otherwise the posted receive has told already.
bool endpoint_pool::asks_connections() const noexcept {
  return core_->config().validation == validation_policy::probe ||
         (hooks_ != nullptr && hooks_->ping != nullptr);
}

void endpoint_pool::check_all(check_batch& into) noexcept {
  batch_ = &into;
  ring& kernel = home_->ring();
  // What has been told already counts first.
  if (kernel.completions_pending()) kernel.harvest();
  const bool asks = asks_connections();
  const bool peeks = core_->config().validation == validation_policy::probe;
  // Coldest first: the healthy come back in the same order, each on top of the one before.
  for (auto it = idle_.end(); it != idle_.begin();) {
    --it;
    connection& one = *it;
    if (!asks || (peeks && !can_be_probed(one))) {
      ++into.checked;
      ++into.alive;
      continue;
    }
    it = std::next(it);  // the check takes it out of the list
    ++into.pending;
    one.in_batch_ = true;
    begin_check(one, false);
  }
  if (into.pending == 0) into.done.set();
}

void endpoint_pool::leave_batch() noexcept {
  if (batch_ == nullptr) return;
  for (connection& one : members_) one.in_batch_ = false;
  // Who waits for the turn to check must not wait for a batch that nobody waits for any more.
  std::exchange(batch_, nullptr)->done.set();
}

}  // namespace conpool

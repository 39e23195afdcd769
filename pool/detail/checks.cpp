// Asking idle connections whether they are alive: probes, pings, on demand and at intervals.
//
// A probe peeks at the socket through the ring; a ping is the protocol's own round trip. All that
// begin in a turn leave in one submission. Under `watch` nothing has to be asked unless the
// protocol can ping: the posted receive tells.
#include <algorithm>

#include <conpool/pool/detail/endpoint_pool.h>
#include <conpool/pool/detail/pool_core.h>

namespace conpool {
// Whether an idle connection has to be asked before it is lent.
bool endpoint_pool::needs_check(const connection& candidate) const noexcept {
  const pool_config& config = core_->config();
  if (config.validation == validation_policy::probe) return can_be_probed(candidate);
  if (config.validation != validation_policy::ping) return false;
  const time_point known_good = std::max(candidate.last_used_, candidate.checked_at_);
  return pings_all_ || home_->now() - known_good >= config.ping_window;
}

// Not one that has a receive posted (from before a change of the policy), or a reader of its own:
// these tell by themselves.
bool endpoint_pool::can_be_probed(const connection& candidate) noexcept {
  constexpr std::uint32_t taken = stream::has_data | stream::reading;
  return !candidate.receive_posted() && !read_by_run(candidate) &&
         (candidate.conditions() & taken) == 0;
}

// Whether there is anything to ask it, on demand or at intervals. A ping says more than a peek.
bool endpoint_pool::can_be_checked(const connection& candidate) const noexcept {
  return pings() ||
         (core_->config().validation == validation_policy::probe && can_be_probed(candidate));
}

void endpoint_pool::begin_check(connection& candidate, bool by_ping) noexcept {
  candidate.checking_ = true;
  ++checking_;
  if (by_ping) {
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

// How many callers are left when all checks under way find a healthy connection.
std::uint64_t endpoint_pool::callers_left_by_checks() const noexcept {
  const std::uint64_t patient = counts_.waiting - fresh_waiting_;
  const std::uint64_t served = std::uint64_t{checking_} * expected_leases_;
  return patient > served ? patient - served : 0;
}

// Each waiter that no check is under way for has some candidates asked: the first healthy one is
// handed to the first waiter, the others become idle again.
void endpoint_pool::begin_checks_for_waiters() noexcept {
  const pool_config& config = core_->config();
  const bool peeks = config.validation == validation_policy::probe;
  std::uint64_t wanted = (callers_left_by_checks() + expected_leases_ - 1) / expected_leases_;
  // A ping costs the server something, too: one for each.
  if (peeks) wanted *= config.probe_candidates;
  while (wanted-- > 0 && !idle_.empty() && needs_check(idle_.front())) {
    begin_check(idle_.front(), !peeks);
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
    if (hooks_ != nullptr && hooks_->on_idle_data != nullptr) {
      begin_service(candidate, service::idle_data);  // which ends the check
      return;
    }
    // A greeting belongs to the first lease.
    if (candidate.uses_ == 0) {
      candidate.clear(stream::more_data);
    } else {
      bad = close_reason::unexpected_data;
    }
  }
  if (bad) note_if_unserved(candidate, *bad);
  service_over(candidate, bad);
}

// A check has ended: well, or with what closes the connection.
void endpoint_pool::check_over(connection& checked, std::optional<close_reason> bad) noexcept {
  checked.checking_ = false;
  --checking_;
  checked.checked_at_ = home_->now();
  if (!std::exchange(checked.in_batch_, false) || batch_ == nullptr) return;
  ++batch_->checked;
  if (bad) {
    ++batch_->closed_by[static_cast<std::size_t>(*bad)];
  } else {
    ++batch_->alive;
  }
  if (--batch_->pending == 0) batch_->done.set();
}

// For validation_interval: those that nobody used or checked for so long.
void endpoint_pool::check_due(time_point now) noexcept {
  const duration interval = core_->config().validation_interval;
  next_check_ = now + interval;
  // Coldest first: the healthy come back in the same order, each on top of the one before.
  for (auto it = idle_.end(); it != idle_.begin();) {
    --it;
    connection& one = *it;
    if (one.last_used_ + interval > now) return;  // the others were used later
    if (one.checked_at_ + interval > now || !can_be_checked(one)) continue;
    it = std::next(it);  // the check takes it out of the list
    begin_check(one, pings());
  }
}

void endpoint_pool::check_all(check_batch& into) noexcept {
  batch_ = &into;
  ring& kernel = home_->ring();
  // What has been told already counts first.
  if (kernel.completions_pending()) kernel.harvest();
  into.begins = false;
  for (const std::uint64_t closed : into.closed_by) {
    into.checked += static_cast<std::uint32_t>(closed);
  }
  // Coldest first, as above.
  for (auto it = idle_.end(); it != idle_.begin();) {
    --it;
    connection& one = *it;
    if (!can_be_checked(one)) {
      // Its receive, or its reader, would have told.
      ++into.checked;
      ++into.alive;
      continue;
    }
    it = std::next(it);
    ++into.pending;
    one.in_batch_ = true;
    begin_check(one, pings());
  }
  if (into.pending == 0) into.done.set();
}

void endpoint_pool::leave_batch() noexcept {
  for (connection& one : members_) one.in_batch_ = false;
  // Who waits for the turn to check must not wait for a batch that nobody waits for any more.
  std::exchange(batch_, nullptr)->done.set();
}

}  // namespace conpool

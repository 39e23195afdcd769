// When an endpoint dials: what its callers, its floor and its requests need, and what the limits,
// the backoff and the breaker allow.
//
// Looked at once a turn, from the ready queue: what came back or gave up in the meantime counts, so
// no connect is begun for somebody who has one already or is gone.
#include <algorithm>

#include <conpool/pool/acquire.h>
#include <conpool/pool/endpoint_pool.h>
#include <conpool/pool/pool_core.h>

namespace conpool {

void endpoint_pool::look_at_demand() noexcept {
  if (looking_ || shut_down_) return;
  looking_ = true;
  core_->add_reference();  // until it has run
  home_->ready().push(*this);
}

void endpoint_pool::look_at_demand_now(ready_node& node) noexcept {
  auto& self = static_cast<endpoint_pool&>(node);
  const core_pointer keep(*self.core_);
  self.core_->drop_reference();
  self.looking_ = false;
  if (self.shut_down_) return;
  self.end_warming();
  if (!self.core_->paused()) {
    self.serve_from_idle();
    self.begin_checks_for_waiters();
    self.serve_from_idle();  // from below what has to be checked
    self.begin_dials();
  }
  self.core_->demand_looked_at(self);
  if (self.unused()) self.schedule_upkeep();
}

// Idle connections while somebody waits: after a pause, or when a check found more than was asked.
void endpoint_pool::serve_from_idle() noexcept {
  while (counts_.waiting > 0) {
    if (shares_) {
      managed_connection* const least = least_loaded();
      acquire_waiter* const first = least == nullptr ? nullptr : first_waiter_for(*least);
      if (first == nullptr) return;
      if (least->shared_) {
        reserve_shared(*least, *first);
      } else {
        reserve_idle(*least, *first);
      }
      continue;
    }
    if (idle_.empty() || needs_check(idle_.front())) return;
    connection& candidate = idle_.front();
    acquire_waiter* const first = first_waiter_for(candidate);
    if (first == nullptr) return;
    if (fit_to_lend(candidate)) reserve_idle(candidate, *first);
  }
}

void endpoint_pool::reserve_idle(connection& candidate, acquire_waiter& first) noexcept {
  idle_.remove(candidate);
  --counts_.idle;
  ++counts_.active;
  reserve(candidate, first, true);
}

// What the floor misses.
std::uint32_t endpoint_pool::idle_wanted() const noexcept {
  if (home_->now() < refill_at_) return 0;
  const std::uint32_t wanted = floor();
  return wanted > counts_.idle ? wanted - counts_.idle : 0;
}

// How many connects there should be, those under way included.
std::uint32_t endpoint_pool::connects_wanted() const noexcept {
  if (core_->paused()) return 0;
  if (gate_.open()) return 1;
  const std::uint32_t callers =
      counts_.waiting > checks_for_waiters_ ? counts_.waiting - checks_for_waiters_ : 0;
  std::uint32_t wanted = (callers + expected_leases_ - 1) / expected_leases_ + idle_wanted();
  for (const warm_request& one : warming_) wanted = std::max(wanted, missing(one.wanted));
  return wanted;
}

bool endpoint_pool::gate_allows_one_more() const noexcept {
  const std::uint32_t at_once = gate_.open() ? 1 : core_->config().max_connecting_per_endpoint;
  return gate_.may_dial(home_->now()) && counts_.connecting < at_once;
}

bool endpoint_pool::may_dial_now() noexcept {
  if (!gate_allows_one_more()) return false;
  if (total() >= core_->config().max_connections_per_endpoint) {
    // Who wants a fresh one at the limit gets the place of the coldest idle one.
    if (fresh_waiting_ > 0 && !idle_.empty() && counts_.closing == 0) {
      evict(idle_.back(), close_reason::evicted);
    }
    return false;
  }
  return core_->may_open(*this, first_unserved().has_value());
}

void endpoint_pool::begin_dials() noexcept {
  while (counts_.connecting < connects_wanted() && may_dial_now()) {
    ++counts_.connecting;
    ++counts_.created;
    core_->opened();
    // Owned by the shard, not by a caller: whoever asked may give up.
    home_->spawn(&endpoint_pool::dial, core_pointer(*core_), std::ref(*this), generation_);
  }
  schedule_retry();
}

// Looks again when the backoff is over, or the refill's jitter.
void endpoint_pool::schedule_retry() noexcept {
  const time_point now = home_->now();
  time_point due = time_point::max();
  if (!gate_.may_dial(now) && counts_.connecting < connects_wanted()) due = gate_.next_attempt();
  if (refill_at_ > now && counts_.idle < core_->config().min_idle_per_endpoint) {
    due = std::min(due, refill_at_);
  }
  if (due != time_point::max()) home_->timers().arm(retry_, due);
}

void endpoint_pool::retry_fired(timer_node& node) noexcept {
  static_cast<retry_timer&>(node).pool->look_at_demand();
}

void endpoint_pool::dial_failed(error why) noexcept {
  --counts_.connecting;
  ++counts_.closed_by[static_cast<std::size_t>(close_reason::connect_failed)];
  if (why.where() == phase::resolve) {
    ++counts_.resolve_failures;
  } else if (why == errc::connect_timeout) {
    ++counts_.connect_timeouts;
  } else {
    ++counts_.connect_failures;
  }
  count_failure(why, pool_event_kind::connect_failed);
  // It fails the one that has waited longest, and nobody else.
  acquire_waiter* longest = nullptr;
  for (auto& lane : waiters_) {
    if (longest == nullptr && !lane.empty()) longest = &lane.front();
  }
  if (longest != nullptr) {
    leave_queue(*longest);
    longest->fail_with(why);
  } else if (!warming_.empty()) {
    warm_request& first = warming_.pop_front();
    first.failure = why;
    first.done.set();
  }
  core_->place_freed();
  if (shut_down_) {
    core_->look_if_quiet();
  } else {
    look_at_demand();
  }
}

void endpoint_pool::count_failure(const error& why, pool_event_kind kind) noexcept {
  last_error_ = why;
  if (shut_down_) return;
  const bool opened = gate_.failed(home_->now(), core_->config(), home_->random());
  if (opened) ++counts_.breaker_opened;
  if (!core_->observed()) return;
  event_queue::record event;
  event.kind = kind;
  event.why = why;
  tell(event);
  if (!opened) return;
  event.kind = pool_event_kind::breaker_opened;
  tell(std::move(event));
}

void endpoint_pool::note_unserved_end(const connection& gone) noexcept {
  error why = error(errc::connection_closed, phase::connect)
                  .about(endpoint_.text())
                  .with_detail("the server closed connection " + std::to_string(gone.id()) +
                               " before it was used");
  count_failure(why, pool_event_kind::connect_failed);
}

std::uint32_t endpoint_pool::missing(std::uint32_t wanted) const noexcept {
  const std::uint32_t most = counts_.active + core_->config().idle_limit();
  const std::uint32_t standing = counts_.active + counts_.idle;
  return std::max(std::min(wanted, most), standing) - standing;
}

void endpoint_pool::end_warming() noexcept {
  for (auto it = warming_.begin(); it != warming_.end();) {
    warm_request& one = *it++;
    if (missing(one.wanted) > 0) continue;
    warming_.remove(one);
    one.done.set();
  }
}

void endpoint_pool::warm(warm_request& request) noexcept {
  warming_.push_back(request);
  look_at_demand();
}

void endpoint_pool::give_up_warming(warm_request& request) noexcept {
  if (request.is_linked()) warming_.remove(request);
}

}  // namespace conpool

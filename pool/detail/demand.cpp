// When an endpoint dials: what its callers, its floor and its requests need, and what the limits,
// the backoff and the breaker allow.
//
// Looked at once a turn, from the ready queue: what came back or gave up in the meantime counts, so
// no connect is begun for somebody who has one already or is gone.
#include <algorithm>

#include <conpool/pool/acquire.h>
#include <conpool/pool/detail/endpoint_pool.h>
#include <conpool/pool/detail/pool_core.h>

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
  if (self.lends_ == look::closely) self.refresh();
  self.core_->demand_looked_at(self);
  if (self.unused()) self.schedule_upkeep();
}

// Idle connections while somebody waits: after a pause, or when a check found more than was asked.
void endpoint_pool::serve_from_idle() noexcept {
  while (counts_.waiting > 0) {
    connection* const next = shares_ ? least_loaded() : warmest_idle();
    acquire_waiter* const first = next == nullptr ? nullptr : first_waiter_for(*next);
    if (first == nullptr) return;
    if (next->managed_ && managed(*next).shared_) {
      reserve_shared(managed(*next), *first);
    } else {
      reserve_idle(*next, *first);
    }
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
  // While pings fail nobody counts on one.
  const std::uint64_t callers =
      fresh_waiting_ + (pings_all_ ? counts_.waiting - fresh_waiting_ : callers_left_by_checks());
  const auto for_callers =
      static_cast<std::uint32_t>((callers + expected_leases_ - 1) / expected_leases_);
  std::uint32_t wanted = for_callers + idle_wanted();
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

void endpoint_pool::dial_failed(const error& why) noexcept {
  --counts_.connecting;
  ++counts_.closed_by[static_cast<std::size_t>(close_reason::connect_failed)];
  if (why.where() == phase::resolve) {
    ++counts_.resolve_failures;
  } else if (why == errc::connect_timeout || why == errc::handshake_timeout) {
    ++counts_.connect_timeouts;
  } else {
    ++counts_.connect_failures;
  }
  if (why.where() == phase::handshake && endpoint_.transport() == transport::tls) {
    ++counts_.handshakes_failed;
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

// A server that closes at once what it never served is failing, whatever it accepts; so is one
// whose new connections are of no use to the protocol. The next connect is put off. Later it is the
// server's own idle timeout.
void endpoint_pool::note_if_unserved(const connection& gone, close_reason why) noexcept {
  const bool by_protocol = why == close_reason::vetoed || why == close_reason::retired;
  const bool by_server = why == close_reason::peer_closed || why == close_reason::peer_reset ||
                         why == close_reason::io_error;
  const bool soon = home_->now() - gone.created_at_ < core_->config().connection_timeout;
  if (!soon || gone.uses_ != 0 || gone.retiring_ || (!by_protocol && !by_server)) return;
  std::string detail = std::string(by_server ? "the server closed" : "the protocol gave up") +
                       " connection " + std::to_string(gone.id()) + " before it was used";
  // TLS has been told why: a certificate that is missing, perhaps.
  const error* const told = gone.has_codec() ? gone.current_codec()->failure() : nullptr;
  if (told != nullptr) detail.append(": ").append(told->detail());
  const error reason =
      error(told != nullptr ? told->kind() : errc::connection_closed, phase::connect)
          .about(endpoint_.text())
          .with_detail(detail);
  count_failure(reason, pool_event_kind::connect_failed);
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

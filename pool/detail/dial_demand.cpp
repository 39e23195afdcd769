#include <conpool/pool/detail/dial_demand.h>

#include <algorithm>
#include <string>
#include <utility>

#include <conpool/pool/detail/return_verdict.h>

namespace conpool {

dial_demand::dial_demand(endpoint_facts& facts, waiter_queue& waiters, const health_checks& checks,
                         const shared_leases& shared, endpoint_reports& whole) noexcept
    : ready_node(&dial_demand::look_now),
      timer_node(&dial_demand::retry_fired),
      facts_(&facts),
      waiters_(&waiters),
      checks_(&checks),
      shared_(&shared),
      whole_(&whole),
      warming_(facts) {}

// After the shard's end there is no wheel to leave.
dial_demand::~dial_demand() {
  if (!facts_->shut_down) facts_->home->timers().cancel(*this);
}

void dial_demand::look() noexcept {
  if (looking_ || facts_->shut_down) return;
  looking_ = true;
  facts_->pool->add_reference();  // until it has run
  facts_->home->ready().push(*this);
}

void dial_demand::look_now(ready_node& node) noexcept {
  auto& self = static_cast<dial_demand&>(node);
  const counted_pointer<pool_facts> keep(*self.facts_->pool);
  self.facts_->pool->drop_reference();
  self.looking_ = false;
  if (!self.facts_->shut_down) self.whole_->demand_due();
}

void dial_demand::retry_fired(timer_node& node) noexcept {
  static_cast<dial_demand&>(node).look();
}

// --- what is needed

std::uint32_t dial_demand::floor() const noexcept {
  const pool_config& config = facts_->config();
  return std::min(config.min_idle_per_endpoint + expiring_soon_, config.idle_limit());
}

std::uint32_t dial_demand::idle_wanted() const noexcept {
  if (facts_->now() < refill_at_) return 0;
  const std::uint32_t wanted = floor();
  return wanted > facts_->counts.idle ? wanted - facts_->counts.idle : 0;
}

std::uint32_t dial_demand::connects_wanted() const noexcept {
  if (facts_->pool->paused()) return 0;
  if (gate_.open()) return 1;
  const std::uint64_t callers = waiters_->fresh() + checks_->callers_left(waiters_->patient());
  const auto for_callers = static_cast<std::uint32_t>(shared_->connections_for(callers));
  return std::max(for_callers + idle_wanted(), warming_.missing());
}

std::optional<std::uint64_t> dial_demand::first_unserved() const noexcept {
  if (!gate_allows_one_more() || at_own_limit()) return std::nullopt;
  if (gate_.open()) return 0;
  // The callers before it have a connect under way that will serve them, or a check.
  const std::uint64_t on_their_way =
      std::uint64_t{facts_->counts.connecting} + checks_->promising();
  return waiters_->ticket_after(on_their_way * shared_->expected());
}

bool dial_demand::gate_allows_one_more() const noexcept {
  const std::uint32_t at_once = gate_.open() ? 1 : facts_->config().max_connecting_per_endpoint;
  return gate_.may_dial(facts_->now()) && facts_->counts.connecting < at_once;
}

// --- what happens

void dial_demand::begun() noexcept {
  ++facts_->counts.connecting;
  ++facts_->counts.created;
  facts_->pool->cap().opened();
}

void dial_demand::spared() noexcept {
  --facts_->counts.connecting;
  --facts_->counts.created;
  ++facts_->counts.connects_spared;
  facts_->pool->cap().slot_freed();
  look();
}

bool dial_demand::stood() noexcept {
  --facts_->counts.connecting;
  return gate_.stood();
}

void dial_demand::failed(const error& why) noexcept {
  pool_counts& counts = facts_->counts;
  --counts.connecting;
  ++counts.closed_by[static_cast<std::size_t>(close_reason::connect_failed)];
  if (why.where() == phase::resolve) {
    ++counts.resolve_failures;
  } else if (why == errc::connect_timeout || why == errc::handshake_timeout) {
    ++counts.connect_timeouts;
  } else {
    ++counts.connect_failures;
  }
  if (why.where() == phase::handshake && facts_->peer.transport() == transport::tls) {
    ++counts.handshakes_failed;
  }
  count_failure(why, pool_event_kind::connect_failed);
}

void dial_demand::count_failure(const error& why, pool_event_kind kind) noexcept {
  facts_->last_error = why;
  if (facts_->shut_down) return;
  const bool opened = gate_.failed(facts_->now(), facts_->config(), facts_->home->random());
  if (opened) ++facts_->counts.breaker_opened;
  if (!facts_->pool->observed()) return;
  event_queue::record event;
  event.kind = kind;
  event.why = why;
  facts_->tell(event);
  if (!opened) return;
  event.kind = pool_event_kind::breaker_opened;
  facts_->tell(std::move(event));
}

void dial_demand::note_if_unserved(const pooled_connection& gone, close_reason why) noexcept {
  const bool by_protocol = why == close_reason::vetoed || why == close_reason::retired;
  const bool by_server = why == close_reason::peer_closed || why == close_reason::peer_reset ||
                         why == close_reason::io_error;
  const bool soon = facts_->now() - gone.stood_at < facts_->config().connection_timeout;
  if (!soon || gone.times_lent != 0 || gone.retiring || (!by_protocol && !by_server)) return;
  std::string detail = std::string(by_server ? "the server closed" : "the protocol gave up") +
                       " connection " + std::to_string(gone.serial) + " before it was used";
  // TLS has been told why: a certificate that is missing, perhaps.
  const error* const told = gone.has_codec() ? gone.current_codec()->failure() : nullptr;
  if (told != nullptr) detail.append(": ").append(told->detail());
  const error reason =
      error(told != nullptr ? told->kind() : errc::connection_closed, phase::connect)
          .about(facts_->peer.text())
          .with_detail(detail);
  count_failure(reason, pool_event_kind::connect_failed);
}

void dial_demand::one_left() noexcept {
  const pool_config& config = facts_->config();
  const time_point now = facts_->now();
  if (facts_->counts.idle < config.min_idle_per_endpoint && refill_at_ <= now) {
    refill_at_ = now + facts_->home->random().up_to(config.refill_jitter);
  }
  look();
}

void dial_demand::schedule_retry() noexcept {
  const time_point now = facts_->now();
  time_point due = time_point::max();
  if (!gate_.may_dial(now) && facts_->counts.connecting < connects_wanted()) {
    due = gate_.next_attempt();
  }
  if (refill_at_ > now && facts_->counts.idle < facts_->config().min_idle_per_endpoint) {
    due = std::min(due, refill_at_);
  }
  if (due != time_point::max()) facts_->home->timers().arm(*this, due);
}

void dial_demand::shut_down(const error& why) noexcept {
  facts_->home->timers().cancel(*this);
  warming_.fail_all(why);
}

}  // namespace conpool

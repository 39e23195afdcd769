#include <conpool/pool/detail/dial_demand.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <string>
#include <utility>

#include <conpool/pool/detail/return_verdict.h>

namespace conpool {
namespace {

// What this process or machine lacks, whatever the server is like.
bool is_our_shortage(const error& why) noexcept {
  if (why == errc::too_many_files || why == errc::out_of_memory) return true;
  switch (why.system_errno()) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case EADDRNOTAVAIL:  // no local port is left
      return why.where() == phase::connect;
    default:
      return false;
  }
}

}  // namespace

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

std::uint32_t dial_demand::callers_connections() const noexcept {
  const std::uint64_t callers = waiters_->fresh() + checks_->callers_left(waiters_->patient());
  return static_cast<std::uint32_t>(shared_->connections_for(callers));
}

std::uint32_t dial_demand::wanted_for_callers() const noexcept {
  if (facts_->pool->paused()) return 0;
  // The trial connect stands for the callers that are refused meanwhile.
  return gate_.open() ? 1 : callers_connections();
}

// What the floor and warm() need beside the callers.
std::uint32_t dial_demand::spare_wanted(std::uint32_t for_callers) const noexcept {
  if (facts_->pool->paused() || gate_.open()) return 0;
  return std::max(for_callers + idle_wanted(), warming_.missing()) - for_callers;
}

std::uint32_t dial_demand::connects_wanted() const noexcept {
  const std::uint32_t for_callers = wanted_for_callers();
  if (!gate_.may_dial_spare(facts_->now())) return for_callers;
  return for_callers + spare_wanted(for_callers);
}

std::uint32_t dial_demand::slots_missing() const noexcept {
  if (waiters_->fresh() == 0 || !gate_allows_one_more()) return 0;
  const pool_config& config = facts_->config();
  // Free now, or as soon as what is closing has gone.
  const auto left = [](std::uint64_t most, std::uint64_t taken) {
    return most > taken ? most - taken : 0;
  };
  std::uint64_t slots = left(config.max_connections_per_endpoint, facts_->standing());
  if (config.max_connections != 0) {
    const connection_cap& cap = facts_->pool->cap();
    slots = std::min(slots, left(config.max_connections, cap.connections() - cap.closing()));
  }
  return static_cast<std::uint32_t>(left(waiters_->fresh(), slots + facts_->counts.connecting));
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
  const std::uint32_t most = facts_->config().max_connecting_per_endpoint;
  return gate_.may_dial(facts_->now()) && facts_->counts.connecting < gate_.at_once(seen(), most);
}

// All but `stands`, which takes a walk.
connect_gate::facts dial_demand::seen() const noexcept {
  return {.now = facts_->now(), .first_lends = facts_->first_lends(), .lost = facts_->lost()};
}

std::string dial_demand::held_back_by() const {
  const std::uint32_t rounds = gate_.failures(facts_->first_lends());
  if (rounds == 0 || !gate_.holds_back(seen())) return {};
  return "no more are opened for now, after connects for callers failed in a row (" +
         std::to_string(rounds) + (rounds == 1 ? " attempt)" : " attempts)");
}

// --- what happens

connect_gate::beginning dial_demand::begun() noexcept {
  // Callers come first: what is under way will serve them.
  const bool for_callers = facts_->counts.connecting < wanted_for_callers();
  ++facts_->counts.connecting;
  ++facts_->counts.created;
  facts_->pool->cap().opened();
  return gate_.begin(for_callers);
}

void dial_demand::spared() noexcept {
  --facts_->counts.connecting;
  --facts_->counts.created;
  ++facts_->counts.connects_spared;
  facts_->pool->cap().slot_freed();
  look();
}

bool dial_demand::stood(const connect_gate::beginning& dial) noexcept {
  --facts_->counts.connecting;
  return gate_.stood(dial, seen());
}

bool dial_demand::failed(const error& why, const connect_gate::beginning& dial) noexcept {
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
  // Also one that was begun for others, if it was to serve somebody who came later.
  const bool for_callers = dial.for_callers || callers_connections() > counts.connecting;
  connect_gate::failure what{.permanent = why.is_permanent()};
  if (is_our_shortage(why)) {
    what.whose = connect_gate::row::ourselves;
  } else if (!for_callers) {
    what.whose = connect_gate::row::spare;
  }
  count_failure(why, what, dial, nullptr);
  return for_callers;
}

void dial_demand::count_failure(const error& why, const connect_gate::failure& what,
                                const connect_gate::beginning& dial,
                                const pooled_connection* of) noexcept {
  facts_->last_error = why;
  if (facts_->shut_down) return;
  connect_gate::facts now = seen();
  now.stands = facts_->can_serve(of);
  const bool opened = gate_.failed(what, dial, now, facts_->config(), facts_->home->random());
  if (opened) ++facts_->counts.breaker_opened;
  look();
  if (!facts_->pool->observed()) return;
  event_queue::record event;
  event.kind = pool_event_kind::connect_failed;
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
  connect_gate::failure what{.permanent = reason.is_permanent(), .had_stood = true};
  if (gone.was_spare) what.whose = connect_gate::row::spare;
  count_failure(reason, what, gone.begun, &gone);
}

void dial_demand::one_left(bool was_used) noexcept {
  const pool_config& config = facts_->config();
  const time_point now = facts_->now();
  if (was_used && facts_->open() == 0) gate_.nothing_stands(seen());
  if (facts_->counts.idle < config.min_idle_per_endpoint && refill_at_ <= now) {
    refill_at_ = now + facts_->home->random().up_to(config.refill_jitter);
  }
  look();
}

void dial_demand::schedule_retry() noexcept {
  const time_point now = facts_->now();
  time_point due = time_point::max();
  const std::uint32_t for_callers = wanted_for_callers();
  if (!gate_.may_dial(now) && facts_->counts.connecting < for_callers) {
    due = gate_.next_attempt();
  }
  if (!gate_.may_dial_spare(now) && spare_wanted(for_callers) > 0) {
    due = std::min(due, gate_.next_spare_attempt());
  }
  if (refill_at_ > now && facts_->counts.idle < facts_->config().min_idle_per_endpoint) {
    due = std::min(due, refill_at_);
  }
  if (slot_at_ > now) due = std::min(due, slot_at_);
  if (due != time_point::max()) facts_->home->timers().arm(*this, due);
}

void dial_demand::shut_down(const error& why) noexcept {
  facts_->home->timers().cancel(*this);
  warming_.fail_all(why);
}

}  // namespace conpool

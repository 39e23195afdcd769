#include <conpool/pool/detail/retirement.h>

#include <utility>

#include <conpool/pool/detail/return_verdict.h>
#include <conpool/pool/protocol.h>

namespace conpool {

using return_verdict::is_broken;
using return_verdict::reason_of;

// --- one connection

void retirement::close(pooled_connection& unwanted, close_reason why) noexcept {
  if (unwanted.stage == connection_stage::closing) return;
  pool_counts& counts = facts_->counts;
  const bool farewell = says_farewell(unwanted, why);
  facts_->end_hold(unwanted);
  if (unwanted.idle_hook::is_linked()) connection_list::unlink(unwanted);
  if (unwanted.stage == connection_stage::idle) {
    --counts.idle;
    checks_->idle_closed(why);
  } else if (unwanted.stage != connection_stage::connecting) {
    --counts.active;
    if (unwanted.retiring) --counts.retiring;
  }
  unwanted.stage = connection_stage::closing;
  unwanted.reason = why;
  ++counts.closing;
  facts_->pool->cap().closing_began();
  if (unwanted.managed) as_managed(unwanted).life.cancel(errc::connection_closed);
  if (unwanted.closed()) {
    stream_closed(unwanted);  // its shard was faster
  } else if (farewell) {
    tasks_->begin(unwanted, protocol_task::farewell);
  } else {
    unwanted.begin_close();
  }
}

// To a peer who listens, from a connection that is at rest, and if the shard goes on.
bool retirement::says_farewell(const pooled_connection& one, close_reason why) const noexcept {
  if (facts_->hooks() == nullptr || facts_->hooks()->farewell == nullptr) return false;
  switch (why) {
    case close_reason::idle_timeout:
    case close_reason::lifetime:
    case close_reason::uses:
    case close_reason::over_idle_limit:
    case close_reason::over_limit:
    case close_reason::trimmed:
    case close_reason::evicted:
    case close_reason::retired:
    case close_reason::cleared:
    case close_reason::pool_closed:
      break;
    default:
      return false;
  }
  return !facts_->pool->shard_has_stopped() && return_verdict::faults_of(one, rules_->dirty) == 0;
}

void retirement::farewell_over(pooled_connection& left) noexcept {
  as_managed(left).leaving = false;
  if (left.closed()) {
    stream_closed(left);
  } else {
    left.begin_close();
  }
}

void retirement::retire(pooled_connection& one, close_reason why) noexcept {
  if (one.stage == connection_stage::closing || one.stage == connection_stage::connecting) return;
  demand_->note_if_unserved(one, why);
  const bool shared = is_shared(one);
  if (one.stage == connection_stage::idle || (one.stage == connection_stage::reserved && !shared)) {
    return_to_queue(one);
    close(one, is_broken(one) ? reason_of(one) : why);
    return;
  }
  begin_retiring(one, why);
  return_to_queue(one);
  if (!shared || as_managed(one).lease_count > 0 || one.stage != connection_stage::leased) return;
  if ((one.conditions() & stream::closing) != 0) {
    leave_closing(one);
  } else {
    close(one,
          is_broken(one) ? reason_of(one) : *return_verdict::unwanted(one, *facts_, generation_));
  }
}

void retirement::begin_retiring(pooled_connection& one, close_reason why) noexcept {
  if (std::exchange(one.retiring, true)) return;
  tasks_->not_returning(one);
  if ((one.conditions() & stream::closing) == 0) one.reason = why;
  ++facts_->counts.retiring;
  one.mark(pooled_connection::supervised);  // it is to be looked at when it comes back
  if (one.managed) shared_->list_if_open(as_managed(one));
  if (!facts_->shut_down) demand_->look();
}

void retirement::break_off(pooled_connection& held, close_reason why) noexcept {
  if ((held.conditions() & stream::closing) != 0) return;
  return_to_queue(held);  // the waiters that were chosen for it do not have it yet
  held.reason = why;
  tasks_->not_returning(held);
  if (held.managed) as_managed(held).life.cancel(errc::connection_closed);
  held.begin_close();
  if (is_shared(held) && held.stage == connection_stage::leased &&
      as_managed(held).lease_count == 0) {
    leave_closing(held);
  }
}

void retirement::leave_closing(pooled_connection& left) noexcept {
  facts_->end_hold(left);
  if (left.idle_hook::is_linked()) connection_list::unlink(left);
  if (left.managed) as_managed(left).life.cancel(errc::connection_closed);
  --facts_->counts.active;
  if (left.retiring) --facts_->counts.retiring;
  ++facts_->counts.closing;
  facts_->pool->cap().closing_began();
  left.stage = connection_stage::closing;
  if (left.closed()) stream_closed(left);
}

void retirement::end_unused(pooled_connection& source, close_reason why) noexcept {
  return_to_queue(source);
  demand_->note_if_unserved(source, why);
  close(source, why);
}

bool retirement::release_hold(pooled_connection& one, std::optional<close_reason> bad) noexcept {
  facts_->end_hold(one);
  const bool closing = (one.conditions() & stream::closing) != 0;
  if (closing) bad = one.reason;  // somebody closed it meanwhile
  if (one.checking) checks_->over(one, bad);
  if (!waiters_->empty()) demand_->look();
  if (closing) {
    leave_closing(one);
  } else if (bad) {
    close(one, *bad);
  }
  return !bad;
}

// Ends what the pool does on a connection: a probe, or a turn in a queue, is simply no longer
// waited for; a coroutine lets go of it afterwards.
void retirement::break_hold(pooled_connection& one, close_reason why) noexcept {
  if (std::exchange(one.probing, false) || tasks_->leave_queue(one)) {
    release_hold(one, why);
  } else {
    break_off(one, why);
  }
}

void retirement::return_to_queue(pooled_connection& lost) noexcept {
  const auto put_back = [this](waiter& one) {
    one.take_away();
    waiters_->put_back(one);
    rules_->let_nobody_pass();  // the look at demand serves it
  };
  if (lost.managed) {
    auto& chosen = as_managed(lost).chosen;
    while (!chosen.empty()) {
      put_back(chosen.pop_back());
      shared_->drop_lease(as_managed(lost));
    }
  }
  if (waiter* const one = std::exchange(lost.reserved_for, nullptr)) put_back(*one);
  if (!facts_->shut_down) demand_->look();
}

void retirement::stream_closed(pooled_connection& gone) noexcept {
  // What is connecting belongs to its dial, what is leased to its lease, what is held to the pool.
  if (gone.stage != connection_stage::closing) return;
  if (gone.managed && (as_managed(gone).running || as_managed(gone).leaving)) return;
  // After the shard's end there is no ready queue.
  if (facts_->hooks() == nullptr || facts_->pool->shard_has_stopped()) {
    bury(gone);
    return;
  }
  if (!std::exchange(will_bury_, true)) {
    facts_->pool->add_reference();  // until it has run
    facts_->home->ready().push(*this);
  }
  ended_.push_back(gone);
}

void retirement::bury_all(ready_node& node) noexcept {
  auto& self = static_cast<retirement&>(node);
  const counted_pointer<pool_facts> keep(*self.facts_->pool);
  self.facts_->pool->drop_reference();
  self.will_bury_ = false;
  while (!self.ended_.empty()) self.bury(self.ended_.pop_front());
}

void retirement::bury(pooled_connection& gone) noexcept {
  --facts_->counts.closing;
  facts_->pool->cap().closing_ended();
  ++facts_->counts.closed_by[static_cast<std::size_t>(gone.reason)];
  if (facts_->pool->observed()) {
    event_queue::record event;
    event.kind = pool_event_kind::closed;
    event.connection = gone.serial;
    event.reason = gone.reason;
    facts_->tell(std::move(event));
  }
  const protocol_hooks* const hooks = facts_->hooks();
  if (hooks != nullptr && hooks->on_close != nullptr) {
    hooks->on_close(facts_->pool->protocol(), gone, gone.reason);
  }
  forget(gone);
}

// May destroy the endpoint's pool, unless its caller keeps it.
void retirement::forget(pooled_connection& gone) noexcept {
  const counted_pointer<pool_facts> keep(*facts_->pool);
  const bool was_used = gone.times_lent > 0;
  facts_->members.remove(gone);
  facts_->free_connection(gone);
  keep->drop_reference();  // the connection's
  keep->cap().slot_freed();
  if (facts_->shut_down) {
    keep->look_if_quiet();
    return;
  }
  facts_->touched = facts_->now();
  if (rules_->idle_room == 0) rules_->refresh(*facts_);
  demand_->one_left(was_used);
}

// --- all of them

void retirement::close_all_idle(close_reason why) noexcept {
  while (!idle_->empty()) close(idle_->coldest(), why);
}

void retirement::clear(bool leased_too) noexcept {
  const counted_pointer<pool_facts> keep(*facts_->pool);
  // Leased ones are recognised when they come back, connecting ones when they stand.
  ++generation_;
  close_all_idle(close_reason::cleared);
  for (auto it = facts_->members.begin(); it != facts_->members.end();) {
    pooled_connection& one = *it++;
    if (one.stage == connection_stage::reserved) {
      return_to_queue(one);  // nobody has it yet, and nobody gets it
      close(one, close_reason::cleared);
    } else if (leased_too && one.stage == connection_stage::held_by_pool) {
      break_hold(one, close_reason::cleared);
    } else if (leased_too && one.stage == connection_stage::leased) {
      break_off(one, close_reason::cleared);
    } else if (one.stage == connection_stage::leased && is_shared(one)) {
      retire(one, close_reason::cleared);
    }
  }
}

void retirement::shut_down(const error& why) noexcept {
  const counted_pointer<pool_facts> keep(*facts_->pool);
  facts_->shut_down = true;
  if (facts_->pool->shard_has_stopped()) tasks_->spare_farewells();
  rules_->close();
  for (pooled_connection& one : facts_->members) return_to_queue(one);
  waiters_->fail_all(why);
  demand_->shut_down(why);
  for (auto it = facts_->members.begin(); it != facts_->members.end();) {
    pooled_connection& one = *it++;
    if (one.stage == connection_stage::reserved) {
      close(one, close_reason::pool_closed);
    } else if (one.stage == connection_stage::held_by_pool) {
      break_hold(one, close_reason::pool_closed);
    } else if (one.stage == connection_stage::leased && rules_->shares) {
      retire(one, close_reason::pool_closed);
    }
  }
  close_all_idle(close_reason::pool_closed);
}

}  // namespace conpool

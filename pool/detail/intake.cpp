#include <conpool/pool/detail/intake.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <new>
#include <utility>

#include <conpool/pool/protocol.h>
#include <conpool/runtime/deadline.h>
#include <conpool/runtime/socket.h>

namespace conpool {

// --- dialing

bool intake::may_dial_now() noexcept {
  if (!demand_->gate_allows_one_more()) return false;
  if (demand_->at_own_limit()) return false;
  // A trial connect stands for those who were refused since the last one. If there are none, it
  // takes no connection from others.
  const bool nobody_asks = demand_->gate().open() && facts_->touched <= last_begun_;
  return facts_->pool->cap().may_open(*self_,
                                      !nobody_asks && demand_->first_unserved().has_value());
}

void intake::begin_dials() noexcept {
  while (facts_->counts.connecting < demand_->connects_wanted() && may_dial_now()) {
    const connect_gate::beginning begun = demand_->begun();
    last_begun_ = facts_->now();
    // Owned by the shard, not by a caller: whoever asked may give up.
    facts_->home->spawn(&intake::dial, counted_pointer<pool_facts>(*facts_->pool), std::ref(*this),
                        retirements_->generation(), begun);
  }
  demand_->schedule_retry();
}

task<void> intake::dial(counted_pointer<pool_facts> keep, intake& self, std::uint32_t generation,
                        connect_gate::beginning begun) {
  endpoint_facts& facts = *self.facts_;
  if (facts.counts.connecting > self.demand_->connects_wanted() && !facts.shut_down) {
    self.demand_->spared();
    co_return;
  }
  facts.tell(pool_event_kind::created);
  const time_point deadline = facts.now() + facts.config().connection_timeout;
  result<pooled_connection*> made =
      fail(error(errc::out_of_memory, phase::connect).about(facts.peer.text()));
  try {
    auto work = self.dialer_.connect(deadline);
    made = co_await in_context(keep->dial_context(), std::move(work));
  } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): it has failed already
  }
  if (made) {
    (*made)->begun = begun;
    self.established(**made, generation);
  } else {
    self.dial_failed(made.error(), begun);
  }
}

// If this opened the breaker, the look at demand tells the others who wait.
void intake::dial_failed(const error& why, const connect_gate::beginning& begun) noexcept {
  const bool for_callers = demand_->failed(why, begun);
  waiter* const longest =
      for_callers && !facts_->can_serve() ? waiters_->longest_waiting() : nullptr;
  if (longest != nullptr) {
    handover_->leave_queue(*longest);
    longest->fail_with(why);
  } else {
    demand_->warming().fail_first(why);
  }
  facts_->pool->cap().slot_freed();
  if (facts_->shut_down) {
    facts_->pool->look_if_quiet();
  } else {
    demand_->look();
  }
}

void intake::established(pooled_connection& fresh, std::uint32_t generation) noexcept {
  const bool closed_breaker = demand_->stood(fresh.begun);
  take_in(fresh, generation);
  facts_->tell(pool_event_kind::connected, &fresh);
  if (closed_breaker) facts_->tell(pool_event_kind::breaker_closed);
  if (facts_->hooks() != nullptr && facts_->hooks()->run != nullptr) {
    tasks_->begin_run(as_managed(fresh));
  }
  handover_->place(fresh, false);
}

// A connection that stands joins the pool, counted as active.
void intake::take_in(pooled_connection& fresh, std::uint32_t generation) noexcept {
  const pool_config& config = facts_->config();
  const time_point now = facts_->now();
  const duration lifetime = config.max_connection_lifetime;
  fresh.stood_at = now;
  fresh.last_used = now;
  fresh.generation = generation;
  if (lifetime > duration::zero()) {
    const duration jitter = lifetime * config.lifetime_jitter_percent / 100;
    fresh.retire_at = now + lifetime - facts_->home->random().up_to(jitter);
  }
  if (rules_->supervised) fresh.mark(pooled_connection::supervised);
  facts_->members.push_back(fresh);
  facts_->pool->add_reference();
  ++facts_->counts.active;
  facts_->hold(fresh);  // its hooks may clear or close the pool
  if (rules_->shares) {
    managed_connection& one = as_managed(fresh);
    const access mode = facts_->hooks()->access_mode(facts_->pool->protocol(), fresh);
    one.shared = mode.is_shared;
    one.lease_limit = mode.is_shared ? std::max(1U, mode.leases) : 1;
    shared_->expect(one.lease_limit);
  }
  if (demand_->adopted()) facts_->tell(pool_event_kind::breaker_closed);
  maintenance_->connection_stands(fresh);
  demand_->look();  // more may be needed than this one, or somebody waited for it to stand
}

// --- adopting

result<void> intake::adopt(int fd, const adopt_options& known) {
  const auto refuse = [this](errc why, int system_errno, const char* detail) {
    return fail(
        error(why, phase::configure, system_errno).about(facts_->peer.text()).with_detail(detail));
  };
  ring& kernel = facts_->home->ring();
  connection_cap& cap = facts_->pool->cap();
  if (facts_->shut_down) {
    return fail(error(facts_->pool->closed_because()).about(facts_->peer.text()));
  }
  if (facts_->peer.transport() == transport::tls) {
    return refuse(errc::unsupported, 0, "a descriptor does not carry the state of TLS");
  }
  sockaddr_storage address{};
  socklen_t length = 0;
  if (const int code = kernel.peer_address(fd, address, length); code < 0) {
    return refuse(errc::invalid_argument, code, "not a connected socket; it is still yours");
  }
  if (demand_->at_own_limit() || facts_->counts.idle >= facts_->config().idle_limit() ||
      !cap.may_open(*self_, false)) {
    return refuse(errc::queue_full, 0, "the pool is at its limit; the descriptor is still yours");
  }
  const int there = kernel.peek(fd);
  if (there == 0 || (there < 0 && there != -EAGAIN)) {
    return refuse(there == 0 ? errc::connection_closed : errc::connection_reset, there,
                  "its peer has ended it; the descriptor is still yours");
  }
  if (there > 0 && (known.uses > 0 || !facts_->server_speaks_first())) {
    return refuse(errc::unsolicited_data, 0,
                  "bytes wait on it that nobody asked for; the descriptor is still yours");
  }
  // io_uring answers EAGAIN on a non-blocking descriptor instead of waiting.
  int code = kernel.set_blocking(fd);
  if (code >= 0) {
    code = apply_socket_options(kernel, fd, address.ss_family, facts_->sockets);
  }
  if (code < 0) return refuse(errc::invalid_argument, code, "its options cannot be set");
  pooled_connection* made = nullptr;
  try {
    made = facts_->make_connection(fd);
  } catch (...) {
    return refuse(errc::out_of_memory, 0,
                  "the protocol's state could not be made; it is still yours");
  }
  ++facts_->counts.created;
  cap.opened();
  pooled_connection& fresh = *made;
  fresh.times_lent = known.uses;
  take_in(fresh, retirements_->generation());
  // It has lived before, and its idle time goes on.
  constexpr duration longest = std::chrono::hours(24 * 365);
  const duration age = std::min(known.age, longest);
  fresh.stood_at -= age;
  if (fresh.retire_at != time_point::max()) fresh.retire_at -= age;
  fresh.last_used -= std::min(known.idle, longest);
  maintenance_->connection_stands(fresh);
  facts_->tell(pool_event_kind::connected, &fresh);
  if (facts_->hooks() != nullptr && facts_->hooks()->run != nullptr) {
    tasks_->begin_run(as_managed(fresh));
  }
  handover_->place(fresh);
  maintenance_->schedule();
  return {};
}

}  // namespace conpool

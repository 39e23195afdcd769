// The queue of an endpoint: who waits, who is served next, and what those hear who give up.
#include <conpool/pool/acquire.h>
#include <conpool/pool/detail/endpoint_pool.h>
#include <conpool/pool/detail/pool_core.h>

namespace conpool {

duration endpoint_pool::acquire_timeout() const noexcept {
  return core_->config().acquire_timeout;
}

std::optional<error> endpoint_pool::refusal(bool try_only) noexcept {
  const pool_config& config = core_->config();
  touched_ = home_->now();
  if (shut_down_) return error(core_->closed_because(), phase::acquire).about(endpoint_.text());
  if (!supports(endpoint_)) {
    return error(errc::unsupported, phase::acquire)
        .about(endpoint_.text())
        .with_detail("this build of conpool has no TLS (-Dtls=disabled)");
  }
  if (core_->paused() && core_->pause_fails()) return paused();
  if (try_only) return error(errc::none_idle, phase::acquire).about(endpoint_.text());
  if (gate_.open()) {
    ++counts_.failed_fast;
    std::string detail = std::to_string(gate_.failures()) +
                         " connects failed in a row; one at a time goes on trying";
    if (last_error_) detail += "; the last one: " + last_error_->message();
    return error(errc::breaker_open, phase::acquire)
        .about(endpoint_.text())
        .with_detail(detail)
        .after_attempts(gate_.failures());
  }
  const std::uint32_t limit = config.waiter_limit();
  if (counts_.waiting < limit) return std::nullopt;
  ++counts_.queue_full;
  tell(pool_event_kind::queue_full);
  return error(errc::queue_full, phase::acquire)
      .about(endpoint_.text())
      .with_detail(std::to_string(limit) + " callers wait for " +
                   std::to_string(config.max_connections_per_endpoint) +
                   " connections; raise max_connections_per_endpoint or "
                   "max_waiters_per_endpoint, or send less");
}

void endpoint_pool::join_queue(acquire_waiter& waiter) noexcept {
  waiter.ticket_ = core_->next_ticket();
  waiters_[static_cast<std::size_t>(waiter.priority_)].push_back(waiter);
  ++counts_.waiting;
  if (waiter.fresh_) ++fresh_waiting_;
  tell(pool_event_kind::waiter_queued);
  look_at_demand();
}

void endpoint_pool::leave_queue(acquire_waiter& waiter) noexcept {
  waiters_[static_cast<std::size_t>(waiter.priority_)].remove(waiter);
  --counts_.waiting;
  if (waiter.fresh_) --fresh_waiting_;
  // Another endpoint may have waited behind this one for a place.
  if (list_hook<shortage_tag>::is_linked()) look_at_demand();
}

void endpoint_pool::fail_waiters(const error& why) noexcept {
  for (auto& lane : waiters_) {
    while (!lane.empty()) {
      acquire_waiter& waiter = lane.front();
      leave_queue(waiter);
      waiter.fail_with(why);
    }
  }
}

error endpoint_pool::paused() const {
  return error(errc::pool_paused, phase::acquire)
      .about(endpoint_.text())
      .with_detail("try again after resume()");
}

std::uint32_t endpoint_pool::callers() const noexcept {
  std::size_t sum = counts_.waiting;
  for (const connection& one : members_) {
    if (one.reserved_for_ != nullptr) ++sum;
    if (!one.managed_) continue;
    for ([[maybe_unused]] const acquire_waiter& chosen :
         static_cast<const managed_connection&>(one).reserved_) {
      ++sum;
    }
  }
  return static_cast<std::uint32_t>(sum);
}

std::uint32_t endpoint_pool::leased_connections() const noexcept {
  std::uint32_t sum = 0;
  for (const connection& one : members_) sum += one.state_ == state::leased ? 1 : 0;
  return sum;
}

acquire_waiter* endpoint_pool::first_waiter_for(const connection& clean) noexcept {
  if (counts_.waiting == 0) return nullptr;
  for (auto& lane : waiters_) {
    for (acquire_waiter& one : lane) {
      if (!one.fresh_ || clean.uses_ == 0) return &one;
    }
  }
  return nullptr;
}

std::optional<std::uint64_t> endpoint_pool::first_unserved() const noexcept {
  if (!gate_allows_one_more() || total() >= core_->config().max_connections_per_endpoint) {
    return std::nullopt;
  }
  if (gate_.open()) return 0;
  // Those before it have a connect under way that will serve them, or a check.
  const std::uint32_t checks = pings_all_ ? 0 : checking_;
  std::uint64_t passed = (std::uint64_t{counts_.connecting} + checks) * expected_leases_;
  for (const auto& lane : waiters_) {
    for (const acquire_waiter& one : lane) {
      if (passed == 0) return one.ticket_;
      --passed;
    }
  }
  return std::nullopt;
}

// Precondition: clean, counted in no state but `active`, `first` is in the queue.
void endpoint_pool::reserve(connection& clean, acquire_waiter& first, bool existed) noexcept {
  leave_queue(first);
  clean.state_ = state::reserved;
  clean.reserved_for_ = &first;
  watch(clean);
  first.hand(clean, existed);
}

// The waiters that were chosen for a connection that is lost take their old places in the queue.
void endpoint_pool::return_to_queue(connection& lost) noexcept {
  const auto put_back = [this](acquire_waiter& waiter) {
    waiter.take_away();
    auto& lane = waiters_[static_cast<std::size_t>(waiter.priority_)];
    auto later = lane.begin();
    while (later != lane.end() && later->ticket_ < waiter.ticket_) ++later;
    lane.insert(later, waiter);
    lends_ = look::closely;  // nobody passes them until the look at demand has served them
    ++counts_.waiting;
    if (waiter.fresh_) ++fresh_waiting_;
  };
  if (lost.managed_) {
    auto& chosen = managed(lost).reserved_;
    while (!chosen.empty()) {
      put_back(chosen.pop_back());
      drop_lease(managed(lost));
    }
  }
  if (acquire_waiter* const waiter = std::exchange(lost.reserved_for_, nullptr)) put_back(*waiter);
  if (!shut_down_) look_at_demand();
}

void endpoint_pool::take_back(acquire_waiter& waiter, connection& reserved) noexcept {
  waiter.take_away();
  if (reserved.managed_ && managed(reserved).shared_) {
    managed(reserved).reserved_.remove(waiter);
    drop_lease(managed(reserved));
    place_shared(managed(reserved));
    return;
  }
  reserved.reserved_for_ = nullptr;
  reserved.last_used_ = home_->now();
  place(reserved);
}

void endpoint_pool::lend_reserved(acquire_waiter& waiter, connection& reserved) noexcept {
  if (reserved.managed_ && managed(reserved).shared_) {
    managed(reserved).reserved_.remove(waiter);
  } else {
    CONPOOL_ASSERT(reserved.state_ == state::reserved, "only what is reserved is taken");
    reserved.reserved_for_ = nullptr;
    reserved.state_ = state::leased;
    reserved.count_from_here();
  }
  const bool used = reserved.uses_++ > 0;
  if (!used) gate_.served();
  counts_.reused += used ? 1 : 0;
  if (used || waiter.existed_) {
    ++counts_.hits;
  } else {
    ++counts_.misses;
  }
  note_lent(reserved, waiter.where_);
}

// What it was that the queue waits for, for a person.
std::string endpoint_pool::waits_for() const {
  if (core_->paused()) return "the pool is paused";
  if (list_hook<shortage_tag>::is_linked()) return "max_connections of the pool are open";
  if (total() >= core_->config().max_connections_per_endpoint && counts_.connecting == 0) {
    return "all connections were in use";
  }
  if (counts_.connecting > 0) return "a connect was under way";
  if (!gate_.may_dial(home_->now())) {
    return "the next connect waits after " + std::to_string(gate_.failures()) + " failed in a row";
  }
  return "no connection became free";
}

error endpoint_pool::ended_early(errc why) noexcept {
  const bool timed_out = why == errc::acquire_timeout;
  error made = error(why, phase::acquire).about(endpoint_.text());
  if (timed_out) {
    ++counts_.acquire_timeouts;
    std::string detail = waits_for() + "; " + std::to_string(counts_.active) + " leased, " +
                         std::to_string(counts_.idle) + " idle, " +
                         std::to_string(counts_.connecting) + " connecting, " +
                         std::to_string(counts_.waiting) + " waiting, at most " +
                         std::to_string(core_->config().max_connections_per_endpoint);
    if (last_error_) detail += "; last failed connect: " + last_error_->message();
    made = std::move(made).with_detail(detail);
  } else {
    ++counts_.acquires_cancelled;
  }
  if (core_->observed()) {
    event_queue::record event;
    event.kind = timed_out ? pool_event_kind::waiter_timed_out : pool_event_kind::waiter_cancelled;
    event.why = made;
    tell(std::move(event));
  }
  return made;
}

}  // namespace conpool

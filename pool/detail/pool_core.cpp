#include <conpool/pool/detail/pool_core.h>

#include <utility>

#include <conpool/pool/detail/refusals.h>

namespace conpool {

pool_core::pool_core(shard& home, const pool_config& config, const protocol_hooks* hooks,
                     std::shared_ptr<void> protocol)
    : pool_facts(home, config, hooks, std::move(protocol)),
      stop_hook(&pool_core::shard_stops),
      quiet_(home),
      empty_(home),
      not_quiet_(endpoints_.end()) {
  home.add_stop_hook(*this);
}

// The last reference is gone: no handle, no lease, no connection, no connect. The shard may be
// gone, too; what it had of this was given back when it stopped.
pool_core::~pool_core() {
  CONPOOL_ASSERT(closed(), "a pool's core was freed before it was shut down");
  // It stays on the list of a shard that goes on: its last lease may end after the shard's.
  if (!shard_has_stopped_) home_->remove_stop_hook(*this);
}

void pool_core::reconfigure(const pool_config& config) noexcept {
  config_ = config;
  for (auto& [to, one] : endpoints_) one->limits_changed();
  while (cap_.over_limit() && cap_.evict_coldest(nullptr, close_reason::over_limit)) {
  }
  refresh_all();
}

void pool_core::configure(const endpoint& to, const pool_config* own) {
  decltype(own_configs_)::node_type before;  // until the endpoint looks elsewhere
  if (own != nullptr) {
    own_configs_.insert_or_assign(to, *own);
  } else {
    before = own_configs_.extract(to);
  }
  endpoint_pool* const known = find(to);
  if (known == nullptr) return;
  known->limits_changed();
  known->refresh();
}

void pool_core::refresh_all() noexcept {
  for (auto& [to, one] : endpoints_) one->refresh();
}

endpoint_pool& pool_core::at(const endpoint& to) {
  const auto found = endpoints_.find(to);
  if (found != endpoints_.end()) [[likely]]
    return *found->second;
  auto made = std::make_unique<endpoint_pool>(*this, to);
  endpoint_pool& reference = *made;
  endpoints_.emplace(to, std::move(made));
  // A handle to a closed pool: it has nothing, and the table has moved.
  if (all_shut_down_) not_quiet_ = endpoints_.begin();
  return reference;
}

endpoint_pool* pool_core::find(const endpoint& to) noexcept {
  const auto found = endpoints_.find(to);
  return found == endpoints_.end() ? nullptr : found->second.get();
}

// Its counts stay in the totals.
void pool_core::forget(const endpoint& unused) noexcept {
  if (closed()) return;
  const auto found = endpoints_.find(unused);
  if (events_.observed()) {
    event_queue::record event;
    event.kind = pool_event_kind::endpoint_forgotten;
    event.peer.emplace(unused);
    tell(std::move(event));
  }
  forgotten_ += found->second->facts().counts;
  endpoints_.erase(found);
  // The table, too: it does not shrink by itself.
  constexpr std::size_t buckets_per_endpoint_max = 8;
  if (endpoints_.bucket_count() > 64 &&
      endpoints_.bucket_count() > buckets_per_endpoint_max * (endpoints_.size() + 1)) {
    endpoints_.rehash(0);
  }
}

pool_stats pool_core::totals() const {
  pool_stats sum;
  static_cast<pool_counts&>(sum) = forgotten_;
  for (const auto& [to, one] : endpoints_) sum += one->facts().counts;
  sum.endpoints = endpoints_.size();
  sum.events_dropped = events_.dropped();
  sum.observer_exceptions = events_.exceptions();
  return sum;
}

// --- closing

void pool_core::shut_down(errc why) noexcept {
  if (closed()) return;
  home_->assert_owner();
  const core_pointer keep(*this);
  closed_ = why;
  cap_.shut_down();
  for (auto& [to, one] : endpoints_) one->shut_down(why);
  dial_context_.cancel(why);
  // Only now: an endpoint that has not been shut down yet may look quiet and have more to close.
  all_shut_down_ = true;
  not_quiet_ = endpoints_.begin();
  look_if_quiet();
}

// Called for each connection that goes: the endpoints that are quiet are passed once. No endpoint
// is made or forgotten any more.
void pool_core::look_if_quiet() noexcept {
  if (!all_shut_down_) return;
  while (not_quiet_ != endpoints_.end() && not_quiet_->second->facts().quiet()) ++not_quiet_;
  if (not_quiet_ == endpoints_.end() && !quiet_.is_set()) quiet_.set();
  if (cap_.connections() == 0 && !empty_.is_set()) empty_.set();
}

void pool_core::shard_stops(stop_hook& hook) noexcept {
  auto& self = static_cast<pool_core&>(hook);
  const core_pointer keep(self);
  self.shard_has_stopped_ = true;
  self.shut_down(errc::shard_stopped);
}

// --- pause, observer

void pool_core::pause(while_paused policy) noexcept {
  pause_policy_ = policy;
  paused_ = true;
  refresh_all();
  if (policy == while_paused::wait) return;
  for (auto& [to, one] : endpoints_) one->fail_waiters(refusals::paused(one->facts()));
}

void pool_core::resume() noexcept {
  if (!std::exchange(paused_, false)) return;
  refresh_all();
  for (auto& [to, one] : endpoints_) one->resumed();
}

void pool_core::observe(pool_observer observer) {
  events_.set(std::move(observer));
  refresh_all();
}

}  // namespace conpool

#include <conpool/pool/detail/pool_core.h>

namespace conpool {

pool_core::pool_core(shard& home, const pool_config& config, const protocol_hooks* hooks,
                     std::shared_ptr<void> protocol)
    : stop_hook(&pool_core::shard_stops),
      home_(&home),
      config_(config),
      hooks_(hooks),
      protocol_(std::move(protocol)),
      quiet_(home),
      empty_(home),
      events_(*this),
      not_quiet_(endpoints_.end()) {
  apply_config();
  home.add_stop_hook(*this);
}

// The last reference is gone: no handle, no lease, no connection, no connect. The shard may be
// gone, too; what it had of this was given back when it stopped.
pool_core::~pool_core() {
  CONPOOL_ASSERT(closed(), "a pool's core was freed before it was shut down");
}

void pool_core::apply_config() noexcept {
  using std::chrono::duration_cast;
  using std::chrono::seconds;
  timeouts_ = {config_.read_timeout, config_.write_timeout};
  sockets_.nodelay = config_.tcp_nodelay;
  sockets_.keepalive = config_.tcp_keepalive;
  sockets_.keepalive_idle = duration_cast<seconds>(config_.keepalive_idle);
  sockets_.keepalive_interval = duration_cast<seconds>(config_.keepalive_interval);
  sockets_.keepalive_probes = config_.keepalive_probes;
  sockets_.user_timeout = config_.tcp_user_timeout;
  sockets_.timeouts = timeouts_;
}

void pool_core::reconfigure(const pool_config& config) noexcept {
  config_ = config;
  apply_config();
  for (auto& [to, one] : endpoints_) one->limits_changed();
  while (over_limit() && evict_coldest(nullptr, close_reason::over_limit)) {
  }
  refresh_all();
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

void pool_core::forget(endpoint_pool& unused) noexcept {
  if (closed()) return;
  if (events_.observed()) {
    event_queue::record event;
    event.kind = pool_event_kind::endpoint_forgotten;
    event.peer.emplace(unused.peer());
    tell(std::move(event));
  }
  forgotten_ += unused.counts();
  leave_line(unused);
  if (unused.list_hook<floor_tag>::is_linked()) below_floor_.remove(unused);
  endpoints_.erase(endpoints_.find(unused.peer()));
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
  for (const auto& [to, one] : endpoints_) sum += one->counts();
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
  home_->remove_stop_hook(*this);
  shortage_ = false;
  while (!in_line_.empty()) in_line_.pop_front();
  while (!below_floor_.empty()) below_floor_.pop_front();
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
  while (not_quiet_ != endpoints_.end() && not_quiet_->second->quiet()) ++not_quiet_;
  if (not_quiet_ == endpoints_.end() && !quiet_.is_set()) quiet_.set();
  if (connections_ == 0 && !empty_.is_set()) empty_.set();
}

void pool_core::shard_stops(stop_hook& hook) noexcept {
  static_cast<pool_core&>(hook).shut_down(errc::shard_stopped);
}

// --- pause, observer

void pool_core::pause(while_paused policy) noexcept {
  pause_policy_ = policy;
  paused_ = true;
  refresh_all();
  if (policy == while_paused::wait) return;
  for (auto& [to, one] : endpoints_) one->fail_waiters(one->paused());
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

// --- the cap over all endpoints

endpoint_pool* pool_core::next_in_line() noexcept {
  endpoint_pool* first = nullptr;
  std::uint64_t first_ticket = 0;
  for (endpoint_pool& one : in_line_) {
    const auto ticket = one.first_unserved();
    if (!ticket || (first != nullptr && *ticket >= first_ticket)) continue;
    first = &one;
    first_ticket = *ticket;
  }
  return first;
}

bool pool_core::may_open(endpoint_pool& asking, bool for_callers) noexcept {
  if (config_.max_connections == 0) return true;
  if (in_line_.empty() && has_place()) return true;
  if (!for_callers) {  // nobody waits for it: it takes no place from others
    if (!asking.list_hook<floor_tag>::is_linked()) below_floor_.push_back(asking);
    return false;
  }
  if (!asking.list_hook<shortage_tag>::is_linked()) in_line_.push_back(asking);
  set_shortage(true);
  endpoint_pool* const next = next_in_line();
  if (has_place()) {
    if (next == &asking) return true;
    if (next != nullptr) next->look_at_demand();
    return false;
  }
  // One eviction for each that stands in line, counted first: it may be over at once. Those of its
  // own are of use to its callers, unless they want a fresh one.
  if (evicting_ < line_length()) {
    ++evicting_;
    if (!evict_coldest(asking.wants_fresh() ? nullptr : &asking)) --evicting_;
  }
  return false;
}

void pool_core::place_freed() noexcept {
  CONPOOL_ASSERT(connections_ > 0, "more connections went than came");
  --connections_;
  if (evicting_ > 0) --evicting_;
  offer_place();
}

// To the first in line; else to one that misses connections nobody waits for.
void pool_core::offer_place() noexcept {
  if (endpoint_pool* const next = next_in_line()) {
    next->look_at_demand();
  } else if (in_line_.empty() && !below_floor_.empty()) {
    below_floor_.pop_front().look_at_demand();
  }
}

void pool_core::demand_looked_at(endpoint_pool& looked) noexcept {
  // It has what it needs, or it was its turn and something else than the cap holds it up.
  if (looked.list_hook<shortage_tag>::is_linked() &&
      (!looked.first_unserved() || (has_place() && next_in_line() == &looked))) {
    leave_line(looked);
  }
  if (has_place()) offer_place();
}

void pool_core::leave_line(endpoint_pool& one) noexcept {
  if (!one.list_hook<shortage_tag>::is_linked()) return;
  in_line_.remove(one);
  if (in_line_.empty()) set_shortage(false);
}

void pool_core::set_shortage(bool there_is) noexcept {
  if (shortage_ == there_is) return;
  shortage_ = there_is;
  refresh_all();
}

std::size_t pool_core::line_length() const noexcept {
  std::size_t length = 0;
  for ([[maybe_unused]] const endpoint_pool& one : in_line_) ++length;
  return length;
}

bool pool_core::claim_place_of(const endpoint_pool& giver, std::uint64_t own_next) noexcept {
  if (connections_ < config_.max_connections) return false;
  std::size_t entitled = 0;
  for (const endpoint_pool& one : in_line_) {
    const auto ticket = one.first_unserved();
    if (&one != &giver && ticket && *ticket < own_next) ++entitled;
  }
  if (evicting_ >= entitled) return false;  // enough are on their way
  ++evicting_;
  return true;
}

bool pool_core::evict_coldest(const endpoint_pool* but_of, close_reason why) noexcept {
  connection* coldest = nullptr;
  endpoint_pool* owner = nullptr;
  for (auto& [to, one] : endpoints_) {
    if (one.get() == but_of) continue;
    connection* const candidate = one->coldest_idle();
    if (candidate == nullptr) continue;
    if (coldest != nullptr && candidate->last_used_ >= coldest->last_used_) continue;
    coldest = candidate;
    owner = one.get();
  }
  if (coldest == nullptr) return false;
  owner->evict(*coldest, why);
  return true;
}

}  // namespace conpool

#include <conpool/pool/detail/endpoint_pool.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include <conpool/pool/acquire.h>
#include <conpool/pool/detail/pool_core.h>

namespace conpool {
namespace {

std::optional<socket_address> address_without_resolving(const endpoint& to) {
  result<socket_address> made = fail(error(errc::invalid_argument));
  if (to.transport() == transport::unix_socket) {
    made = socket_address::unix_path(to.path());
  } else if (to.is_numeric()) {
    made = socket_address::ip(to.host(), to.port());
  }
  if (!made) return std::nullopt;
  return *made;
}

}  // namespace

endpoint_pool::endpoint_pool(pool_core& core, const endpoint& to)
    : timer_node(&endpoint_pool::upkeep_fired),
      ready_node(&endpoint_pool::look_at_demand_now),
      home_(&core.home()),
      core_(&core),
      hooks_(core.hooks()),
      endpoint_(to),
      retry_(*this),
      touched_(core.home().now()),
      fixed_address_(address_without_resolving(to)) {
  if (hooks_ != nullptr) expected_leases_ = std::max(1U, hooks_->expected_leases);
  shut_down_ = core.closed();
  refresh();
  look_at_demand();  // min_idle_per_endpoint
}

endpoint_pool::~endpoint_pool() {
  CONPOOL_ASSERT(counts_.active + counts_.idle + counts_.connecting + counts_.closing == 0,
                 "an endpoint's pool was destroyed before its connections");
  if (!shut_down_) {
    home_->timers().cancel(*this);
    home_->timers().cancel(retry_);
  }
}

endpoint_stats endpoint_pool::stats() const {
  endpoint_stats made;
  static_cast<pool_counts&>(made) = counts_;
  made.endpoint = endpoint_.to_string();
  made.failed_in_a_row = gate_.failures();
  made.breaker_open = gate_.open();
  if (last_error_) made.last_error = last_error_->message();
  return made;
}

connection* endpoint_pool::make_connection(int fd) {
  const std::uint64_t id = core_->next_connection_id();
  if (hooks_ == nullptr) return new connection(*this, *home_, fd, id);
  return hooks_->create(*this, *home_, fd, id);
}

void endpoint_pool::free_connection(connection& gone) noexcept {
  if (hooks_ == nullptr) {
    delete &gone;
  } else {
    hooks_->destroy(gone);
  }
}

void endpoint_pool::tell(event_queue::record event) const noexcept {
  if (!core_->observed()) return;
  event.peer.emplace(endpoint_);
  core_->tell(std::move(event));
}

void endpoint_pool::tell(pool_event_kind kind, const connection* about) const noexcept {
  if (!core_->observed()) return;
  event_queue::record event;
  event.kind = kind;
  if (about != nullptr) event.connection = about->id();
  tell(std::move(event));
}

// --- what a lend and a return look at

bool endpoint_pool::is_supervised() const noexcept {
  const pool_config& config = core_->config();
  return config.max_connection_uses != 0 || config.leak_threshold > duration::zero() ||
         core_->observed() || (hooks_ != nullptr && hooks_->on_each_return());
}

void endpoint_pool::refresh() noexcept {
  const pool_config& config = core_->config();
  const validation_policy policy = config.validation;
  shares_ = hooks_ != nullptr && hooks_->access_mode != nullptr;
  watch_ = policy != validation_policy::none;
  lends_ = watch_ ? look::at_completions : look::not_at_all;
  if (policy == validation_policy::probe || policy == validation_policy::ping || core_->paused() ||
      core_->observed() || config.leak_threshold > duration::zero() ||
      (hooks_ != nullptr && hooks_->on_each_lend())) {
    lends_ = look::closely;
  }
  dirty_ = config.reuse_unanswered ? ~std::uint32_t{stream::unanswered} : ~0U;
  idle_room_ = config.idle_limit();
  // Above the floor each return may make the coldest one due.
  if (config.min_idle_per_endpoint > 0) idle_room_ = config.min_idle_per_endpoint;
  if (shut_down_ || core_->in_shortage() || core_->over_limit() ||
      standing() > config.max_connections_per_endpoint) {
    idle_room_ = 0;
  }
  const bool did_detect = std::exchange(detects_leaks_, config.leak_threshold > duration::zero());
  if (did_detect && !detects_leaks_) stop_detecting();
  const bool were_supervised = std::exchange(supervised_, is_supervised());
  if (supervised_ == were_supervised) return;
  for (connection& one : members_) {
    if (supervised_ || one.retiring_) {
      one.mark(stream::supervised);
    } else {
      one.clear(stream::supervised);
    }
  }
}

// The leak detector was switched off: what is leased is in no list, and nothing is known of it.
void endpoint_pool::stop_detecting() noexcept {
  while (!leased_.empty()) leased_.pop_front();
  for (connection& one : members_) {
    one.lent_from_ = {};
    one.leak_reported_ = false;
  }
}

void endpoint_pool::limits_changed() noexcept {
  if (shut_down_) return;
  const core_pointer keep(*core_);
  const pool_config& config = core_->config();
  while (!idle_.empty() && standing() > config.max_connections_per_endpoint) {
    close_connection(idle_.back(), close_reason::over_limit);
  }
  while (counts_.idle > config.idle_limit()) {
    close_connection(idle_.back(), close_reason::over_idle_limit);
  }
  watch_unwatched();
  next_trim_ = time_point::max();
  next_check_ = time_point::max();
  if (next_retirement_ != time_point::max()) next_retirement_ = home_->now();
  schedule_upkeep();
  resumed();
}

// After a change of the policy: what was not watched so far is looked at once, and then watched.
void endpoint_pool::watch_unwatched() noexcept {
  if (!watch_) return;
  for (auto it = idle_.begin(); it != idle_.end();) {
    connection& one = *it++;
    if (!one.receive_posted() && is_alive(one)) watch(one);
  }
}

void endpoint_pool::resumed() noexcept {
  if (shut_down_) return;
  if (!core_->paused()) serve_from_idle();  // before a newcomer can pass
  look_at_demand();
}

// --- lending

connection* endpoint_pool::take_idle_slowly(const std::source_location& where) noexcept {
  if (core_->paused()) return nullptr;
  // Closes what has ended, each through something_arrived().
  if (watch_ && home_->ring().completions_pending()) home_->ring().harvest();
  if (shares_) return take_shared(where);
  // Nobody passes those who wait while another connection is checked for them.
  if (counts_.waiting > fresh_waiting_) return nullptr;
  while (connection* const candidate = warmest_idle()) {
    if (!protocol_wants(*candidate)) {
      retire(*candidate, close_reason::vetoed);
      continue;
    }
    note_reader(*candidate);
    lend_idle(*candidate);
    note_lent(*candidate, where);
    return candidate;
  }
  return nullptr;
}

// The idle connection to lend next; null if there is none, or if it has to be checked: then the
// caller waits for that.
connection* endpoint_pool::warmest_idle() noexcept {
  while (!idle_.empty()) {
    connection& candidate = idle_.front();
    if (needs_check(candidate)) return nullptr;
    if (is_alive(candidate)) return &candidate;
  }
  return nullptr;
}

// Looks at an idle connection, and takes one out of the list that is of no use.
bool endpoint_pool::is_alive(connection& candidate) noexcept {
  if ((candidate.conditions() & broken) != 0) {
    // Its run() was the reader of its end, and has not been resumed since.
    close_connection(candidate, reason_of(candidate));
    return false;
  }
  const bool reads = (candidate.conditions() & stream::reading) != 0;
  if (!watch_ || reads || candidate.receive_posted() || read_by_run(candidate)) return true;
  // Unwatched: a new connection whose server spoke first, or one from before a change of the
  // policy. The socket itself has to be asked.
  const int waiting = home_->ring().peek(candidate.fd());
  if (waiting == -EAGAIN || (waiting > 0 && candidate.uses_ == 0)) return true;
  if (waiting > 0 && hooks_ != nullptr && hooks_->on_idle_data != nullptr) {
    begin_service(candidate, service::idle_data);
  } else if (waiting > 0) {
    close_connection(candidate, close_reason::unexpected_data);
  } else {
    close_connection(candidate,
                     waiting == 0 ? close_reason::peer_closed : close_reason::peer_reset);
  }
  return false;
}

// Asked once for each lease.
bool endpoint_pool::protocol_wants(connection& candidate) noexcept {
  if (hooks_ == nullptr) return true;
  void* const protocol = core_->protocol();
  return (hooks_->is_healthy == nullptr || hooks_->is_healthy(protocol, candidate)) &&
         (hooks_->on_acquire == nullptr || hooks_->on_acquire(protocol, candidate));
}

void endpoint_pool::note_lent(connection& taken, const std::source_location& where) noexcept {
  if (core_->config().leak_threshold > duration::zero() && !shares_) {
    taken.last_used_ = home_->now();
    taken.lent_from_ = where;
    taken.leak_reported_ = false;
    leased_.push_back(taken);
    if (!timer_node::armed() || &leased_.front() == &taken) schedule_upkeep();
  }
  if (!core_->observed()) return;
  event_queue::record event;
  event.kind = pool_event_kind::lent;
  event.connection = taken.id();
  event.where = where;
  tell(std::move(event));
}

void endpoint_pool::note_returned(connection& returned) noexcept {
  // With leak detection only: a shared one stays in its list.
  if (!shares_ && returned.idle_hook::is_linked()) connection_list::unlink(returned);
  const std::source_location where = std::exchange(returned.lent_from_, {});
  const bool was_reported = std::exchange(returned.leak_reported_, false);
  if (!core_->observed()) return;
  event_queue::record event;
  event.kind = pool_event_kind::returned;
  event.connection = returned.id();
  event.where = where;
  if (where.line() != 0) event.held = home_->now() - returned.last_used_;
  if (was_reported) {
    event_queue::record late = event;
    late.kind = pool_event_kind::leak_returned;
    tell(std::move(late));
  }
  tell(std::move(event));
}

// --- taking back

// Then its run() is the idle watch.
bool endpoint_pool::read_by_run(const connection& one) noexcept {
  return one.managed_ && managed(one).running_ &&
         (managed(one).shared_ || managed(one).read_by_run_);
}

// By run(), or on behalf of several leases: what is under way when a lease ends is the protocol's
// business, as long as the stream is whole.
bool endpoint_pool::read_by_protocol(const connection& one) noexcept {
  return read_by_run(one) || (one.managed_ && managed(one).shared_);
}

// Nobody but run() can be reading before the lease begins.
void endpoint_pool::note_reader(connection& lent) noexcept {
  if (lent.managed_ && (lent.conditions() & stream::reading) != 0) {
    managed(lent).read_by_run_ = true;
  }
}

// What keeps a connection from being lent again.
std::uint32_t endpoint_pool::faults_of(const connection& one) const noexcept {
  if (read_by_protocol(one)) return one.conditions() & broken;
  return one.conditions() & dirty_ & ~std::uint32_t{stream::supervised};
}

close_reason endpoint_pool::reason_of(const connection& dirty) const noexcept {
  std::uint32_t what = dirty.conditions();
  if (read_by_protocol(dirty)) what &= broken;
  if ((what & stream::discarded) != 0) return close_reason::discarded;
  if ((what & (stream::reading | stream::writing)) != 0) return close_reason::busy;
  if ((what & (stream::broken_off | stream::torn)) != 0) return close_reason::interrupted;
  if ((what & stream::failed) != 0) {
    return dirty.failure() == ECONNRESET || dirty.failure() == EPIPE ? close_reason::peer_reset
                                                                     : close_reason::io_error;
  }
  if ((what & (stream::has_data | stream::more_data)) != 0) return close_reason::unread_data;
  if ((what & stream::ended) != 0) return close_reason::peer_closed;
  if ((what & stream::worn_out) != 0) return close_reason::uses;
  return close_reason::unanswered;
}

std::optional<close_reason> endpoint_pool::unwanted(const connection& clean) const noexcept {
  const pool_config& config = core_->config();
  if (shut_down_) return close_reason::pool_closed;
  if (clean.retiring_) return clean.reason_;
  if (clean.generation_ != generation_) return close_reason::cleared;
  if (home_->now() >= clean.retire_at_) return close_reason::lifetime;
  if (config.max_connection_uses != 0 && clean.uses_ >= config.max_connection_uses) {
    return close_reason::uses;
  }
  if (standing() > config.max_connections_per_endpoint || core_->over_limit()) {
    return close_reason::over_limit;
  }
  return std::nullopt;
}

void endpoint_pool::give_back_slowly(connection& returned) noexcept {
  if (returned.managed_ && managed(returned).shared_) {
    give_back_shared(managed(returned));
    return;
  }
  if (returned.closed() || (returned.conditions() & stream::closing) != 0) {
    // Cleared, forced, detached or stopped while it was leased. Its shard may be gone.
    note_returned(returned);
    leave_closing(returned);
    return;
  }
  home_->assert_owner();
  note_returned(returned);
  returned.last_used_ = home_->now();
  if (returned.has_codec()) {
    if (const auto why = settle(returned)) {
      close_connection(returned, *why);
      return;
    }
  }
  if (faults_of(returned) != 0) {
    close_connection(returned, reason_of(returned));
    return;
  }
  if (hooks_ != nullptr && !unwanted(returned)) {
    if (hooks_->on_release != nullptr && !hooks_->on_release(core_->protocol(), returned)) {
      close_connection(returned, close_reason::vetoed);
      return;
    }
    if (hooks_->clean != nullptr) {
      if (cleaning_ >= core_->config().max_releasing_per_endpoint) {
        close_connection(returned, close_reason::vetoed);
      } else {
        begin_service(returned, service::clean);
      }
      return;
    }
  }
  place(returned);
}

// A clean connection, counted as active, goes to the first waiter, or becomes idle, or is closed.
void endpoint_pool::place(connection& clean, bool existed) noexcept {
  if (clean.managed_ && managed(clean).shared_) {
    place_shared(managed(clean), existed);
    return;
  }
  if (const auto why = unwanted(clean)) {
    close_connection(clean, *why);
    return;
  }
  acquire_waiter* const first = core_->paused() ? nullptr : first_waiter_for(clean);
  // At the cap over all endpoints whoever came first is next, wherever they wait.
  if (first != nullptr && core_->in_shortage() && core_->claim_place_of(*this, first->ticket_)) {
    close_connection(clean, close_reason::evicted);
  } else if (first != nullptr) {
    reserve(clean, *first, existed);
  } else {
    put_by(clean);
  }
}

// Nobody can use it now: it becomes idle, or is closed.
void endpoint_pool::put_by(connection& clean) noexcept {
  constexpr auto nobody = std::numeric_limits<std::uint64_t>::max();
  if (counts_.idle >= core_->config().idle_limit()) {
    close_connection(clean, close_reason::over_idle_limit);
  } else if (core_->in_shortage() && core_->claim_place_of(*this, nobody)) {
    close_connection(clean, close_reason::evicted);
  } else {
    --counts_.active;
    make_idle(clean);
    if (idle_room_ == 0) refresh();  // the limit that was passed may be kept again
    if (core_->config().min_idle_per_endpoint > 0) schedule_upkeep();
    // Who waits for a fresh one gets its place, if there is no other.
    if (counts_.waiting > 0) look_at_demand();
  }
}

// --- the idle watch

void endpoint_pool::watch(connection& clean) const noexcept {
  // With a server's greeting unread there is nothing to post: its reader looks at the socket. A
  // protocol's run() may read for itself; whether it does is known when it is lent.
  constexpr std::uint32_t taken = stream::has_data | stream::reading;
  if (clean.receive_posted() || (clean.conditions() & taken) != 0) return;
  if (clean.managed_ && managed(clean).running_ && clean.uses_ == 0) return;
  if (read_by_run(clean)) return;
  // A peek cannot tell what TLS keeps for itself from data, so that is always watched.
  const bool probes = core_->config().validation == validation_policy::probe;
  if (probes && !clean.has_codec()) return;
  clean.post_receive();
}

void endpoint_pool::watch_idle(connection& clean) noexcept {
  watch(clean);
  // What was only checked is as cold as before: the stack stays in the order of use.
  auto above = std::next(idle_.begin());
  if (above != idle_.end() && above->last_used_ > clean.last_used_) {
    idle_.remove(clean);
    while (above != idle_.end() && above->last_used_ > clean.last_used_) ++above;
    idle_.insert(above, clean);
  }
}

// From within a harvest: the posted receive or a probe of a connection has completed and nobody
// reads.
void endpoint_pool::something_arrived(connection& source) noexcept {
  if (source.state_ == state::serviced) {
    if (std::exchange(source.probing_, false)) probed(source);
    return;  // otherwise the protocol reads it
  }
  if (source.state_ != state::idle && source.state_ != state::reserved) return;  // its reader's
  if (source.has_codec()) [[unlikely]] {
    coded_arrived(source);
    return;
  }
  close_reason why = close_reason::unexpected_data;
  if ((source.conditions() & stream::ended) != 0) {
    why = close_reason::peer_closed;
  } else if ((source.conditions() & stream::failed) != 0) {
    why = reason_of(source);
  } else {
    const bool has_data = (source.conditions() & stream::has_data) != 0;
    // No buffer was free: the kernel could only say that something is there.
    const int waiting = has_data ? 1 : home_->ring().peek(source.fd());
    if (waiting == -EAGAIN) {
      source.post_receive();
      return;
    }
    if (waiting == 0) why = close_reason::peer_closed;
    if (waiting < 0) why = close_reason::peer_reset;
    const bool asks_protocol = hooks_ != nullptr && hooks_->on_idle_data != nullptr;
    // Bytes on a connection that was never lent are a server's greeting: the first lease reads it.
    if (waiting > 0 && source.uses_ == 0 && !asks_protocol) return;
    if (waiting > 0 && asks_protocol) {
      return_to_queue(source);
      begin_service(source, service::idle_data);
      return;
    }
  }
  end_unused(source, why);
}

void endpoint_pool::end_unused(connection& source, close_reason why) noexcept {
  return_to_queue(source);
  note_if_unserved(source, why);
  close_connection(source, why);
}

}  // namespace conpool

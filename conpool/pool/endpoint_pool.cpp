#include <conpool/pool/endpoint_pool.h>

#include <algorithm>

#include <conpool/pool/acquire.h>
#include <conpool/pool/pool_core.h>

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

connection::connection(endpoint_pool& owner, shard& home, int fd, std::uint64_t id)
    : stream(home, fd, &owner.peer().text(), &owner.core().timeouts(), &connection::arrived_unread,
             &connection::fully_closed),
      owner_(&owner),
      id_(id) {}

const endpoint& connection::peer() const noexcept {
  return owner_->peer();
}

void connection::arrived_unread(stream& source) noexcept {
  auto& self = static_cast<connection&>(source);
  self.owner_->something_arrived(self);
}

void connection::fully_closed(stream& source) noexcept {
  auto& self = static_cast<connection&>(source);
  self.owner_->connection_closed(self);
}

endpoint_pool::endpoint_pool(pool_core& core, const endpoint& to)
    : timer_node(&endpoint_pool::expiry_fired),
      home_(&core.home()),
      idle_limit_(core.config().idle_limit()),
      dirty_(core.config().reuse_unanswered ? ~std::uint32_t{stream::unanswered} : ~0U),
      watch_(core.config().validation == validation_policy::watch),
      core_(&core),
      endpoint_(to),
      fixed_address_(address_without_resolving(to)) {}

endpoint_pool::~endpoint_pool() {
  CONPOOL_ASSERT(total() == 0, "an endpoint's pool was destroyed before its connections");
}

endpoint_stats endpoint_pool::stats() const {
  endpoint_stats made;
  static_cast<pool_counts&>(made) = counts_;
  made.endpoint = endpoint_.text();
  if (last_error_) made.last_error = last_error_->message();
  return made;
}

duration endpoint_pool::acquire_timeout() const noexcept {
  return core_->config().acquire_timeout;
}

// --- lending

connection* endpoint_pool::take_idle_slowly() noexcept {
  if (watch_) home_->ring().harvest();  // closes what has ended, each through something_arrived()
  while (!idle_.empty()) {
    connection& candidate = idle_.front();
    // Unwatched: a new connection whose server spoke first. The socket itself has to be asked.
    if (watch_ && !candidate.receive_posted() && home_->ring().peek(candidate.fd()) == 0) {
      close_connection(candidate, close_reason::peer_closed);
      continue;
    }
    lend_idle(candidate);
    return &candidate;
  }
  return nullptr;
}

std::optional<error> endpoint_pool::refusal() noexcept {
  if (shut_down_) return error(core_->closed_because(), phase::acquire).about(endpoint_.text());
  const std::uint32_t limit = core_->config().waiter_limit();
  if (counts_.waiting < limit) return std::nullopt;
  ++counts_.queue_full;
  return error(errc::queue_full, phase::acquire)
      .about(endpoint_.text())
      .with_detail(std::to_string(limit) + " callers wait for " +
                   std::to_string(core_->config().max_connections_per_endpoint) +
                   " connections; raise max_connections_per_endpoint or "
                   "max_waiters_per_endpoint, or send less");
}

void endpoint_pool::join_queue(acquire_waiter& waiter) noexcept {
  waiters_.push_back(waiter);
  ++counts_.waiting;
  pump();
}

void endpoint_pool::leave_queue(acquire_waiter& waiter) noexcept {
  waiters_.remove(waiter);
  --counts_.waiting;
}

error endpoint_pool::ended_early(errc why) noexcept {
  if (why != errc::acquire_timeout) {
    ++counts_.acquires_cancelled;
    return error(why, phase::acquire).about(endpoint_.text());
  }
  ++counts_.acquire_timeouts;
  std::string detail = std::to_string(counts_.active) + " leased, " + std::to_string(counts_.idle) +
                       " idle, " + std::to_string(counts_.connecting) + " connecting, " +
                       std::to_string(counts_.waiting) + " waiting, at most " +
                       std::to_string(core_->config().max_connections_per_endpoint);
  if (last_error_) detail += "; last failed connect: " + last_error_->message();
  return error(why, phase::acquire).about(endpoint_.text()).with_detail(detail);
}

// Precondition: clean, counted in no state but `active`, a waiter is there.
void endpoint_pool::reserve(connection& clean) noexcept {
  acquire_waiter& first = waiters_.pop_front();
  --counts_.waiting;
  clean.state_ = connection::state::reserved;
  clean.reserved_for_ = &first;
  watch(clean);
  first.hand(clean);
}

void endpoint_pool::lend_reserved(connection& reserved) noexcept {
  CONPOOL_ASSERT(reserved.state_ == connection::state::reserved, "only what is reserved is taken");
  reserved.reserved_for_ = nullptr;
  reserved.state_ = connection::state::leased;
  if (reserved.uses_++ > 0) {
    ++counts_.hits;
    ++counts_.reused;
  } else {
    ++counts_.misses;
  }
}

// --- taking back

close_reason endpoint_pool::reason_of(const connection& dirty) const noexcept {
  const std::uint32_t what = dirty.conditions();
  if ((what & stream::discarded) != 0) return close_reason::discarded;
  if ((what & (stream::reading | stream::writing)) != 0) return close_reason::busy;
  if ((what & stream::broken_off) != 0) return close_reason::interrupted;
  if ((what & stream::failed) != 0) {
    return dirty.failure() == ECONNRESET || dirty.failure() == EPIPE ? close_reason::peer_reset
                                                                     : close_reason::io_error;
  }
  if ((what & (stream::has_data | stream::more_data)) != 0) return close_reason::unread_data;
  if ((what & stream::ended) != 0) return close_reason::peer_closed;
  return close_reason::unanswered;
}

void endpoint_pool::give_back_slowly(connection& returned) noexcept {
  if (returned.closed()) {
    // Its shard stopped while it was leased, and may be gone: only memory is left.
    --counts_.active;
    ++counts_.closed_by[static_cast<std::size_t>(close_reason::pool_closed)];
    forget(returned);
    return;
  }
  home_->assert_owner();
  if ((returned.conditions() & stream::closing) != 0) {
    // The shard is stopping and the kernel is not done with it: on_closed will come.
    --counts_.active;
    ++counts_.closing;
    returned.state_ = connection::state::closing;
  } else if ((returned.conditions() & dirty_) != 0) {
    close_connection(returned, reason_of(returned));
  } else {
    place(returned);
  }
}

void endpoint_pool::take_back(connection& reserved) noexcept {
  reserved.reserved_for_ = nullptr;
  place(reserved);
}

// A clean connection, counted as active, goes to the first waiter, or becomes idle, or is closed.
void endpoint_pool::place(connection& clean) noexcept {
  clean.last_used_ = home_->now();
  if (shut_down_) {
    close_connection(clean, close_reason::pool_closed);
  } else if (clean.generation_ != generation_) {
    close_connection(clean, close_reason::cleared);
  } else if (home_->now() >= clean.retire_at_) {
    close_connection(clean, close_reason::lifetime);
  } else if (!waiters_.empty()) {
    reserve(clean);
  } else if (counts_.idle >= idle_limit_) {
    close_connection(clean, close_reason::over_idle_limit);
  } else {
    --counts_.active;
    make_idle(clean);
  }
}

// --- the idle watch

void endpoint_pool::watch(connection& clean) noexcept {
  // With a server's greeting unread there is nothing to post: its reader looks at the socket.
  if (clean.receive_posted() || (clean.conditions() & stream::has_data) != 0) return;
  clean.post_receive();
}

void endpoint_pool::watch_idle(connection& clean) noexcept {
  watch(clean);
  if (!timer_node::armed()) arm_expiry();
}

// From within a harvest: the posted receive of a connection has completed and nobody reads.
void endpoint_pool::something_arrived(connection& source) noexcept {
  using state = connection::state;
  if (source.state_ != state::idle && source.state_ != state::reserved) return;  // its reader's
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
    // Bytes on a connection that was never lent are a server's greeting: the first lease reads it.
    if (waiting > 0 && source.uses_ == 0) return;
  }
  if (acquire_waiter* const waiter = std::exchange(source.reserved_for_, nullptr)) {
    waiter->connection_ = nullptr;
    waiters_.push_front(*waiter);  // it was first before
    ++counts_.waiting;
  }
  close_connection(source, why);
}

// --- closing

void endpoint_pool::close_connection(connection& unwanted, close_reason why) noexcept {
  switch (unwanted.state_) {
    case connection::state::idle:
      idle_.remove(unwanted);
      --counts_.idle;
      break;
    case connection::state::reserved:
    case connection::state::leased:
      --counts_.active;
      break;
    case connection::state::connecting:
      break;
    case connection::state::closing:
      return;
  }
  unwanted.state_ = connection::state::closing;
  unwanted.reason_ = why;
  ++counts_.closing;
  unwanted.begin_close();
}

void endpoint_pool::connection_closed(connection& gone) noexcept {
  // What is connecting belongs to its dial, what is leased to its lease.
  if (gone.state_ != connection::state::closing) return;
  --counts_.closing;
  ++counts_.closed_by[static_cast<std::size_t>(gone.reason_)];
  pump();
  core_->look_if_quiet();
  forget(gone);
}

void endpoint_pool::forget(connection& gone) noexcept {
  members_.remove(gone);
  delete &gone;
  core_->drop_reference();  // the connection's; perhaps the last
}

void endpoint_pool::close_all_idle(close_reason why) noexcept {
  while (!idle_.empty()) close_connection(idle_.back(), why);
}

void endpoint_pool::clear() noexcept {
  const core_pointer keep(*core_);
  ++generation_;
  close_all_idle(close_reason::cleared);
  // Leased ones are recognised when they come back, connecting ones when they stand.
  for (connection& one : members_) one.retire_at_ = time_point::min();
}

void endpoint_pool::shut_down(errc why) noexcept {
  const core_pointer keep(*core_);
  shut_down_ = true;
  idle_limit_ = 0;
  home_->timers().cancel(*this);
  while (!waiters_.empty()) {
    --counts_.waiting;
    waiters_.pop_front().fail_with(error(why, phase::acquire).about(endpoint_.text()));
  }
  for (auto it = members_.begin(); it != members_.end();) {
    connection& one = *it++;
    if (one.state_ != connection::state::reserved) continue;
    acquire_waiter& waiter = *std::exchange(one.reserved_for_, nullptr);
    waiter.connection_ = nullptr;
    waiter.fail_with(error(why, phase::acquire).about(endpoint_.text()));
    close_connection(one, close_reason::pool_closed);
  }
  close_all_idle(close_reason::pool_closed);
}

// --- expiry: one timer an endpoint, armed while something is idle

void endpoint_pool::arm_expiry() noexcept {
  if (idle_.empty()) return;
  time_point due = next_retirement_;
  const duration max_idle = core_->config().max_idle_time;
  if (max_idle > duration::zero()) due = std::min(due, idle_.back().last_used_ + max_idle);
  if (due != time_point::max()) home_->timers().arm(*this, due);
}

void endpoint_pool::expire() noexcept {
  const core_pointer keep(*core_);
  const time_point now = home_->now();
  const duration max_idle = core_->config().max_idle_time;
  while (max_idle > duration::zero() && !idle_.empty() &&
         idle_.back().last_used_ + max_idle <= now) {
    close_connection(idle_.back(), close_reason::idle_timeout);
  }
  if (now >= next_retirement_) {
    next_retirement_ = time_point::max();
    for (auto it = members_.begin(); it != members_.end();) {
      connection& one = *it++;
      if (one.retire_at_ > now) {
        next_retirement_ = std::min(next_retirement_, one.retire_at_);
      } else if (one.state_ == connection::state::idle) {
        close_connection(one, close_reason::lifetime);
      }
    }
  }
  arm_expiry();
}

void endpoint_pool::expiry_fired(timer_node& node) noexcept {
  static_cast<endpoint_pool&>(node).expire();
}

}  // namespace conpool

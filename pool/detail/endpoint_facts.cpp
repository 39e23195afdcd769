#include <conpool/pool/detail/endpoint_facts.h>

#include <chrono>
#include <utility>

#include <conpool/pool/detail/waiter.h>

namespace conpool {

endpoint_facts::endpoint_facts(pool_facts& of, endpoint_pool& whole, const endpoint& to)
    : home(&of.home()),
      pool(&of),
      whole(&whole),
      peer(to),
      touched(of.home().now()),
      shut_down(of.closed()) {
  config_changed();
}

void endpoint_facts::config_changed() noexcept {
  using std::chrono::duration_cast;
  using std::chrono::seconds;
  config_ = &pool->config_of(peer);
  timeouts = {config_->read_timeout, config_->write_timeout};
  sockets.nodelay = config_->tcp_nodelay;
  sockets.keepalive = config_->tcp_keepalive;
  sockets.keepalive_idle = duration_cast<seconds>(config_->keepalive_idle);
  sockets.keepalive_interval = duration_cast<seconds>(config_->keepalive_interval);
  sockets.keepalive_probes = config_->keepalive_probes;
  sockets.user_timeout = config_->tcp_user_timeout;
  sockets.timeouts = timeouts;
}

bool endpoint_facts::can_serve(const pooled_connection* but) const noexcept {
  if (open() == 0) return false;
  for (const pooled_connection& one : members) {
    if (&one == but || one.stage == connection_stage::closing || one.retiring) continue;
    if (one.times_lent > 0 || one.was_spare) return true;
  }
  return false;
}

std::uint64_t endpoint_facts::lost() const noexcept {
  constexpr close_reason unexpected[] = {close_reason::peer_closed, close_reason::peer_reset,
                                         close_reason::io_error,    close_reason::interrupted,
                                         close_reason::discarded,   close_reason::ping_failed};
  std::uint64_t sum = counts.closing;
  for (const close_reason why : unexpected) sum += counts.closed(why);
  return sum;
}

std::uint32_t endpoint_facts::callers() const noexcept {
  std::uint32_t sum = counts.waiting;
  for (const pooled_connection& one : members) {
    if (one.reserved_for != nullptr) ++sum;
    if (!one.managed) continue;
    for ([[maybe_unused]] const waiter& chosen : as_managed(one).chosen) ++sum;
  }
  return sum;
}

std::uint32_t endpoint_facts::leased() const noexcept {
  std::uint32_t sum = 0;
  for (const pooled_connection& one : members) {
    sum += one.stage == connection_stage::leased ? 1 : 0;
  }
  return sum;
}

void endpoint_facts::hold(pooled_connection& one) noexcept {
  if (one.stage != connection_stage::held_by_pool) ++held;
  one.stage = connection_stage::held_by_pool;
}

void endpoint_facts::end_hold(pooled_connection& one) noexcept {
  if (one.stage != connection_stage::held_by_pool) return;
  --held;
  one.stage = connection_stage::leased;  // nobody's, until its caller says whose
}

void endpoint_facts::tell(event_queue::record event) const noexcept {
  if (!pool->observed()) return;
  event.peer.emplace(peer);
  pool->tell(std::move(event));
}

void endpoint_facts::tell(pool_event_kind kind, const pooled_connection* about) const noexcept {
  if (!pool->observed()) return;
  event_queue::record event;
  event.kind = kind;
  if (about != nullptr) event.connection = about->serial;
  tell(std::move(event));
}

pooled_connection* endpoint_facts::make_connection(int fd) {
  if (hooks() == nullptr) return new pooled_connection(*this, fd);
  return hooks()->create(*this, fd);
}

void endpoint_facts::free_connection(pooled_connection& gone) const noexcept {
  if (hooks() == nullptr) {
    delete &gone;
  } else {
    hooks()->destroy(gone);
  }
}

}  // namespace conpool

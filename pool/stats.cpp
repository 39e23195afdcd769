#include <conpool/pool/stats.h>

namespace conpool {

const char* to_string(close_reason why) noexcept {
  switch (why) {
    case close_reason::connect_failed:
      return "connect failed";
    case close_reason::peer_closed:
      return "closed by peer";
    case close_reason::peer_reset:
      return "reset by peer";
    case close_reason::unexpected_data:
      return "unexpected data";
    case close_reason::unread_data:
      return "unread data";
    case close_reason::unanswered:
      return "unanswered write";
    case close_reason::busy:
      return "returned busy";
    case close_reason::interrupted:
      return "interrupted";
    case close_reason::io_error:
      return "I/O error";
    case close_reason::discarded:
      return "discarded";
    case close_reason::idle_timeout:
      return "idle timeout";
    case close_reason::lifetime:
      return "lifetime";
    case close_reason::uses:
      return "used up";
    case close_reason::over_idle_limit:
      return "over idle limit";
    case close_reason::over_limit:
      return "over limit";
    case close_reason::trimmed:
      return "trimmed";
    case close_reason::evicted:
      return "evicted";
    case close_reason::ping_failed:
      return "ping failed";
    case close_reason::vetoed:
      return "vetoed by protocol";
    case close_reason::cleaning_failed:
      return "cleaning failed";
    case close_reason::retired:
      return "retired by protocol";
    case close_reason::detached:
      return "detached";
    case close_reason::cleared:
      return "cleared";
    case close_reason::forced:
      return "forced by drain";
    case close_reason::pool_closed:
      return "pool closed";
  }
  return "unknown";
}

static_assert(static_cast<std::size_t>(close_reason::pool_closed) + 1 == close_reasons);

pool_counts& pool_counts::operator+=(const pool_counts& other) noexcept {
  active += other.active;
  idle += other.idle;
  connecting += other.connecting;
  closing += other.closing;
  waiting += other.waiting;
  leases += other.leases;
  retiring += other.retiring;
  hits += other.hits;
  misses += other.misses;
  reused += other.reused;
  created += other.created;
  for (std::size_t i = 0; i < close_reasons; ++i) closed_by[i] += other.closed_by[i];
  acquire_timeouts += other.acquire_timeouts;
  acquires_cancelled += other.acquires_cancelled;
  queue_full += other.queue_full;
  failed_fast += other.failed_fast;
  resolve_failures += other.resolve_failures;
  connect_failures += other.connect_failures;
  connect_timeouts += other.connect_timeouts;
  handshakes += other.handshakes;
  handshakes_failed += other.handshakes_failed;
  resumed += other.resumed;
  resumptions_failed += other.resumptions_failed;
  insecure += other.insecure;
  breaker_opened += other.breaker_opened;
  connects_spared += other.connects_spared;
  probes += other.probes;
  pings += other.pings;
  pushes += other.pushes;
  leaks += other.leaks;
  return *this;
}

}  // namespace conpool

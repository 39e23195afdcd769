#include <conpool/pool/detail/return_verdict.h>

#include <cerrno>

namespace conpool::return_verdict {

bool read_by_run(const pooled_connection& one) noexcept {
  return one.managed && as_managed(one).running &&
         (as_managed(one).shared || as_managed(one).read_by_run);
}

bool read_by_protocol(const pooled_connection& one) noexcept {
  return read_by_run(one) || is_shared(one);
}

std::uint32_t faults_of(const pooled_connection& one, std::uint32_t dirty) noexcept {
  if (read_by_protocol(one)) return one.conditions() & broken;
  return one.conditions() & dirty & ~pooled_connection::supervised;
}

close_reason reason_of(const pooled_connection& dirty) noexcept {
  std::uint32_t what = dirty.conditions();
  if (read_by_protocol(dirty)) what &= broken;
  if ((what & connection::discarded) != 0) return close_reason::discarded;
  if ((what & (stream::reading | stream::writing)) != 0) return close_reason::busy;
  if ((what & (stream::interrupted | stream::torn)) != 0) return close_reason::interrupted;
  if ((what & stream::failed) != 0) {
    return dirty.failure() == ECONNRESET || dirty.failure() == EPIPE ? close_reason::peer_reset
                                                                     : close_reason::io_error;
  }
  if ((what & (stream::has_data | stream::more_data | stream::read_ahead)) != 0) {
    return close_reason::unread_data;
  }
  if ((what & stream::ended) != 0) return close_reason::peer_closed;
  if ((what & stream::owes_answers) != 0) return close_reason::unanswered;
  if ((what & stream::codec_spent) != 0) return close_reason::uses;
  return close_reason::unanswered;
}

std::optional<close_reason> unwanted(const pooled_connection& clean, const endpoint_facts& at,
                                     std::uint32_t generation) noexcept {
  const pool_config& config = at.config();
  if (at.shut_down) return close_reason::pool_closed;
  if (clean.retiring) return clean.reason;
  if (clean.generation != generation) return close_reason::cleared;
  if (at.now() >= clean.retire_at) return close_reason::lifetime;
  if (config.max_connection_uses != 0 && clean.times_lent >= config.max_connection_uses) {
    return close_reason::uses;
  }
  if (at.standing() > config.max_connections_per_endpoint || at.pool->cap().over_limit()) {
    return close_reason::over_limit;
  }
  return std::nullopt;
}

bool is_push(const pooled_connection& returned) noexcept {
  constexpr std::uint32_t unread = stream::has_data | stream::more_data;
  const std::uint32_t what = returned.conditions() & ~pooled_connection::supervised;
  return (what & unread) != 0 && (what & ~unread) == 0 && returned.bytes_received() == 0 &&
         returned.bytes_sent() == 0;
}

std::optional<close_reason> settle_codec(pooled_connection& returned) noexcept {
  constexpr std::uint32_t left = stream::has_data | stream::more_data;
  constexpr std::uint32_t of_no_use = broken | stream::reading | stream::writing;
  const std::uint32_t what = returned.conditions();
  if ((what & left) == 0 || (what & of_no_use) != 0) return std::nullopt;
  // A receive is posted only while nothing has come.
  const idle_input verdict = returned.take_idle_input(false);
  if (verdict == idle_input::end) return std::nullopt;
  const bool at_rest = returned.current_codec()->at_rest();
  if (verdict == idle_input::nothing && at_rest) return std::nullopt;
  if (verdict != idle_input::refused || is_unsolicited(returned)) {
    return close_reason::unread_data;
  }
  return reason_of(returned);
}

bool is_unsolicited(const connection& refused) noexcept {
  const error* const why = refused.current_codec()->failure();
  return why != nullptr && *why == errc::unsolicited_data;
}

}  // namespace conpool::return_verdict

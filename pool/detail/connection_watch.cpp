#include <conpool/pool/detail/connection_watch.h>

#include <algorithm>
#include <cerrno>

#include <conpool/pool/detail/return_verdict.h>
#include <conpool/pool/detail/waiter.h>

namespace conpool {
namespace {

using kind = watch_finding::kind;

constexpr std::uint32_t unread = stream::has_data | stream::more_data;

// Bytes that come are its run()'s, or the answer to one of those who have leased it already.
bool somebody_reads(const pooled_connection& one, bool takes_idle_data) noexcept {
  if ((one.conditions() & stream::reading) != 0 || return_verdict::read_by_run(one)) return true;
  if (!is_shared(one)) return false;
  std::uint32_t leases = as_managed(one).lease_count;
  // Its protocol can be asked about them once nobody has it any more.
  if (takes_idle_data) return leases > 0;
  for ([[maybe_unused]] const waiter& chosen : as_managed(one).chosen) --leases;
  return leases > 0;
}

watch_finding ended(int peeked) noexcept {
  return {kind::gone, peeked == 0 ? close_reason::peer_closed : close_reason::peer_reset};
}

}  // namespace

bool connection_watch::protocol_takes_idle_data() const noexcept {
  return facts_->hooks() != nullptr && facts_->hooks()->on_idle_data != nullptr;
}

// Nobody has asked anything on a connection that was never lent; so what comes is a greeting if
// such a server was chosen, and dirt otherwise: a page that says why it closes, perhaps.
bool connection_watch::is_greeting(const pooled_connection& source) const noexcept {
  return source.times_lent == 0 && facts_->server_speaks_first();
}

void connection_watch::begin(pooled_connection& unused) const noexcept {
  if (unused.receive_posted() || (unused.conditions() & stream::reading) != 0) return;
  if ((unused.conditions() & stream::has_data) != 0) {
    if (is_greeting(unused)) unused.watch_end();
    return;
  }
  // A protocol's run() may read for itself; whether it does is known when it is lent.
  if (unused.managed && as_managed(unused).running && unused.times_lent == 0) return;
  if (return_verdict::read_by_run(unused)) return;
  unused.free_read_ahead();
  // A peek cannot tell what a codec keeps for itself from data, so such a connection is watched
  // under every policy.
  const bool probes = facts_->config().validation == validation_policy::probe;
  if (probes && !unused.has_codec()) return;
  unused.post_receive();
}

watch_finding connection_watch::look(pooled_connection& candidate) const noexcept {
  const watch_finding found = look_if_needed(candidate);
  // Who gets it reads what was unread, and finds the end by itself.
  if (found.what == kind::alive) candidate.stop_end_watch();
  return found;
}

watch_finding connection_watch::look_if_needed(pooled_connection& candidate) const noexcept {
  if (return_verdict::is_broken(candidate)) {
    // Its run() read the end, and has not been resumed since.
    return {kind::gone, return_verdict::reason_of(candidate)};
  }
  if (facts_->config().validation == validation_policy::none) return {};
  if (candidate.receive_in_kernel(facts_->home->ring())) return {};
  if (was_answered_just_now(candidate)) return {};
  return look_at_socket(candidate);
}

// Counted from the question: when the kernel gave the answer is not known.
bool connection_watch::was_answered_just_now(const pooled_connection& candidate) const noexcept {
  if (candidate.checked_at == time_point{}) return false;
  return facts_->home->read_clock() - candidate.checked_at <= answer_holds;
}

watch_finding connection_watch::look_at_socket(pooled_connection& source) const noexcept {
  const int waiting = facts_->home->ring().peek(source.fd());
  if (waiting == 0 || (waiting < 0 && waiting != -EAGAIN)) return ended(waiting);
  if (waiting == -EAGAIN || somebody_reads(source, protocol_takes_idle_data())) return {};
  return source.has_codec() ? look_through_codec(source) : judge_bytes(source);
}

// Bytes in the socket are not yet bytes for anybody: session tickets and key updates belong to the
// codec, so it is asked what has come.
watch_finding connection_watch::look_through_codec(pooled_connection& source) const noexcept {
  if (protocol_takes_idle_data()) return {kind::for_protocol, close_reason::unexpected_data};
  if (is_greeting(source)) return {};
  source.mark(stream::more_data);
  const idle_input verdict = source.take_idle_input(false);
  if (verdict == idle_input::nothing) return {};
  if (verdict == idle_input::end) return {kind::gone, close_reason::peer_closed};
  if (verdict == idle_input::data || return_verdict::is_unsolicited(source)) {
    return {kind::gone, close_reason::unexpected_data};
  }
  return {kind::gone, return_verdict::reason_of(source)};
}

watch_finding connection_watch::judge_bytes(const pooled_connection& source) const noexcept {
  if (protocol_takes_idle_data()) return {kind::for_protocol, close_reason::unexpected_data};
  if (is_greeting(source)) return {};
  return {kind::gone, close_reason::unexpected_data};
}

watch_finding connection_watch::arrived(pooled_connection& source) const noexcept {
  if ((source.conditions() & stream::ended) != 0 && !source.has_codec()) {
    return {kind::gone, close_reason::peer_closed};
  }
  if (source.has_codec()) [[unlikely]]
    return arrived_for_codec(source);
  if ((source.conditions() & stream::failed) != 0) {
    return {kind::gone, return_verdict::reason_of(source)};
  }
  const bool has_data = (source.conditions() & stream::has_data) != 0;
  // No buffer was free: the kernel could only say that something is there.
  const int waiting = has_data ? 1 : facts_->home->ring().peek(source.fd());
  if (waiting == -EAGAIN) {
    begin(source);
    return {};
  }
  if (waiting <= 0) return ended(waiting);
  const watch_finding found = judge_bytes(source);
  if (found.what == kind::alive && has_data) begin(source);
  return found;
}

watch_finding connection_watch::arrived_for_codec(pooled_connection& source) const noexcept {
  const bool was_watched_for_end = (source.conditions() & (stream::ended | stream::has_data)) ==
                                   (stream::ended | stream::has_data);
  if (was_watched_for_end) return {kind::gone, close_reason::peer_closed};
  const bool welcome = protocol_takes_idle_data() || is_greeting(source);
  switch (source.take_idle_input(welcome)) {
    case idle_input::nothing:
      begin(source);
      return {};
    case idle_input::data:
      if (protocol_takes_idle_data()) break;
      begin(source);
      return {};
    case idle_input::end:
      return {kind::gone, close_reason::peer_closed};
    case idle_input::refused:
      return {kind::gone, return_verdict::is_unsolicited(source)
                              ? close_reason::unexpected_data
                              : return_verdict::reason_of(source)};
  }
  return {kind::for_protocol, close_reason::unexpected_data};
}

watch_finding connection_watch::answered(pooled_connection& probed) const noexcept {
  const std::uint32_t what = probed.conditions();
  if ((what & stream::ended) != 0) return {kind::gone, close_reason::peer_closed};
  if ((what & stream::failed) != 0) return {kind::gone, return_verdict::reason_of(probed)};
  if ((what & unread) == 0) return {};
  probed.checked_at = time_point{};  // what is behind these bytes was not seen
  const watch_finding found = judge_bytes(probed);
  if (found.what == kind::alive) probed.clear(stream::more_data);  // its first lease reads it
  return found;
}

}  // namespace conpool

#include <conpool/pool/detail/idle_stack.h>

#include <cerrno>
#include <iterator>

#include <conpool/pool/detail/return_verdict.h>

namespace conpool {

using kind = idle_finding::kind;

bool idle_stack::protocol_takes_idle_data() const noexcept {
  return facts_->hooks() != nullptr && facts_->hooks()->on_idle_data != nullptr;
}

void idle_stack::watch(pooled_connection& unused) const noexcept {
  // With a server's greeting unread there is nothing to post: its reader looks at the socket. A
  // protocol's run() may read for itself; whether it does is known when it is lent.
  constexpr std::uint32_t taken = stream::has_data | stream::reading;
  if (unused.receive_posted() || (unused.conditions() & taken) != 0) return;
  if (unused.managed && as_managed(unused).running && unused.times_lent == 0) return;
  if (return_verdict::read_by_run(unused)) return;
  // A peek cannot tell what a codec keeps for itself from data, so such a connection is watched
  // under every policy.
  const bool probes = facts_->config().validation == validation_policy::probe;
  if (probes && !unused.has_codec()) return;
  unused.post_receive();
}

void idle_stack::watch_pushed(pooled_connection& pushed) noexcept {
  watch(pushed);
  // A connection that was only checked is as cold as before.
  auto below = std::next(list_.begin());
  if (below == list_.end() || below->last_used <= pushed.last_used) return;
  list_.remove(pushed);
  while (below != list_.end() && below->last_used > pushed.last_used) ++below;
  list_.insert(below, pushed);
}

idle_finding idle_stack::look_at(pooled_connection& candidate, bool watched) noexcept {
  if (return_verdict::is_broken(candidate)) {
    // Its run() read the end, and has not been resumed since.
    return {kind::gone, return_verdict::reason_of(candidate)};
  }
  const bool reads = (candidate.conditions() & stream::reading) != 0;
  if (!watched || reads || candidate.receive_posted() || return_verdict::read_by_run(candidate)) {
    return {};
  }
  return look_at_socket(candidate);
}

// For what is not watched: a new connection whose server spoke first, or one from before a change
// of the policy.
idle_finding idle_stack::look_at_socket(pooled_connection& source) noexcept {
  const int waiting = facts_->home->ring().peek(source.fd());
  if (waiting == -EAGAIN || (waiting > 0 && source.times_lent == 0)) return {};
  if (waiting > 0) {
    return {protocol_takes_idle_data() ? kind::for_protocol : kind::gone,
            close_reason::unexpected_data};
  }
  return {kind::gone, waiting == 0 ? close_reason::peer_closed : close_reason::peer_reset};
}

idle_finding idle_stack::look_at_arrival(pooled_connection& source) noexcept {
  if (source.has_codec()) [[unlikely]]
    return look_at_codec(source);
  if ((source.conditions() & stream::ended) != 0) return {kind::gone, close_reason::peer_closed};
  if ((source.conditions() & stream::failed) != 0) {
    return {kind::gone, return_verdict::reason_of(source)};
  }
  const bool has_data = (source.conditions() & stream::has_data) != 0;
  // No buffer was free: the kernel could only say that something is there.
  const int waiting = has_data ? 1 : facts_->home->ring().peek(source.fd());
  if (waiting == -EAGAIN) {
    source.post_receive();
    return {};
  }
  if (waiting == 0) return {kind::gone, close_reason::peer_closed};
  if (waiting < 0) return {kind::gone, close_reason::peer_reset};
  if (protocol_takes_idle_data()) return {kind::for_protocol, close_reason::unexpected_data};
  // Bytes on a connection that was never lent are a server's greeting: the first lease reads it.
  if (source.times_lent == 0) return {};
  return {kind::gone, close_reason::unexpected_data};
}

// Bytes in the socket are not yet bytes for anybody: session tickets and key updates belong to the
// codec, so it is asked what has come.
idle_finding idle_stack::look_at_codec(pooled_connection& source) noexcept {
  const bool is_new = source.times_lent == 0;  // plain bytes are a greeting
  switch (source.take_idle_input(protocol_takes_idle_data() || is_new)) {
    case idle_input::nothing:
      source.post_receive();
      return {};
    case idle_input::data:
      return {protocol_takes_idle_data() ? kind::for_protocol : kind::alive,
              close_reason::unexpected_data};
    case idle_input::end:
      break;
    case idle_input::refused:
      return {kind::gone, return_verdict::is_unsolicited(source)
                              ? close_reason::unexpected_data
                              : return_verdict::reason_of(source)};
  }
  return {kind::gone, close_reason::peer_closed};
}

}  // namespace conpool

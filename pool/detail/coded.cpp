// Connections with a codec (TLS): what arrives while nobody uses them, and what a lease left.
//
// Bytes in the socket are not yet bytes for anybody: session tickets and key updates belong to the
// codec. So such a connection is always watched, under every validation policy, and the codec is
// asked what has come.
#include <conpool/pool/detail/endpoint_pool.h>
#include <conpool/pool/detail/pool_core.h>

namespace conpool {

// From within a harvest, on an idle or reserved connection.
void endpoint_pool::coded_arrived(connection& source) noexcept {
  const bool asks_protocol = hooks_ != nullptr && hooks_->on_idle_data != nullptr;
  // Bytes on a connection that was never lent are a server's greeting: the first lease reads it.
  const bool is_new = source.uses_ == 0;
  close_reason why = close_reason::peer_closed;
  switch (source.take_idle_input(asks_protocol || is_new)) {
    case idle_input::nothing:
      source.post_receive();
      return;
    case idle_input::data:
      if (asks_protocol) {
        return_to_queue(source);
        begin_service(source, service::idle_data);
      }
      return;
    case idle_input::end:
      break;
    case idle_input::refused:
      why = is_unsolicited(source) ? close_reason::unexpected_data : reason_of(source);
      break;
  }
  end_unused(source, why);
}

// On return, before anything else is looked at: what was left may be for the codec alone. Why the
// connection cannot stay, if so.
std::optional<close_reason> endpoint_pool::settle(connection& returned) noexcept {
  constexpr std::uint32_t left = stream::has_data | stream::more_data;
  constexpr std::uint32_t of_no_use = broken | stream::reading | stream::writing;
  const std::uint32_t what = returned.conditions();
  if ((what & left) == 0 || (what & of_no_use) != 0) return std::nullopt;
  // A receive is posted only while nothing has come.
  const idle_input verdict = returned.take_idle_input(false);
  if (verdict == idle_input::end) return std::nullopt;
  const bool at_rest = returned.current_codec()->at_rest();
  if (verdict == idle_input::nothing && at_rest) return std::nullopt;
  if (verdict != idle_input::refused || is_unsolicited(returned)) return close_reason::unread_data;
  return reason_of(returned);
}

bool endpoint_pool::is_unsolicited(const connection& refused) noexcept {
  const error* const why = refused.current_codec()->failure();
  return why != nullptr && *why == errc::unsolicited_data;
}

}  // namespace conpool

// What the pool knows of a connection before it lends it, and when that is enough.
//
// One rule for a hit, a hand-over, a lend of a shared connection and a check alike. A connection is
// lent
//   - on a receive that the kernel has, the pool's posted one or a reader's: whatever has come by
//     now has completed it, and two words of memory say whether a completion is pending;
//   - or on the answer of a check that was begun at most `answer_holds` ago;
//   - or on a look at the socket itself, recv(2) with MSG_PEEK: one system call.
// A receive that is only prepared tells nothing. It leaves with the enter that ends the turn, so a
// connection that is lent again in the turn in which it came back is looked at.
//
// Under validation_policy::none nothing is asked. Used on its shard only; closes nothing.
#pragma once

#include <chrono>
#include <cstdint>

#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/clock.h>

namespace conpool {

// What a look at a connection, or at what arrived on it, has found.
struct watch_finding {
  enum class kind : std::uint8_t {
    alive,         // it may be lent
    for_protocol,  // bytes came that its protocol wants to see
    gone,          // it is to be closed, for `why`
  };
  kind what = kind::alive;
  close_reason why = close_reason::peer_closed;
};

class connection_watch {
 public:
  // How long ago a check may have been begun for a connection to be lent on its answer.
  static constexpr duration answer_holds = std::chrono::microseconds(50);

  explicit connection_watch(endpoint_facts& facts) noexcept : facts_(&facts) {}

  // Posts a receive on a connection that nobody reads, or, with a server's greeting unread, waits
  // for the end behind it.
  void begin(pooled_connection& unused) const noexcept;

  // The last look before a lend. Precondition: what completions had to tell was harvested.
  watch_finding look(pooled_connection& candidate) const noexcept;
  // From within a harvest: something has arrived on a connection that nobody reads.
  watch_finding arrived(pooled_connection& source) const noexcept;
  // From within a harvest: a probe has brought its answer.
  watch_finding answered(pooled_connection& probed) const noexcept;

  // Whether its protocol is asked about bytes that nobody waits for.
  bool protocol_takes_idle_data() const noexcept;

 private:
  bool is_greeting(const pooled_connection& source) const noexcept;
  bool was_answered_just_now(const pooled_connection& candidate) const noexcept;
  watch_finding look_if_needed(pooled_connection& candidate) const noexcept;
  watch_finding look_at_socket(pooled_connection& source) const noexcept;
  watch_finding look_through_codec(pooled_connection& source) const noexcept;
  watch_finding arrived_for_codec(pooled_connection& source) const noexcept;
  watch_finding judge_bytes(const pooled_connection& source) const noexcept;

  endpoint_facts* facts_;
};

}  // namespace conpool

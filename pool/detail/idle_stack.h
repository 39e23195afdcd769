// The idle connections of an endpoint, last used on top, and the watch over them.
//
// Each has a receive posted: the end of the stream, a reset or a stray byte completes it. So a look
// at a connection costs no system call, unless nothing could be posted on it (after a change of the
// policy, or with a server's greeting unread); then the socket is asked.
//
//   idle.push(returned);                      // on top, and watched
//   idle.take(idle.top());                    // to be lent
//   switch (idle.look_at(idle.top(), ...))    // may it be lent?
//
// Invariants: counts.idle is the number of connections here, each in the stage `idle`; from top to
// bottom none was used later than the one above it. Used on its shard only.
#pragma once

#include <cstdint>

#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/pool/stats.h>

namespace conpool {

// What a look at an idle connection, or at what arrived on it, has found.
struct idle_finding {
  enum class kind : std::uint8_t {
    alive,         // it may be lent
    for_protocol,  // bytes came that its protocol wants to see
    gone,          // it is to be closed, for `why`
  };
  kind what = kind::alive;
  close_reason why = close_reason::peer_closed;
};

class idle_stack {
 public:
  explicit idle_stack(endpoint_facts& facts) noexcept : facts_(&facts) {}

  bool empty() const noexcept { return list_.empty(); }
  pooled_connection& top() noexcept { return list_.front(); }
  pooled_connection& coldest() noexcept { return list_.back(); }
  connection_list::iterator begin() noexcept { return list_.begin(); }
  connection_list::iterator end() noexcept { return list_.end(); }

  // From active to idle. The overloads with `counts` are for the hit path, which has the endpoint's
  // counts at hand. There the order of these lines matters, too: side by side, g++ joins the two
  // counts in a vector register, and takes five instructions more.
  void push(pooled_connection& clean, time_point used, pool_counts& counts) noexcept {
    --counts.active;
    clean.last_used = used;
    clean.stage = connection_stage::idle;
    ++counts.idle;
    list_.push_front(clean);
    // A lease that read nothing has left the receive of last time posted.
    if (clean.receive_posted()) return;
    watch_pushed(clean);
  }
  void push(pooled_connection& clean) noexcept { push(clean, clean.last_used, facts_->counts); }
  // From idle to active; the caller sets the next stage.
  void take(pooled_connection& taken, pool_counts& counts) noexcept {
    list_.remove(taken);
    --counts.idle;
    ++counts.active;
  }
  void take(pooled_connection& taken) noexcept { take(taken, facts_->counts); }

  // Posts a receive on a connection that nobody reads, if it can be watched.
  void watch(pooled_connection& unused) const noexcept;
  // Whether a connection that nobody has asked may be lent. `watched`: what its posted receive had
  // to tell has been harvested.
  idle_finding look_at(pooled_connection& candidate, bool watched) noexcept;
  // From within a harvest: something has arrived on a connection that nobody reads.
  idle_finding look_at_arrival(pooled_connection& source) noexcept;

 private:
  void watch_pushed(pooled_connection& pushed) noexcept;
  idle_finding look_at_socket(pooled_connection& source) noexcept;
  idle_finding look_at_codec(pooled_connection& source) noexcept;
  bool protocol_takes_idle_data() const noexcept;

  connection_list list_;  // front: last used
  endpoint_facts* facts_;
};

}  // namespace conpool

// The idle connections of an endpoint, last used on top, each of them watched (connection_watch.h).
//
//   idle.push(returned);                      // on top, and watched
//   idle.take(idle.top());                    // to be lent
//
// Invariants: counts.idle is the number of connections here, each in the stage `idle`; from top to
// bottom none was used later than the one above it. Used on its shard only.
#pragma once

#include <cstdint>

#include <conpool/pool/detail/connection_watch.h>
#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/pool/stats.h>

namespace conpool {

class idle_stack {
 public:
  idle_stack(endpoint_facts& facts, const connection_watch& watch) noexcept
      : facts_(&facts), watch_(&watch) {}

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

 private:
  void watch_pushed(pooled_connection& pushed) noexcept;

  connection_list list_;  // front: last used
  endpoint_facts* facts_;
  const connection_watch* watch_;
};

}  // namespace conpool

// The connections of one endpoint on one shard: the hit path, the idle watch, the waiters, dialing.
//
// Internal to the pool; users see `pool` and `endpoint_handle`. Owned by pool_core, used on its
// shard only.
//
//   acquire: take_idle() -- a hit: no system call, allocation, suspension or clock read
//            else the caller waits in strict FIFO order, and a connect is begun if the cap allows
//   release: give_back() -- to the first waiter, or on top of the idle stack (LIFO: warmest first)
//
// Each idle connection has a receive posted. Its completion is the end of the stream, a reset, or
// bytes that nobody asked for: the connection is closed and counted at once. take_idle() first
// looks at two words of memory that say whether completions are pending, and reaps them only then;
// so a connection known to be dead is never lent, and the look sees what recv(MSG_PEEK) would.
//
// Late binding: a waiter takes whatever comes first, a connection given back or a new one; the
// other becomes idle. Connects belong to the pool: a caller that gives up does not end its connect.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <conpool/pool/config.h>
#include <conpool/pool/connection.h>
#include <conpool/pool/endpoint.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/address.h>
#include <conpool/runtime/intrusive_list.h>
#include <conpool/runtime/shard.h>
#include <conpool/runtime/socket.h>
#include <conpool/runtime/task.h>
#include <conpool/runtime/timers.h>

namespace conpool {

class acquire_waiter;
class pool_core;
class core_pointer;

struct waiter_tag {};
using waiter_hook = list_hook<waiter_tag>;

class endpoint_pool : private timer_node {
 public:
  endpoint_pool(pool_core& core, const endpoint& to);
  ~endpoint_pool();

  const endpoint& peer() const noexcept { return endpoint_; }
  pool_core& core() const noexcept { return *core_; }
  shard& home() const noexcept { return *home_; }
  endpoint_stats stats() const;
  const pool_counts& counts() const noexcept { return counts_; }

  // The hit path. Null if no idle connection is alive.
  connection* take_idle() noexcept {
    home_->assert_owner();
    if (idle_.empty()) return nullptr;
    if (watch_ && home_->ring().completions_pending()) [[unlikely]]
      return take_idle_slowly();
    connection& taken = idle_.front();
    if (!taken.receive_posted()) [[unlikely]]
      return take_idle_slowly();
    lend_idle(taken);
    return &taken;
  }

  // The other half of the hit path.
  void give_back(connection& returned) noexcept {
    if ((returned.conditions() & dirty_) == 0 && waiters_.empty() && counts_.idle < idle_limit_)
        [[likely]] {
      home_->assert_owner();
      const time_point now = home_->now();
      if (now < returned.retire_at_) [[likely]] {
        --counts_.active;
        returned.last_used_ = now;
        make_idle(returned);
        return;
      }
    }
    give_back_slowly(returned);
  }

  // For acquire_waiter. Why a caller may not queue up, nothing if it may.
  std::optional<error> refusal() noexcept;
  // Queues a caller and begins a connect if one is needed.
  void join_queue(acquire_waiter& waiter) noexcept;
  void leave_queue(acquire_waiter& waiter) noexcept;
  // A connection was reserved for a waiter that did not take it: the next one gets it.
  void take_back(connection& reserved) noexcept;
  // Called when the waiter takes what was reserved for it.
  void lend_reserved(connection& reserved) noexcept;
  // What an acquire that was ended by its deadline or its context returns; counts it.
  error ended_early(errc why) noexcept;
  bool watched() const noexcept { return watch_; }
  duration acquire_timeout() const noexcept;

  // Closes idle connections now, leased ones on return, connecting ones when they stand.
  void clear() noexcept;
  // Lends no more: fails all waiters with `why`, and clears.
  void shut_down(errc why) noexcept;
  // Nothing of it is left in the kernel's hands but what is leased.
  bool quiet() const noexcept { return counts_.idle + counts_.connecting + counts_.closing == 0; }

 private:
  friend class connection;

  void lend_idle(connection& taken) noexcept {
    idle_.remove(taken);
    taken.state_ = connection::state::leased;
    --counts_.idle;
    ++counts_.active;
    ++counts_.hits;
    counts_.reused += taken.uses_++ > 0 ? 1 : 0;
  }
  void make_idle(connection& clean) noexcept {
    clean.state_ = connection::state::idle;
    ++counts_.idle;
    idle_.push_front(clean);
    // Nothing more to do if the lease read nothing: then the receive of last time still waits.
    if (clean.receive_posted() && timer_node::armed()) return;
    watch_idle(clean);
  }
  void watch_idle(connection& clean) noexcept;
  static void watch(connection& clean) noexcept;

  connection* take_idle_slowly() noexcept;
  void give_back_slowly(connection& returned) noexcept;
  void place(connection& clean) noexcept;
  void reserve(connection& clean) noexcept;
  void close_connection(connection& unwanted, close_reason why) noexcept;
  void close_all_idle(close_reason why) noexcept;
  void something_arrived(connection& source) noexcept;
  void connection_closed(connection& gone) noexcept;
  void forget(connection& gone) noexcept;  // may destroy this
  close_reason reason_of(const connection& dirty) const noexcept;

  // Begins as many connects as the waiters need and the cap allows.
  void pump() noexcept;
  static task<void> dial(core_pointer keep, endpoint_pool& self, std::uint64_t generation);
  task<result<connection*>> connect_one(time_point deadline);
  task<result<connection*>> connect_to(socket_address to, time_point deadline);
  void established(connection& fresh, std::uint64_t generation) noexcept;
  void dial_failed(error why) noexcept;

  void arm_expiry() noexcept;
  void expire() noexcept;
  static void expiry_fired(timer_node& node) noexcept;

  std::uint32_t total() const noexcept {
    return counts_.active + counts_.idle + counts_.connecting + counts_.closing;
  }

  // What the hit path touches comes first.
  intrusive_list<connection, list_hook<idle_tag>> idle_;  // front: last used, back: coldest
  shard* home_;
  intrusive_list<acquire_waiter, waiter_hook> waiters_;
  pool_counts counts_;
  std::uint32_t idle_limit_;   // 0 once it was shut down
  std::uint32_t dirty_ = ~0U;  // the conditions that keep a connection from being lent again
  bool watch_;
  bool shut_down_ = false;

  pool_core* core_;
  endpoint endpoint_;
  std::uint64_t generation_ = 0;  // clear() begins a new one
  time_point next_retirement_ = time_point::max();
  intrusive_list<connection, list_hook<member_tag>> members_;  // all that stand
  std::optional<socket_address> fixed_address_;                // nothing to resolve
  std::optional<error> last_error_;
};

}  // namespace conpool

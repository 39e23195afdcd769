// Timed maintenance of an endpoint: expiry, floor, trim, checks, leaks; and forgetting it when
// nobody uses it any more.
//
// One timer for all of it, armed for whatever is due first; a connection has no timer of its own.
// Used on its shard only.
#pragma once

#include <cstdint>

#include <conpool/pool/detail/dial_demand.h>
#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/health_checks.h>
#include <conpool/pool/detail/idle_stack.h>
#include <conpool/pool/detail/leak_detector.h>
#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/pool/detail/retirement.h>
#include <conpool/pool/detail/waiter_queue.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/detail/timers.h>

namespace conpool {

class maintenance : private timer_node {
 public:
  maintenance(endpoint_facts& facts, idle_stack& idle, const waiter_queue& waiters,
              health_checks& checks, dial_demand& demand, leak_detector& leaks,
              retirement& retirements) noexcept;
  ~maintenance();

  // Arms the timer for what is due next. After anything that may make something due earlier.
  void schedule() noexcept;
  bool scheduled() const noexcept { return timer_node::armed(); }
  // A connection stands: its end, or its replacement, will be due.
  void connection_stands(const pooled_connection& fresh) noexcept;
  // After a change of the configuration: intervals begin anew.
  void reschedule() noexcept;
  void shut_down() noexcept;

  // Nobody has anything of the endpoint, so it may be forgotten.
  bool unused() const noexcept;
  // While somebody holds a handle the endpoint is not forgotten.
  void add_handle() noexcept { ++handles_; }
  CONPOOL_API void drop_handle() noexcept;

 private:
  static void fired(timer_node& node) noexcept;
  void run() noexcept;
  void expire_idle(time_point now) noexcept;
  void retire_old(time_point now) noexcept;
  time_point replaced_at(const pooled_connection& old) const noexcept;
  void trim(time_point now) noexcept;
  bool forgets_unused() const noexcept;

  endpoint_facts* facts_;
  idle_stack* idle_;
  const waiter_queue* waiters_;
  health_checks* checks_;
  dial_demand* demand_;
  leak_detector* leaks_;
  retirement* retirements_;
  double need_ = 0;  // the smoothed peak of need
  time_point next_trim_ = time_point::max();
  time_point next_retirement_ = time_point::max();  // or the next replacement
  std::uint32_t handles_ = 0;
  bool running_ = false;
};

}  // namespace conpool

// What `co_await pool.acquire(endpoint)` waits on, and its options.
//
//   auto lease = co_await pool.acquire(to);
//   auto soon = co_await pool.acquire(to, acquire_options{.timeout = 50ms});
//   auto now = co_await pool.acquire(to, acquire_options{.try_only = true});
//
// A hit finishes in await_ready: nothing is suspended, allocated or timed. Otherwise the caller
// joins the endpoint's queue, first come first served, until a connection is handed to it, its
// deadline passes, or its context is cancelled. A caller that gives up after it was chosen passes
// the connection on to the next one. A connection that is handed over is looked at once more before
// it is lent, so one that died meanwhile is not lent either.
//
// Await what acquire() returns at once, in the same statement: it refers to the pool's record of
// the endpoint, which is only kept while somebody waits or a connection stands.
#pragma once

#include <new>
#include <optional>
#include <source_location>
#include <utility>

#include <conpool/pool/detail/endpoint_pool.h>
#include <conpool/pool/detail/waiter.h>
#include <conpool/pool/lease.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/detail/wait_point.h>
#include <conpool/runtime/error.h>

namespace conpool {

// Trivially destructible, so it may be written in braces beside a co_await.
struct acquire_options {
  // How long to wait for a connection; 0 is the pool's acquire_timeout.
  duration timeout{0};
  // A moment of the shard's clock to wait for at most; the sooner of the two holds.
  time_point deadline = time_point::max();
  // Callers with high priority are served first; after 8 of them in a row that passed somebody, the
  // first with normal priority is next, so that nobody waits for ever.
  acquire_priority priority = acquire_priority::normal;
  // Do not wait: an idle connection at once, or errc::none_idle. Begins no connect.
  bool try_only = false;
  // Only a connection that was never lent, as after an error that a restarted server explains. At
  // a limit one that is idle, or that comes back when it is this caller's turn, is closed to make
  // room; while connects are put off after failures, none is.
  bool fresh = false;
};

// The waiter of one acquire; see detail/waiter.h.
class CONPOOL_API acquire_waiter : public waiter {
 public:
  acquire_waiter(endpoint_pool& from, acquire_priority rank, bool wants_fresh,
                 const std::source_location& caller) noexcept
      : waiter(*from.facts().home, &acquire_waiter::deliver, &acquire_waiter::interrupt, rank,
               wants_fresh, caller),
        from_(&from) {}

  // Joins the queue. False if it must not wait: it was refused, or its context is cancelled.
  bool begin(std::coroutine_handle<> handle, context* where, duration timeout,
             bool try_only) noexcept;
  result<lease> take() noexcept;

 private:
  static void deliver(ready_node& node) noexcept;
  static void interrupt(wait_point& self, errc why) noexcept;

  endpoint_pool* from_;
};

// Suspends only if it has to wait. What waiting needs is constructed only then.
class [[nodiscard]] CONPOOL_API acquire_awaiter {
 public:
  // A timeout of 0 is the pool's acquire_timeout.
  acquire_awaiter(endpoint_pool& from, duration timeout, const std::source_location& where) noexcept
      : from_(&from), where_(where), timeout_(timeout) {}
  acquire_awaiter(endpoint_pool& from, const acquire_options& options,
                  const std::source_location& where) noexcept;
  // An acquire that fails at once.
  explicit acquire_awaiter(error why) noexcept
      : from_(nullptr), timeout_(0), state_(state::refused), refused_(std::move(why)) {}
  ~acquire_awaiter() {
    if (state_ == state::direct) [[likely]]
      return;
    destroy();
  }
  acquire_awaiter(const acquire_awaiter&) = delete;
  acquire_awaiter& operator=(const acquire_awaiter&) = delete;

  bool await_ready() noexcept {
    if (state_ != state::direct) [[unlikely]]
      return state_ == state::refused;
    connection_ = from_->take_idle(where_);
    return connection_ != nullptr;
  }
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    state_ = state::waited;
    new (&waiter_) acquire_waiter(*from_, priority_, fresh_, where_);
    return waiter_.begin(handle, context_of(handle), timeout_, try_only_);
  }
  [[nodiscard]] result<lease> await_resume() {
    if (connection_ != nullptr) [[likely]]
      return lease(*connection_);
    if (state_ == state::refused) return fail(std::move(refused_));
    return waiter_.take();
  }

 private:
  void destroy() noexcept;

  enum class state : std::uint8_t {
    direct,     // looks for an idle connection first
    wants_new,  // goes to the queue
    waited,
    refused,
  };

  endpoint_pool* from_;
  pooled_connection* connection_ = nullptr;
  std::source_location where_;
  duration timeout_;
  state state_ = state::direct;
  acquire_priority priority_ = acquire_priority::normal;
  bool fresh_ = false;
  bool try_only_ = false;
  union {
    acquire_waiter waiter_;
    error refused_;
  };
};

}  // namespace conpool

// Acquiring: what `co_await pool.acquire(endpoint)` waits on.
//
// On a hit it finishes in await_ready: nothing is suspended, allocated or timed. Otherwise the
// caller joins the endpoint's queue, first come first served, until a connection is handed to it,
// its deadline passes, or its context is cancelled. A caller that gives up after it was chosen
// passes the connection on to the next. At the moment a connection is handed over it is looked at
// once more, so one that died meanwhile is not lent either.
#pragma once

#include <new>
#include <optional>
#include <utility>

#include <conpool/pool/endpoint_pool.h>
#include <conpool/pool/lease.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/wait_point.h>

namespace conpool {

// A caller in the queue of an endpoint.
class acquire_waiter : public wait_point, public waiter_hook {
 public:
  explicit acquire_waiter(endpoint_pool& from) noexcept
      : wait_point(from.home(), &acquire_waiter::interrupt, errc::acquire_timeout), from_(&from) {
    run = &acquire_waiter::deliver;
  }

  // Joins the queue. False if it must not wait: it was refused, or its context is cancelled.
  bool begin(std::coroutine_handle<> handle, context* where, duration timeout) noexcept;
  result<lease> take() noexcept;

 private:
  friend class endpoint_pool;

  void hand(connection& reserved) noexcept;
  void fail_with(error why) noexcept;
  void schedule() noexcept;
  static void deliver(ready_node& node) noexcept;
  static void interrupt(wait_point& self, errc why) noexcept;

  endpoint_pool* from_;
  connection* connection_ = nullptr;
  bool scheduled_ = false;  // on the ready queue
  std::optional<error> failure_;
};

// Suspends only if it has to wait. What waiting needs is constructed only then.
class [[nodiscard]] acquire_awaiter {
 public:
  // A timeout of 0 is the pool's acquire_timeout.
  acquire_awaiter(endpoint_pool& from, duration timeout) noexcept
      : from_(&from), timeout_(timeout) {}
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
    if (from_ == nullptr) [[unlikely]]
      return true;
    connection_ = from_->take_idle();
    return connection_ != nullptr;
  }
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    state_ = state::waited;
    new (&waiter_) acquire_waiter(*from_);
    return waiter_.begin(handle, context_of(handle), timeout_);
  }
  result<lease> await_resume() {
    if (connection_ != nullptr) [[likely]]
      return lease(*connection_);
    if (state_ == state::refused) return fail(std::move(refused_));
    return waiter_.take();
  }

 private:
  void destroy() noexcept;

  enum class state : std::uint8_t { direct, waited, refused };

  endpoint_pool* from_;
  connection* connection_ = nullptr;
  duration timeout_;
  state state_ = state::direct;
  union {
    acquire_waiter waiter_;
    error refused_;
  };
};

}  // namespace conpool

// Acquiring: what `co_await pool.acquire(endpoint)` waits on.
//
// On a hit it finishes in await_ready: nothing is suspended, allocated or timed. Otherwise the
// caller joins the endpoint's queue, first come first served, until a connection is handed to it,
// its deadline passes, or its context is cancelled. A caller that gives up after it was chosen
// passes the connection on to the next. At the moment a connection is handed over it is looked at
// once more, so one that died meanwhile is not lent either.
#pragma once

#include <optional>
#include <utility>

#include <conpool/pool/endpoint_pool.h>
#include <conpool/pool/lease.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/wait_point.h>

namespace conpool {

class acquire_awaiter : public wait_point, public waiter_hook {
 public:
  acquire_awaiter(endpoint_pool& from, duration timeout) noexcept
      : wait_point(from.home(), &acquire_awaiter::interrupt, errc::acquire_timeout),
        from_(&from),
        timeout_(timeout) {
    run = &acquire_awaiter::deliver;
  }
  // An acquire that fails at once.
  acquire_awaiter(shard& home, error why) noexcept
      : wait_point(home, &acquire_awaiter::interrupt, errc::acquire_timeout),
        from_(nullptr),
        timeout_(0),
        failure_(std::move(why)) {}

  bool await_ready() noexcept {
    if (from_ == nullptr) [[unlikely]]
      return true;
    connection_ = from_->take_idle();
    return connection_ != nullptr;
  }
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    return begin(handle, context_of(handle));
  }
  result<lease> await_resume() {
    if (connection_ != nullptr) [[likely]]
      return lease(*connection_);
    return fail(std::move(*failure_));
  }

 private:
  friend class endpoint_pool;

  bool begin(std::coroutine_handle<> handle, context* where) noexcept;
  void hand(connection& reserved) noexcept;
  void fail_with(error why) noexcept;
  void schedule() noexcept;
  static void deliver(ready_node& node) noexcept;
  static void interrupt(wait_point& self, errc why) noexcept;

  endpoint_pool* from_;
  connection* connection_ = nullptr;
  duration timeout_;
  bool scheduled_ = false;  // on the ready queue
  std::optional<error> failure_;
};

}  // namespace conpool

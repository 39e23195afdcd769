// A caller who waits for a connection: a node in its endpoint's queue, in the caller's own frame.
//
// It is served once: handed a connection, or failed. Between the hand-over and its task's turn it
// may be given up by its deadline or context, or lose the connection again and go back into the
// queue. The acquire that owns it (acquire.h) says what happens then. Used on its shard only.
#pragma once

#include <cstdint>
#include <optional>
#include <source_location>
#include <utility>

#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/detail/wait_point.h>
#include <conpool/runtime/error.h>

namespace conpool {

// Two lanes: callers with high priority are served before others, but see waiter_queue.h.
enum class acquire_priority : std::uint8_t { high, normal };

class CONPOOL_API waiter : public wait_point, public waiter_hook {
 public:
  // Set by the acquire, and by the queue when it joins.
  const std::source_location where;
  const acquire_priority priority;
  const bool fresh;          // wants a connection that was never lent
  std::uint64_t ticket = 0;  // in the order of arrival over all endpoints of the pool

  // Gives it a connection. `existed`: that was there before, idle or lent. The deadline and the
  // context stay armed: until its task runs the caller may still give up.
  void hand(pooled_connection& reserved, bool existed) noexcept {
    CONPOOL_ASSERT(connection_ == nullptr && !failure_, "a waiter is served once");
    connection_ = &reserved;
    existed_ = existed;
    schedule();
  }
  // It gets what it was handed before: its task is about to run.
  void take(pooled_connection& lent) noexcept { connection_ = &lent; }
  // Takes back what was handed to it and not lent yet.
  void take_away() noexcept { connection_ = nullptr; }
  void fail_with(error why) noexcept {
    failure_ = std::move(why);
    disarm();
    schedule();
  }
  bool has_failed() const noexcept { return failure_.has_value(); }
  bool was_handed_existing() const noexcept { return existed_; }

 protected:
  using run_fn = ready_node::run_fn;
  waiter(shard& home, run_fn deliver, interrupt_fn interrupt, acquire_priority lane,
         bool wants_fresh, const std::source_location& from) noexcept
      : wait_point(home, interrupt, errc::acquire_timeout),
        where(from),
        priority(lane),
        fresh(wants_fresh) {
    run = deliver;
  }

  pooled_connection* connection_ = nullptr;
  std::optional<error> failure_;
  bool existed_ = false;
  bool scheduled_ = false;  // on the ready queue

 private:
  void schedule() noexcept;
};

}  // namespace conpool

// Limits a turn's work; the rest queues first come, first served.
//
// A handshake step takes up to 0.7 ms of computing and cannot be interrupted; a thousand of them
// at once would freeze the shard. So each step asks here first. A handshake within the budget goes
// on at once; one over budget waits for a later turn. A step may begin before the budget is used
// up and end after it, so a turn has at most the budget and one step of handshakes in it.
//
//   auto entry = co_await budget.enter(deadline);   // result<turn_budget::entry>
//   if (!entry) co_return fail(std::move(entry.error()));
//   ... one step, without suspending; the next handshake gets its turn when `entry` goes ...
//
// The shard's shard_tls owns it; it is used on the shard's thread only. It measures by the shard's
// clock: if that is set by hand, work takes no time and all of it fits.
#pragma once

#include <cstdint>
#include <utility>

#include <conpool/runtime/detail/intrusive_list.h>
#include <conpool/runtime/detail/ready_queue.h>
#include <conpool/runtime/detail/wait_point.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/shard.h>

namespace conpool::tls {

class turn_budget : private ready_node {
 public:
  turn_budget(shard& home, duration each_turn) noexcept
      : ready_node(&turn_budget::next_turn), home_(&home), each_turn_(each_turn) {}
  ~turn_budget() { CONPOOL_ASSERT(line_.empty(), "a budget died while handshakes wait in line"); }

  class awaiter;
  class entry;
  // Waits for an entry. Whoever gets one makes its step without suspending first. Errors:
  // deadline_exceeded, cancelled and the like, with phase::handshake.
  awaiter enter(time_point deadline) noexcept;

  std::uint64_t times_waited() const noexcept { return times_waited_; }

 private:
  void leave() noexcept;
  // Whether there is time left in this turn for a handshake that is not in line.
  bool has_room() noexcept;
  void call_next() noexcept;
  static void next_turn(ready_node& node) noexcept;

  shard* home_;
  duration each_turn_;
  duration used_{0};
  time_point turn_{};     // the turn that used_ belongs to
  time_point entered_{};  // when the step that is under way began
  intrusive_list<awaiter, list_hook<turn_budget>> line_;
  std::uint64_t times_waited_ = 0;
  bool called_ = false;           // the first in line was woken and has not left yet
  bool calls_next_turn_ = false;  // this is on the next turn's queue
};

// The right to make one step. When it goes, by an exception too, the next handshake gets its own.
class turn_budget::entry {
 public:
  entry(entry&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
  ~entry() {
    if (of_ != nullptr) of_->leave();
  }

 private:
  friend class awaiter;
  explicit entry(turn_budget& of) noexcept : of_(&of) {}

  turn_budget* of_;
};

// Suspends if the turn's budget is used up or others are in line. The shard resumes it on
// its own thread.
class turn_budget::awaiter : public wait_point, public list_hook<turn_budget> {
 public:
  awaiter(turn_budget& of, time_point deadline) noexcept
      : wait_point(*of.home_, &awaiter::interrupt, errc::deadline_exceeded),
        of_(&of),
        deadline_(deadline) {}
  bool await_ready() noexcept { return of_->has_room(); }
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    return join(handle, context_of(handle));
  }
  result<entry> await_resume() {
    if (interrupted()) return fail(error(interrupted_by(), phase::handshake));
    of_->entered_ = of_->home_->read_clock();
    return entry(*of_);
  }

 private:
  friend class turn_budget;
  bool join(std::coroutine_handle<> handle, context* where) noexcept;
  static void interrupt(wait_point& waiting, errc why) noexcept;
  turn_budget* of_;
  time_point deadline_;
};

inline turn_budget::awaiter turn_budget::enter(time_point deadline) noexcept {
  return {*this, deadline};
}

}  // namespace conpool::tls

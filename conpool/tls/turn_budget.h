// So much work in a turn of the shard, and the rest in the next ones, first come, first served.
//
// A handshake step takes up to 0.7 ms of computing and cannot be interrupted; a thousand of them
// at once would freeze the shard. So each step asks here first: within the budget it goes on at
// once, beyond it waits in line for a later turn. One step may begin before the budget is used up
// and end after it, so a turn has at most the budget and one step of handshakes in it.
//
//   auto turn = co_await budget.enter();      // result<void>: cancelled and the like
//   if (!turn) co_return fail(turn.error());
//   const turn_budget::step counted(budget);   // until it goes, by an exception, too
//   ... one step, without suspending ...
//
// Owned by the shard's TLS service, used on its thread only. It counts the shard's clock: with one
// that is set by hand, work takes no time and all of it fits.
#pragma once

#include <cstdint>

#include <conpool/runtime/error.h>
#include <conpool/runtime/intrusive_list.h>
#include <conpool/runtime/ready_queue.h>
#include <conpool/runtime/shard.h>
#include <conpool/runtime/wait_point.h>

namespace conpool::tls {

class turn_budget : private ready_node {
 public:
  turn_budget(shard& home, duration each_turn) noexcept
      : ready_node(&turn_budget::next_turn), home_(&home), each_turn_(each_turn) {}
  ~turn_budget() { CONPOOL_ASSERT(line_.empty(), "a budget died with somebody in line"); }

  class awaiter;
  class step;
  // Waits for a place; who got one makes its step without suspending before.
  awaiter enter() noexcept;

  std::uint64_t times_waited() const noexcept { return times_waited_; }

 private:
  void leave() noexcept;
  // Whether there is time left in this turn, for somebody who is not in line.
  bool has_room() noexcept;
  void call_next() noexcept;
  static void next_turn(ready_node& node) noexcept;

  shard* home_;
  duration each_turn_;
  duration used_{0};
  time_point turn_{};     // that used_ is about
  time_point entered_{};  // when the step that is under way began
  intrusive_list<awaiter, list_hook<turn_budget>> line_;
  std::uint64_t times_waited_ = 0;
  bool called_ = false;           // the first of the line was woken and has not left yet
  bool calls_next_turn_ = false;  // is on the next turn's queue
};

// What is done in a place that enter() gave; others get theirs when it goes.
class turn_budget::step {
 public:
  explicit step(turn_budget& of) noexcept : of_(&of) {}
  step(const step&) = delete;
  step& operator=(const step&) = delete;
  ~step() { of_->leave(); }

 private:
  turn_budget* of_;
};

// Suspends if the turn's budget is used up or others are in line.
class turn_budget::awaiter : public wait_point, public list_hook<turn_budget> {
 public:
  explicit awaiter(turn_budget& of) noexcept
      : wait_point(*of.home_, &awaiter::interrupt, errc{}), of_(&of) {}
  bool await_ready() noexcept { return of_->has_room(); }
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    return join(handle, context_of(handle));
  }
  result<void> await_resume() {
    if (interrupted()) return fail(error(interrupted_by(), phase::handshake));
    of_->entered_ = of_->home_->read_clock();
    return {};
  }

 private:
  friend class turn_budget;
  bool join(std::coroutine_handle<> handle, context* where) noexcept;
  static void interrupt(wait_point& waiting, errc why) noexcept;
  turn_budget* of_;
};

inline turn_budget::awaiter turn_budget::enter() noexcept {
  return awaiter(*this);
}

}  // namespace conpool::tls

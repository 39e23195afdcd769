// A shard: one thread's ring, clock, timers, ready queue and inbox, and the turn that drives them.
//
//   auto home = shard::create({}).value();
//   home->spawn(serve);                                     // runs in the turns that follow
//   while (!done) home->run_once(100ms);                    // the user's thread is the loop
//
// Any thread may create a shard. The first thread that turns it, or calls attach(), owns it for its
// life; everything but post(), wake-ups and id() is for that thread, and asserted in debug builds.
// Three ways to run it: the library's own thread (runtime.h), run_once() as above, or a foreign
// loop that watches fd() level-triggered and next_deadline():
//
//   epoll_wait(..., timeout until home->next_deadline());
//   while (home->run_once(0ms)) {}                          // true: there is more to do now
//
// A turn reads the clock once, harvests completions into the ready queue, fires timers, takes mail,
// runs ready tasks within a budget, and ends with one enter that submits all that was prepared and
// waits. The destructor stops the shard: tasks are cancelled and joined, sockets closed, and
// nothing is freed that the kernel still uses.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/mailbox.h>
#include <conpool/runtime/detail/shard_core.h>
#include <conpool/runtime/detail/shard_extension.h>
#include <conpool/runtime/detail/wait_point.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/kernel.h>
#include <conpool/runtime/scope.h>
#include <conpool/runtime/task.h>

namespace conpool {

struct shard_options {
  ring_options ring{};
  // Position among the shards of a runtime; 0 for one that stands alone.
  unsigned id = 0;
  // Where time comes from; null is CLOCK_MONOTONIC. Not owned, must outlive the shard.
  clock_source* clock = nullptr;
  // How long to spin on the completion queue before sleeping; costs a core, saves the wake-up.
  std::chrono::microseconds busy_poll{0};
  // What the shard's random numbers start from; 0 takes a seed from the system. With a seed, a
  // clock set by hand and a simulated ring every run is the same.
  std::uint64_t seed = 0;
};

class shard : public shard_core {
 public:
  // Any thread. Errors: those of ring::create.
  static result<std::unique_ptr<shard>> create(const shard_options& options = {});
  // On the owner's thread, outside of its turns; turns until everything has ended.
  ~shard();
  shard(const shard&) = delete;
  shard& operator=(const shard&) = delete;

  // The shard whose turn runs on this thread, null outside of a turn.
  static shard* current() noexcept { return current_; }

  // Makes the calling thread the owner, as the first run_once would. Errors: ring_unavailable.
  result<void> attach();

  // One turn: runs what is ready, then waits at most `max_wait` for something to do if nothing is.
  // Returns true if there is more to do at once. A task that sets a flag for the caller does not
  // cut that wait short; to be told at once, wait with a small max_wait or post() a mail.
  bool run_once(duration max_wait);
  // Turns until stop() was called and everything has ended.
  void run();

  // For foreign loops: the descriptor that becomes readable when a turn has something to do, and
  // the moment at which a turn is due even if it does not. Valid after a turn returned false. The
  // descriptor is an eventfd, opened by the first call and closed with the shard; -errno if none
  // can be opened.
  int fd() noexcept;
  std::optional<time_point> next_deadline() const noexcept { return timers_.next_deadline(); }

  // Runs function(arguments...), a task, in the turns that follow. It belongs to the shard, and is
  // cancelled when the shard stops. Makes the calling thread the owner, as the first turn would.
  template <typename F, typename... Args>
  void spawn(F function, Args... arguments) {
    if (!attached()) {
      // If it fails here it fails in the first turn, too, and is reported there.
      [[maybe_unused]] const result<void> attached = attach();
    }
    tasks_.spawn(std::move(function), std::move(arguments)...);
  }

  // Any thread: delivers `item` on this shard in one of its next turns, and wakes it if it sleeps.
  void post(mail& item) noexcept;

  // Begins to stop: cancels all tasks, closes what is open. The turns that follow complete it.
  void stop() noexcept;
  // True once nothing runs and the kernel has nothing of this shard's any more.
  bool stopped() const noexcept;

  // The first exception that left a spawned task, taken out; null if there is none.
  std::exception_ptr take_exception() noexcept { return tasks_.take_exception(); }

  unsigned id() const noexcept { return options_.id; }
  // What the shard's ring counted since it was created.
  const ring_statistics& statistics() const noexcept { return ring_->statistics(); }

  class sleep_awaiter;
  // Waits; result<void>: errc::cancelled, deadline_exceeded or shard_stopped if it ended early.
  sleep_awaiter sleep_for(duration time) noexcept;
  sleep_awaiter sleep_until(time_point moment) noexcept;
  class yield_awaiter;
  // Lets all other ready tasks run first.
  yield_awaiter yield() noexcept;

  // --- For the parts of the library; see shard_core for what else they use.
  // After the owner's thread has ended: delivers the mail that came too late for it.
  void deliver_leftovers() noexcept;
  // The shard's only T (a shard_extension), made at its first use as T(*this, arguments...).
  template <typename T, typename... Args>
  T& extension(Args&&... arguments) {
    if (T* const found = extensions_.find<T>()) return *found;
    return extensions_.make<T>(*this, std::forward<Args>(arguments)...);
  }
  // The shard's only T; null before its first use.
  template <typename T>
  T* find_extension() const noexcept {
    return extensions_.find<T>();
  }

 private:
  explicit shard(const shard_options& options) noexcept;

  void run_ready() noexcept;
  void wait_for_work(duration wait) noexcept;
  bool only_wake_read_left() const noexcept;
  void arm_wake_read() noexcept;
  static void woken(operation& op) noexcept;

  static inline thread_local constinit shard* current_ = nullptr;

  struct wake_read : operation {
    explicit wake_read(shard& owner) noexcept : operation(&shard::woken), home(&owner) {}
    shard* home;
    std::uint64_t count = 0;
  };

  shard_options options_;
  mailbox inbox_;
  int wake_fd_ = -1;  // an eventfd: threads without a ring wake the shard through it
  std::atomic<int> foreign_fd_ = -1;  // what fd() returned, for those threads
  wake_read wake_read_;
  scope tasks_;
  extension_table extensions_;
};

class shard::sleep_awaiter : public wait_point {
 public:
  sleep_awaiter(shard& home, time_point until) noexcept
      : wait_point(home, &sleep_awaiter::interrupt, errc{}), until_(until) {}
  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    return park(handle, context_of(handle), until_);
  }
  result<void> await_resume() const noexcept {
    if (interrupted()) return fail(error(interrupted_by()));
    return {};
  }

 private:
  static void interrupt(wait_point& self, errc) noexcept {
    static_cast<sleep_awaiter&>(self).wake();
  }
  time_point until_;
};

class shard::yield_awaiter : public ready_node {
 public:
  explicit yield_awaiter(shard& home) noexcept : ready_node(&yield_awaiter::go_on), home_(&home) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) noexcept {
    handle_ = handle;
    home_->ready().push(*this);
  }
  void await_resume() const noexcept {}

 private:
  static void go_on(ready_node& node) noexcept {
    static_cast<yield_awaiter&>(node).handle_.resume();
  }
  shard* home_;
  std::coroutine_handle<> handle_;
};

inline shard::sleep_awaiter shard::sleep_until(time_point moment) noexcept {
  return sleep_awaiter(*this, moment);
}
inline shard::sleep_awaiter shard::sleep_for(duration time) noexcept {
  return sleep_awaiter(*this, saturating_add(now(), time));
}
inline shard::yield_awaiter shard::yield() noexcept {
  return yield_awaiter(*this);
}

}  // namespace conpool

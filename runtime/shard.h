// A shard: one thread's ring, clock, timers, ready queue and inbox, and the turn that drives them.
//
//   auto home = shard::create({}).value();
//   home->spawn(serve);                     // serve() is a task; it runs in the turns that follow
//   while (!done) home->run_once(100ms);    // this thread is the loop
//
// Any thread may create a shard. The first thread that turns it or calls attach() owns it from then
// on. Only post() and id() may be used on other threads; debug builds assert the owner.
//
// There are three ways to run a shard: on the library's own thread (runtime.h), with run_once() as
// above, or from a foreign loop that watches fd() level-triggered and wakes at next_deadline():
//
//   pollfd watched{.fd = home->fd(), .events = POLLIN, .revents = 0};
//   while (home->run_once(0ms)) {}                     // true: there is more to do now
//   poll(&watched, 1, ms_until(home->next_deadline()));
//
// A turn reads the clock once (and once more before it waits for a timer), harvests completions
// into the ready queue, fires timers, takes mail, runs ready tasks within a budget, and ends with
// one enter, which submits all that was prepared and waits. The destructor stops the shard: it
// cancels and joins the tasks and closes the sockets, and it frees nothing that the kernel still
// uses.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/export.h>
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
  // The shard's position among the shards of a runtime; 0 if it stands alone.
  unsigned id = 0;
  // The source of the shard's time, which must outlive the shard; null means CLOCK_MONOTONIC.
  clock_source* clock = nullptr;
  // How long to spin on the completion queue before sleeping. It costs a core and saves the
  // wake-up.
  std::chrono::microseconds busy_poll{0};
  // The seed of the shard's random numbers; 0 takes one from the system. With a seed, a clock that
  // is set by hand and a simulated ring, every run is the same.
  std::uint64_t seed = 0;
};

class CONPOOL_API shard : public shard_core {
 public:
  // Any thread may call it. Errors: ring_unavailable with the likely cause as detail,
  // invalid_config for ring options out of their range, too_many_files, out_of_memory.
  static result<std::unique_ptr<shard>> create(const shard_options& options = {});
  // Call it on the owner's thread, outside of a turn. It turns until everything has ended.
  ~shard();
  shard(const shard&) = delete;
  shard& operator=(const shard&) = delete;

  // Returns the shard whose turn runs on this thread; null outside of a turn.
  static shard* current() noexcept { return current_; }

  // Makes the calling thread the owner, as the first run_once() would. Errors: ring_unavailable.
  result<void> attach();

  // Runs one turn: it runs what is ready, and if nothing more is, waits at most `max_wait` for
  // something to do. Returns true if there is more to do at once. A task that sets a flag for the
  // caller does not cut the wait short; to be told at once, use a small `max_wait` or post() a
  // mail.
  bool run_once(duration max_wait);
  // Turns until stop() has been called and everything has ended.
  void run();

  // For foreign loops: fd() becomes readable when a turn has something to do, and a turn is due at
  // next_deadline() even if it does not. Both hold after a turn has returned false. What the
  // owner's thread does outside of a turn makes fd() readable, too, if a turn has to follow: a task
  // that is spawned or woken, a timer that is armed, a lease that is given back, stop(). The
  // descriptor is an eventfd, which the first call opens and the shard closes; -errno if none can
  // be opened.
  int fd() noexcept { return ring_->signal_fd(); }
  std::optional<time_point> next_deadline() const noexcept { return timers_.next_deadline(); }

  // Runs function(arguments...), which returns a task, in the turns that follow. The task belongs
  // to the shard and is cancelled when the shard stops. The call makes the calling thread the
  // owner, as the first turn would.
  template <typename F, typename... Args>
  void spawn(F function, Args... arguments) {
    if (!attached()) {
      // What fails here fails in the first turn, too, and is reported there.
      [[maybe_unused]] const result<void> attached = attach();
    }
    tasks_.spawn(std::move(function), std::move(arguments)...);
  }

  // Any thread may call it: delivers `item` in one of the shard's next turns, and wakes the shard
  // if it sleeps.
  void post(mail& item) noexcept;

  // Begins to stop: cancels all tasks and closes what is open. The turns that follow complete it.
  void stop() noexcept;
  // Becomes true when nothing runs and the kernel has nothing of this shard's any more.
  bool stopped() const noexcept;

  // Takes out the first exception that left a spawned task; null if there is none.
  std::exception_ptr take_exception() noexcept { return tasks_.take_exception(); }

  unsigned id() const noexcept { return options_.id; }
  // What the shard's ring has counted.
  const ring_statistics& statistics() const noexcept { return ring_->statistics(); }

  class sleep_awaiter;
  // Awaits result<void>: nothing when the time has come, and if the wait ended early the context's
  // reason: cancelled, deadline_exceeded or shard_stopped.
  sleep_awaiter sleep_for(duration time) noexcept;
  sleep_awaiter sleep_until(time_point moment) noexcept;
  class yield_awaiter;
  // Lets all other ready tasks run first. The awaiter returns nothing and is not cancelled.
  yield_awaiter yield() noexcept;

  // --- For the parts of the library; see shard_core for what else they use.
  // Delivers the mail that came too late. Call it when the owner's thread has ended.
  void deliver_leftovers() noexcept;
  // Returns the shard's only T, a shard_extension; the first use makes it as T(*this,
  // arguments...).
  template <typename T, typename... Args>
  T& extension(Args&&... arguments) {
    if (T* const found = extensions_.find<T>()) return *found;
    return extensions_.make<T>(*this, std::forward<Args>(arguments)...);
  }
  // Returns the shard's only T; null before its first use.
  template <typename T>
  T* find_extension() const noexcept {
    return extensions_.find<T>();
  }

 private:
  explicit shard(const shard_options& options) noexcept;

  void run_ready() noexcept;
  void wait_for_work(duration wait) noexcept;
  void begin_watched_turn() noexcept;
  void end_watched_turn() noexcept;
  bool only_wake_read_left() const noexcept;
  void arm_wake_read() noexcept;
  static void woken(operation& op) noexcept;

  static inline thread_local constinit shard* current_ = nullptr;

  struct wake_read : operation {
    explicit wake_read(shard& owner) noexcept : operation(&shard::woken), home(&owner) {}
    shard* home;
    std::uint64_t count = 0;
  };

  friend class runtime;

  shard_options options_;
  // What a turn does when the shard was stopped and all of it has ended but the read that wakes it.
  // A runtime has its shards wait for mail, since others may still ask them for something.
  enum class at_rest : std::uint8_t { ends, returns, waits };
  at_rest when_at_rest_ = at_rest::ends;
  mailbox inbox_;
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
  [[nodiscard]] result<void> await_resume() const noexcept {
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

// Structured concurrency: tasks that run beside the one that spawned them, and are all joined.
//
//   scope clients(home);
//   for (int i = 0; i < 10; ++i) clients.spawn(run_client, std::ref(pool), i);
//   co_await clients.join();          // or close(): cancel, then join
//
// A scope belongs to the task or object that spawns, and is used on its shard's thread only. A
// spawned task starts from the ready queue, inherits the scope's context, and has ended before
// join() or close() returns. The destructor asserts that nothing runs any more. If the task that
// joins is cancelled, the scope is cancelled with it, and the join still waits for the scope's
// tasks to end.
//
// The callable and its arguments are kept until the task ends, so a lambda with captures is safe
// here. Pass references with std::ref. Each spawned task costs one coroutine frame besides its own.
#pragma once

#include <coroutine>
#include <exception>
#include <functional>
#include <type_traits>
#include <utility>

#include <conpool/runtime/detail/context.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/detail/fork_state.h>
#include <conpool/runtime/detail/frame_pool.h>
#include <conpool/runtime/detail/ready_queue.h>
#include <conpool/runtime/detail/wait_point.h>
#include <conpool/runtime/task.h>

namespace conpool {

class CONPOOL_API scope {
 public:
  // The scope is cancelled when the shard stops.
  explicit scope(shard& home) noexcept;
  ~scope() {
    CONPOOL_ASSERT_ENDED(running_ == 0, "a scope was destroyed before its tasks were joined");
  }
  scope(const scope&) = delete;
  scope& operator=(const scope&) = delete;

  // Runs function(arguments...), which returns a task. An exception that leaves the task comes out
  // of join(); a value that it returns is dropped. May throw std::bad_alloc, and in a child of
  // fork() std::system_error(errc::forked); then nothing runs.
  template <typename F, typename... Args>
  void spawn(F function, Args... arguments);

  // Asks all running tasks to end. Tasks that are spawned later find themselves cancelled.
  void cancel(errc why = errc::cancelled) noexcept { context_.cancel(why); }
  bool cancelled() const noexcept { return context_.cancelled(); }
  std::size_t running() const noexcept { return running_; }

  // Takes out the first exception that left a task, for owners that never join; null for none.
  std::exception_ptr take_exception() noexcept { return std::exchange(exception_, nullptr); }

  class join_awaiter;
  // Waits until nothing runs, then throws the first exception that left a task. One task at a time
  // may join.
  join_awaiter join() noexcept;
  // Cancels the scope, then joins it.
  join_awaiter close() noexcept;

 private:
  struct child;

  template <typename F, typename... Args>
  static child run_child(scope& parent, F function, Args... arguments);

  [[noreturn]] static void throw_forked();
  void check_process() const;
  void child_started(ready_node& node) noexcept;
  void child_ended() noexcept;
  void note_exception(std::exception_ptr what) noexcept {
    if (!exception_) exception_ = std::move(what);
  }

  shard* home_;
  context context_;
  std::size_t running_ = 0;
  join_awaiter* joiner_ = nullptr;
  std::exception_ptr exception_;
};

class scope::join_awaiter : public wait_point {
 public:
  explicit join_awaiter(scope& joined) noexcept
      : wait_point(*joined.home_, &join_awaiter::interrupt, errc::cancelled), scope_(&joined) {}

  bool await_ready() const noexcept { return scope_->running_ == 0; }
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    CONPOOL_ASSERT(scope_->joiner_ == nullptr, "a scope is joined by one task at a time");
    if (!park(handle, context_of(handle))) {
      scope_->cancel(interrupted_by());
      if (!park(handle, nullptr)) return false;  // in a child of fork(), where nothing ends
    }
    scope_->joiner_ = this;
    return true;
  }
  void await_resume() {
    if (interrupted_by() == errc::forked) [[unlikely]]
      throw_forked();
    if (scope_->exception_) std::rethrow_exception(std::exchange(scope_->exception_, nullptr));
  }

 private:
  friend class scope;
  static void interrupt(wait_point& self, errc why) noexcept {
    static_cast<join_awaiter&>(self).scope_->cancel(why);
  }
  scope* scope_;
};

inline scope::join_awaiter scope::join() noexcept {
  return join_awaiter(*this);
}

inline scope::join_awaiter scope::close() noexcept {
  cancel();
  return join_awaiter(*this);
}

// The frame that keeps a spawned callable, runs its task and reports its end.
struct scope::child {
  struct promise_type : ready_node {
    template <typename... Args>
    explicit promise_type(scope& parent, Args&&...) noexcept
        : ready_node(&promise_type::start), parent_(&parent) {
      own_.attach(&parent.context_);
    }

    static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
    static void operator delete(void* frame, std::size_t bytes) noexcept {
      deallocate_frame(frame, bytes);
    }

    child get_return_object() noexcept { return child(*this); }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    struct ender {
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<promise_type> self) const noexcept {
        scope* const parent = self.promise().parent_;
        self.destroy();  // before the join returns: arguments may refer to what the joiner owns
        parent->child_ended();
      }
      void await_resume() const noexcept {}
    };
    ender final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { parent_->note_exception(std::current_exception()); }
    context* task_context() noexcept { return &own_; }

    static void start(ready_node& node) noexcept {
      auto& self = static_cast<promise_type&>(node);
      std::coroutine_handle<promise_type>::from_promise(self).resume();
    }

    scope* parent_;
    // Each task has a context of its own below the scope's. What the task waits for is linked here,
    // beside its frame, and not among the waits of all its siblings, whose memory is cold.
    context own_;
  };

  explicit child(promise_type& made) noexcept : promise(&made) {}
  promise_type* promise;
};

template <typename F, typename... Args>
scope::child scope::run_child(scope& parent, F function, Args... arguments) {
  static_cast<void>(parent);
  auto body = std::invoke(function, std::move(arguments)...);
  if constexpr (std::is_void_v<typename decltype(body)::value_type>) {
    co_await body;
  } else {
    [[maybe_unused]] auto dropped = co_await body;
  }
}

template <typename F, typename... Args>
void scope::spawn(F function, Args... arguments) {
  check_process();
  child made = run_child(*this, std::move(function), std::move(arguments)...);
  child_started(*made.promise);
}

}  // namespace conpool

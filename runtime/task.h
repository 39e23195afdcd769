// task<T>: a lazy coroutine, which is run by the task that awaits it.
//
//   task<result<int>> read_answer(stream& peer);
//
//   task<void> client(stream& peer) {
//     auto answer = co_await read_answer(peer);   // starts it here, resumes here
//   }
//
// Nothing runs until a task is awaited or spawned (scope::spawn, shard::spawn). A task is awaited
// at most once, on the shard that runs the awaiting task, and inherits the context of that task,
// its cancellation and its deadline. A task that was started runs to its end; destroying it earlier
// is a programmer's error. An exception that leaves the body comes out of the co_await.
//
// Frames come from the thread's frame pool. Control passes between tasks by symmetric transfer, at
// most as often in a row as the shard's inline budget allows. Hazard: g++ 12 silently miscompiles
// some uses of co_await inside larger expressions; write one co_await a statement
// (docs/COROUTINES.md), and let conpool-check-coroutines look at your files.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

#include <conpool/runtime/detail/assert.h>
#include <conpool/runtime/detail/context.h>
#include <conpool/runtime/detail/frame_pool.h>
#include <conpool/runtime/detail/ready_queue.h>
#include <conpool/runtime/detail/wait_point.h>

namespace conpool {

template <typename T = void>
class task;

namespace detail {

class promise_base : public ready_node {
 public:
  static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
  static void operator delete(void* frame, std::size_t bytes) noexcept {
    deallocate_frame(frame, bytes);
  }

  promise_base() noexcept : ready_node(&promise_base::run_continuation) {}

  // A task waits to be awaited. Here it is also seen whether its frame is laid out as its handle
  // believes. With g++ 12 it is not if a co_await in a condition comes before any local variable,
  // and such a task would not run.
  class first_awaiter {
   public:
    explicit first_awaiter(const promise_base& of) noexcept : promise_(&of) {}
    bool await_ready() const noexcept { return false; }
    template <typename Promise>
    void await_suspend([[maybe_unused]] std::coroutine_handle<Promise> self) const noexcept {
      CONPOOL_ASSERT(&self.promise() == promise_,
                     "g++ 12 compiled this coroutine wrongly, because of a co_await in a "
                     "condition: give its result a name first (docs/COROUTINES.md, rule 1)");
    }
    void await_resume() const noexcept {}

   private:
    const promise_base* promise_;
  };
  first_awaiter initial_suspend() const noexcept { return first_awaiter(*this); }

  struct final_awaiter {
    bool await_ready() const noexcept { return false; }
    template <typename Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) const noexcept {
      promise_base& promise = self.promise();
      ready_queue* queue = ready_queue::current();
      if (queue != nullptr && !queue->spend_inline_budget()) {
        queue->push(promise);
        return std::noop_coroutine();
      }
      return promise.continuation_;
    }
    void await_resume() const noexcept {}
  };
  final_awaiter final_suspend() const noexcept { return {}; }

  void unhandled_exception() noexcept { exception_ = std::current_exception(); }

  context* task_context() const noexcept { return context_; }
  void start_from(std::coroutine_handle<> continuation, context* where) noexcept {
    continuation_ = continuation;
    context_ = where;
  }

 protected:
  void rethrow_if_failed() {
    if (exception_) std::rethrow_exception(std::exchange(exception_, nullptr));
  }

 private:
  static void run_continuation(ready_node& node) noexcept {
    static_cast<promise_base&>(node).continuation_.resume();
  }

  std::coroutine_handle<> continuation_;
  context* context_ = nullptr;
  std::exception_ptr exception_;
};

template <typename T>
class promise final : public promise_base {
 public:
  task<T> get_return_object() noexcept;
  template <typename U>
    requires std::convertible_to<U&&, T>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  T take() {
    rethrow_if_failed();
    return std::move(*value_);
  }

 private:
  std::optional<T> value_;
};

template <>
class promise<void> final : public promise_base {
 public:
  task<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void take() { rethrow_if_failed(); }
};

}  // namespace detail

template <typename T>
class [[nodiscard]] task {
 public:
  using promise_type = detail::promise<T>;
  using value_type = T;
  using handle_type = std::coroutine_handle<promise_type>;

  task(task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~task() { destroy(); }

  class awaiter {
   public:
    explicit awaiter(handle_type handle) noexcept : handle_(handle) {}
    awaiter(awaiter&& other) noexcept : handle_(other.handle_) {}
    bool await_ready() const noexcept { return false; }
    template <typename Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> parent) noexcept {
      handle_.promise().start_from(parent, context_of(parent));
      return handle_;
    }
    [[nodiscard]] T await_resume() { return handle_.promise().take(); }

   private:
    handle_type handle_;
  };
  // The task owns its frame while it is awaited, so it must live that long: await a named task, or
  // the result of a call.
  awaiter operator co_await() const noexcept {
    CONPOOL_ASSERT(handle_ && !handle_.done(), "a task is awaited once");
    return awaiter(handle_);
  }

  // For awaitables that run a task under a context of their own.
  handle_type handle() const noexcept { return handle_; }

 private:
  friend promise_type;
  explicit task(handle_type handle) noexcept : handle_(handle) {}
  void destroy() noexcept {
    if (handle_) handle_.destroy();
    handle_ = nullptr;
  }

  handle_type handle_;
};

// Runs a task in `where` instead of the awaiting task's context.
template <typename T>
class [[nodiscard]] in_context {
 public:
  in_context(context& where, task<T> work) noexcept : where_(&where), work_(std::move(work)) {}
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> parent) noexcept {
    work_.handle().promise().start_from(parent, where_);
    return work_.handle();
  }
  [[nodiscard]] T await_resume() { return work_.handle().promise().take(); }

 private:
  context* where_;
  task<T> work_;
};

namespace detail {

template <typename T>
task<T> promise<T>::get_return_object() noexcept {
  return task<T>(std::coroutine_handle<promise<T>>::from_promise(*this));
}

inline task<void> promise<void>::get_return_object() noexcept {
  return task<void>(std::coroutine_handle<promise<void>>::from_promise(*this));
}

}  // namespace detail

}  // namespace conpool

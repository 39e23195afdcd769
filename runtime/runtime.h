// A set of shards that have threads of their own: one ring for each thread, nothing shared.
//
//   auto rt = runtime::create({.shards = 2}).value();
//   int code = rt->run(serve, std::ref(settings));   // serve() is a task; runs on shard 0; blocks
//   rt->run_on_all(warm_up);                         // warm_up(shard&) is a task; on each; blocks
//
// Create, use and destroy a runtime on a thread that is none of its shards'. stop() and the
// destructor cancel all tasks, wait until nothing runs and the kernel has nothing in flight, and
// join the threads.
//
// A child of fork() cannot use its copy: run() throws std::system_error(errc::forked), and the
// destructor leaves all memory alone, since the threads are not there to end what they did.
//
// The threads block all signals but those that a thread causes itself (SIGSEGV and the like), so
// the process's signals go on reaching the program's own threads. A program that a task starts
// inherits that mask, unless it is set back before the exec.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <semaphore>
#include <span>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/detail/mailbox.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/shard.h>

namespace conpool {

struct runtime_options {
  // How many shards there are, at most 1024; 0 makes one for each core that this process may use.
  unsigned shards = 0;
  // Pins shard i to the i-th core that this process may use, and starts over when there are more
  // shards than cores. Off by default, because a library lives inside other people's processes.
  bool pin = false;
  // For how many descriptors there will be room before the threads start: see
  // make_room_for_descriptors() in kernel.h, which 0 leaves the choice to.
  unsigned descriptors = 0;
  // The options of every shard; the runtime sets each id.
  shard_options shard{};
};

class CONPOOL_API runtime {
 public:
  // Starts the threads, and returns when each of them owns its shard. Errors: those of
  // shard::create and shard::attach, invalid_config, too_many_threads.
  static result<std::unique_ptr<runtime>> create(const runtime_options& options = {});
  ~runtime();
  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;

  unsigned size() const noexcept { return static_cast<unsigned>(shards_.size()); }
  shard& at(unsigned index) noexcept { return *shards_[index]; }

  // Runs function(arguments...), which returns a task<T>, on shard 0 (or on shard `index`) and
  // blocks until it has ended. Returns the task's value, or throws the exception that left it.
  // After stop() it throws std::system_error(errc::shard_stopped).
  template <typename F, typename... Args>
  auto run(F function, Args... arguments) {
    return run_on(0, std::move(function), std::move(arguments)...);
  }
  template <typename F, typename... Args>
  auto run_on(unsigned index, F function, Args... arguments);

  // Runs function(shard&), which returns a task<void>, once on each shard, on all at the same time,
  // and blocks until all have ended. Each shard gets a copy of the function. Throws the first
  // exception that left one of the tasks. If it cannot start on all it starts on none, and throws
  // std::system_error(errc::shard_stopped) or std::bad_alloc.
  template <typename F>
  void run_on_all(F function);

  // Ends everything. A second call does nothing. Throws the first exception that left a task which
  // nobody awaited; the destructor drops it.
  void stop();
  bool stopped() const noexcept { return stopped_flag_->load(std::memory_order_acquire); }
  // Becomes true when the threads have ended. The flag outlives the runtime.
  std::shared_ptr<const std::atomic<bool>> stopped_flag() const noexcept { return stopped_flag_; }

 private:
  template <typename T>
  class job;

  struct letters;

  runtime();
  result<void> start_threads(bool pin);
  void end() noexcept;
  bool forked() const noexcept;
  void abandon() noexcept;
  void thread_main(unsigned index, bool pin) noexcept;
  void note_failure(error why) noexcept;
  void one_has_ended() noexcept;
  // Posts to the shards from `first` on, one item to each. Throws if the runtime has ended.
  void post_jobs(unsigned first, std::span<mail* const> items);

  std::vector<std::unique_ptr<shard>> shards_;
  std::vector<std::unique_ptr<letters>> letters_;  // to each shard, from the runtime itself
  std::vector<std::thread> threads_;
  std::atomic<unsigned> reported_ = 0;  // threads that have attached their shard, or failed to
  std::mutex failure_mutex_;
  std::optional<error> failure_;
  // Shards that run, and one for end(), which has not been called.
  std::atomic<unsigned> running_ = 0;
  std::atomic<bool> ended_ = false;
  std::atomic<unsigned> posting_ = 0;
  std::shared_ptr<std::atomic<bool>> stopped_flag_ = std::make_shared<std::atomic<bool>>(false);
  std::exception_ptr exception_;
};

// A call from outside. It lives on the caller's stack until the shard is done with it.
template <typename T>
class runtime::job : public mail {
 public:
  using stored = std::conditional_t<std::is_void_v<T>, bool, T>;

  job(shard& target, std::move_only_function<task<T>()> body)
      : mail(&job::deliver), target_(&target), body_(std::move(body)) {}

  T wait() {
    done_.acquire();
    if (exception_) std::rethrow_exception(exception_);
    if constexpr (!std::is_void_v<T>) return std::move(*value_);
  }

 private:
  static void deliver(mail& item) noexcept {
    auto& self = static_cast<job&>(item);
    if (self.target_->stopping()) {
      self.exception_ =
          std::make_exception_ptr(std::system_error(make_error_code(errc::shard_stopped)));
      self.done_.release();
      return;
    }
    try {
      self.target_->spawn(&job::run, unbegun(self));
    } catch (...) {  // no memory for the task; `unbegun` has said so
      return;
    }
  }
  // A task is made in two steps, each of which may find no memory. Whoever waits hears of it.
  class unbegun {
   public:
    explicit unbegun(job& of) noexcept : of_(&of) {}
    unbegun(unbegun&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    unbegun& operator=(unbegun&&) = delete;
    ~unbegun() {
      if (of_ == nullptr) return;
      of_->exception_ = std::make_exception_ptr(std::bad_alloc());
      of_->done_.release();
    }
    job& begin() noexcept { return *std::exchange(of_, nullptr); }

   private:
    job* of_;
  };
  static task<void> run(unbegun call) {
    job& self = call.begin();
    try {
      task<T> body = self.body_();
      if constexpr (std::is_void_v<T>) {
        co_await body;
      } else {
        auto value = co_await body;
        self.value_.emplace(std::move(value));
      }
    } catch (...) {
      self.exception_ = std::current_exception();
    }
    self.body_ = nullptr;  // on its own shard
    self.done_.release();  // the caller may free `self` from here on
  }

  shard* target_;
  std::move_only_function<task<T>()> body_;
  std::optional<stored> value_;
  std::exception_ptr exception_;
  std::binary_semaphore done_{0};
};

template <typename F, typename... Args>
auto runtime::run_on(unsigned index, F function, Args... arguments) {
  using task_type = std::invoke_result_t<F&, Args...>;
  using value_type = typename task_type::value_type;
  auto body = [&]() -> task_type {
    return std::invoke(function, std::move(arguments)...);
  };
  job<value_type> call(at(index), std::move_only_function<task_type()>(std::ref(body)));
  mail* const item = &call;
  post_jobs(index, {&item, 1});
  return call.wait();
}

template <typename F>
void runtime::run_on_all(F function) {
  std::vector<F> functions(size(), function);
  std::vector<std::unique_ptr<job<void>>> calls;
  std::vector<mail*> items;
  for (unsigned index = 0; index < size(); ++index) {
    F* const copy = &functions[index];
    shard* const home = shards_[index].get();
    calls.push_back(std::make_unique<job<void>>(
        *home, [copy, home]() -> task<void> { return std::invoke(*copy, *home); }));
    items.push_back(calls.back().get());
  }
  // Nothing may be thrown from here on: what is posted uses all that was made above.
  post_jobs(0, items);
  std::exception_ptr first;
  for (auto& call : calls) {
    try {
      call->wait();
    } catch (...) {
      if (!first) first = std::current_exception();
    }
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace conpool

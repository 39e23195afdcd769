// submit_to(): runs a task on another shard and awaits its result on this one.
//
//   auto count = co_await submit_to(rt.at(1), count_idle, std::ref(pools));   // result<size_t>
//
// It is meant for control (statistics, drain, hand-over), because each call costs two mails and
// perhaps two wake-ups. Call it on a shard's thread. The function runs on the other shard: it and
// its arguments move there, and are destroyed there before the result comes back; what is left of
// them here has been moved from (or copied, if they cannot be moved). A task that returns T
// or result<T> gives result<T>; an exception that leaves it comes out of the co_await. Error:
// shard_stopped, if the other shard is stopping. Cancellation does not cut the wait short, because
// what runs on the other shard may use what the caller owns.
#pragma once

#include <functional>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include <conpool/runtime/detail/compiler_bugs.h>
#include <conpool/runtime/detail/mailbox.h>
#include <conpool/runtime/detail/wait_point.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/shard.h>
#include <conpool/runtime/task.h>

namespace conpool {

namespace detail {

template <typename T>
struct as_result {
  using type = result<T>;
};
template <typename T>
struct as_result<result<T>> {
  using type = result<T>;
};

template <typename T>
class remote_call : public wait_point {
 public:
  using outcome = typename as_result<T>::type;

  remote_call(shard& origin, shard& target, std::move_only_function<task<T>()> body)
      : wait_point(origin, &remote_call::interrupt, errc{}),
        target_(&target),
        body_(std::move(body)),
        request_(*this, &remote_call::arrive),
        reply_(*this, &remote_call::come_back) {}

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> handle) noexcept {
    if (!park(handle, nullptr)) {  // in a child of fork()
      value_.emplace(fail(error(interrupted_by())));
      return false;
    }
    target_->post(request_);
    return true;
  }
  [[nodiscard]] outcome await_resume() {
    if (exception_) std::rethrow_exception(exception_);
    return std::move(*value_);
  }

 private:
  struct letter : mail {
    letter(remote_call& owner, mail::callback deliver) noexcept : mail(deliver), call(&owner) {}
    remote_call* call;
  };

  static void interrupt(wait_point&, errc) noexcept {}

  // On the target.
  static void arrive(mail& item) noexcept {
    remote_call& call = *static_cast<letter&>(item).call;
    if (call.target_->stopping()) {
      call.value_.emplace(fail(error(errc::shard_stopped)));
      call.body_ = nullptr;
      call.home().post(call.reply_);
      return;
    }
    try {
      call.target_->spawn(&remote_call::run, std::ref(call));
    } catch (...) {  // no memory for the task
      call.exception_ = std::current_exception();
      call.body_ = nullptr;
      call.home().post(call.reply_);
    }
  }
  static task<void> run(remote_call& call) {
    try {
      task<T> body = call.body_();
      if constexpr (std::is_void_v<T>) {
        co_await body;
        call.value_.emplace();
      } else {
        auto value = co_await body;
        call.value_.emplace(std::move(value));
      }
    } catch (...) {
      call.exception_ = std::current_exception();
    }
    call.body_ = nullptr;
    call.home().post(call.reply_);
  }

  // Back at the origin.
  static void come_back(mail& item) noexcept { static_cast<letter&>(item).call->wake(); }

  shard* target_;
  std::move_only_function<task<T>()> body_;
  letter request_;
  letter reply_;
  std::optional<outcome> value_;
  std::exception_ptr exception_;
};

}  // namespace detail

namespace detail {

template <typename F, typename... Args>
using submitted_task = std::invoke_result_t<std::decay_t<F>&, std::decay_t<Args>...>;

template <typename Task>
auto run_elsewhere(shard& target, std::move_only_function<Task()> body)
    -> task<typename as_result<typename Task::value_type>::type> {
  remote_call<typename Task::value_type> call(*shard::current(), target, std::move(body));
  auto outcome = co_await call;
  co_return std::move(outcome);
}

}  // namespace detail

template <typename F, typename... Args>
auto submit_to(shard& target, F&& function, Args&&... arguments) -> task<
    typename detail::as_result<typename detail::submitted_task<F, Args...>::value_type>::type> {
  detail::check_beside_co_await<F>();
  using task_type = detail::submitted_task<F, Args...>;
  std::move_only_function<task_type()> body(
      [call = std::decay_t<F>(std::forward<F>(function)),
       with = std::tuple<std::decay_t<Args>...>(
           std::forward<Args>(arguments)...)]() mutable -> task_type {
        return std::apply(
            [&call](std::decay_t<Args>&... each) -> task_type {
              return std::invoke(call, std::move(each)...);
            },
            with);
      });
  return detail::run_elsewhere<task_type>(target, std::move(body));
}

}  // namespace conpool

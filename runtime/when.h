// when_all() and when_any(): tasks side by side, awaited as one.
//
//   auto [user, orders] = co_await when_all(load_user(db, id), load_orders(db, id));
//   std::vector<task<result<page>>> fetches;
//   ...
//   auto pages = co_await when_all(std::move(fetches));       // std::vector<result<page>>
//   auto first = co_await when_any(std::move(fetches));       // first.index, first.value
//
// The tasks run on the shard of the task that awaits, begin in their order, and inherit its
// cancellation and its deadline. All of them have ended before the co_await returns, so they may
// use what the awaiting task owns. A void task gives std::monostate.
//
// when_all() gives what each returned. An error in a result is a value like another and disturbs
// nobody. If a task throws, the others are cancelled, and when they have ended the first exception
// comes out. Of no tasks it gives an empty tuple or vector, at once.
//
// when_any() gives what the task returned that ended first, and which it was, or throws what that
// task threw: a failure is an end, too. The others are cancelled, those that have not begun are
// never begun, and what they return or throw is dropped. Of different tasks it gives a std::variant
// whose index() tells which. Of an empty vector it throws
// std::system_error(errc::invalid_argument).
//
// Each task costs two coroutine frames besides its own. With g++ 12, too, the tasks may be made in
// the statement that awaits. If there is no memory for all of them, std::bad_alloc comes out when
// those that had begun have been cancelled and have ended.
#pragma once

#include <cstddef>
#include <exception>
#include <optional>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <conpool/runtime/detail/assert.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/scope.h>
#include <conpool/runtime/shard.h>
#include <conpool/runtime/task.h>

namespace conpool {

// The task of a vector that ended first.
template <typename T>
struct first_of {
  std::size_t index = 0;
  T value;
};

namespace detail {

template <typename T>
using awaited_value = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

// --- when_all

// Of one task of several: leaves the value in its place. The scope keeps the first exception.
template <typename T>
task<void> run_one_of_all(task<T> work, std::optional<awaited_value<T>>& into, scope& all) {
  try {
    if constexpr (std::is_void_v<T>) {
      co_await work;
      into.emplace();
    } else {
      auto value = co_await work;
      into.emplace(std::move(value));
    }
  } catch (...) {
    all.cancel();
    throw;
  }
}

// --- when_any

template <typename Value>
struct race {
  explicit race(scope& of) noexcept : all(&of) {}

  bool over() const noexcept { return winner.has_value() || thrown != nullptr; }
  Value take() {
    if (thrown) std::rethrow_exception(thrown);
    return std::move(*winner);
  }

  scope* all;
  std::optional<Value> winner;
  std::exception_ptr thrown;
};

// Of one task of several. `make` turns its value into the race's.
template <typename Value, typename T, typename Make>
task<void> run_one_of_any(task<T> work, race<Value>& in, Make make) {
  if (in.over()) co_return;
  try {
    if constexpr (std::is_void_v<T>) {
      co_await work;
      if (!in.over()) in.winner.emplace(make(std::monostate()));
    } else {
      auto value = co_await work;
      if (!in.over()) in.winner.emplace(make(std::move(value)));
    }
  } catch (...) {
    if (!in.over()) in.thrown = std::current_exception();
  }
  in.all->cancel();
}

// --- both

// Spawns a task that is made already: all memory that it takes to begin is there.
inline void spawn_made(scope& children, task<void> made) {
  children.spawn([work = std::move(made)]() mutable { return std::move(work); });
}

// Spawns by `spawn_all(scope&)`. If not all could be spawned, cancels those that were, and returns
// why.
template <typename F>
std::exception_ptr spawn_or_cancel(scope& children, F spawn_all) {
  try {
    spawn_all(children);
    return nullptr;
  } catch (...) {
    children.cancel();
    return std::current_exception();
  }
}

}  // namespace detail

template <typename... T>
task<std::tuple<detail::awaited_value<T>...>> when_all(task<T>... work) {
  std::tuple<std::optional<detail::awaited_value<T>>...> values;
  scope children(*shard::current());
  const auto spawn_all = [&](scope& all) {
    std::apply(
        [&](auto&... into) {
          (detail::spawn_made(all, detail::run_one_of_all<T>(std::move(work), into, all)), ...);
        },
        values);
  };
  const std::exception_ptr failed = detail::spawn_or_cancel(children, spawn_all);
  co_await children.join();
  if (failed) std::rethrow_exception(failed);
  const auto take_all = [](auto&... each) {
    return std::tuple<detail::awaited_value<T>...>(std::move(*each)...);
  };
  co_return std::apply(take_all, values);
}

template <typename T>
task<std::vector<detail::awaited_value<T>>> when_all(std::vector<task<T>> work) {
  std::vector<std::optional<detail::awaited_value<T>>> values(work.size());
  scope children(*shard::current());
  const auto spawn_all = [&](scope& all) {
    for (std::size_t index = 0; index < work.size(); ++index) {
      detail::spawn_made(all,
                         detail::run_one_of_all<T>(std::move(work[index]), values[index], all));
    }
  };
  const std::exception_ptr failed = detail::spawn_or_cancel(children, spawn_all);
  co_await children.join();
  if (failed) std::rethrow_exception(failed);
  std::vector<detail::awaited_value<T>> all;
  all.reserve(values.size());
  for (auto& one : values) all.push_back(std::move(*one));
  co_return std::move(all);
}

namespace detail {

template <typename Race, typename... T, std::size_t... Index>
void spawn_race(scope& all, Race& in, std::index_sequence<Index...>, task<T>&... work) {
  using variant = std::variant<awaited_value<T>...>;
  const auto spawn_one = [&]<std::size_t At, typename One>(task<One>& one) {
    const auto make = [](awaited_value<One> value) {
      return variant(std::in_place_index<At>, std::move(value));
    };
    spawn_made(all, run_one_of_any<variant>(std::move(one), in, make));
  };
  (spawn_one.template operator()<Index>(work), ...);
}

}  // namespace detail

template <typename... T>
  requires(sizeof...(T) > 0)
task<std::variant<detail::awaited_value<T>...>> when_any(task<T>... work) {
  scope children(*shard::current());
  detail::race<std::variant<detail::awaited_value<T>...>> in(children);
  const auto spawn_all = [&](scope& all) {
    detail::spawn_race(all, in, std::index_sequence_for<T...>(), work...);
  };
  const std::exception_ptr failed = detail::spawn_or_cancel(children, spawn_all);
  co_await children.join();
  if (failed) std::rethrow_exception(failed);
  co_return in.take();
}

template <typename T>
task<first_of<detail::awaited_value<T>>> when_any(std::vector<task<T>> work) {
  using value_type = first_of<detail::awaited_value<T>>;
  if (work.empty()) throw std::system_error(make_error_code(errc::invalid_argument));
  scope children(*shard::current());
  detail::race<value_type> in(children);
  const auto spawn_all = [&](scope& all) {
    for (std::size_t index = 0; index < work.size(); ++index) {
      const auto make = [index](detail::awaited_value<T> value) {
        return value_type{index, std::move(value)};
      };
      detail::spawn_made(all, detail::run_one_of_any<value_type>(std::move(work[index]), in, make));
    }
  };
  const std::exception_ptr failed = detail::spawn_or_cancel(children, spawn_all);
  co_await children.join();
  if (failed) std::rethrow_exception(failed);
  co_return in.take();
}

}  // namespace conpool

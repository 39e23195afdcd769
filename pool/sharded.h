// One instance of T on each shard of a runtime, such as sharded<pool> or a service of your own.
//
//   auto pools = sharded<pool>::create(*rt, config).value();    // outside of the shards
//   rt->run([&]() -> task<void> {
//     auto lease = co_await pools.local().acquire(endpoint);    // this shard's own pool
//   });
//   pool_stats sum = pools.totals();                            // outside; or on a shard:
//   auto all = co_await pools.gather(&pool::totals);            // result<std::vector<pool_stats>>
//
// T is any type that can be made on a shard. It is never moved once it is made there, so it may
// have a scope for a member, and pools that the scope's tasks use:
//
//   class service {
//    public:
//     explicit service(shard& home) : clients_(home) {}
//     task<void> close() { co_await clients_.close(); }      // awaited before the destructor
//
// Each instance is made, used and destroyed on its own shard, so an acquire shares nothing with
// other threads. The object itself is owned outside of the shards. It may outlive the runtime's
// threads, since their shards close the instances when they stop; local() and gather() need them.
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include <conpool/pool/pool.h>
#include <conpool/runtime/runtime.h>
#include <conpool/runtime/submit.h>

namespace conpool {

template <typename T>
class sharded {
 public:
  // Makes a T on each shard: by T::create(shard&, arguments...), which returns a result<T> or a
  // result<std::unique_ptr<T>>, or if T has none by its constructor T(shard&, arguments...). To be
  // called from outside of the shards; it blocks. Errors: the first one that a create returned, and
  // then those that were made are closed and destroyed. Throws what a constructor threw.
  template <typename... Args>
  static result<sharded> create(runtime& home, const Args&... arguments) {
    sharded made(home);
    for (unsigned index = 0; index < home.size(); ++index) {
      auto one = home.run_on(index, [&home, index, &arguments...]() -> task<made_on_shard> {
        co_return make(home.at(index), arguments...);
      });
      if (!one) return fail(std::move(one.error()));
      made.instances_.push_back(std::move(*one));
    }
    return made;
  }
  sharded(sharded&&) noexcept = default;
  sharded& operator=(sharded&&) = delete;
  // To be called from outside of the shards; it blocks until each instance is destroyed on its
  // shard. If T has a close() that is a task<void>, it is awaited first, and what it throws is
  // dropped. A shard that has stopped has ended all tasks, and then the instances are only
  // destroyed.
  ~sharded();

  std::size_t size() const noexcept { return instances_.size(); }
  // The instance of the shard that runs here.
  T& local() noexcept {
    CONPOOL_ASSERT(shard::current() != nullptr, "local() is for a shard's thread");
    return *instances_[shard::current()->id()];
  }
  // The instance of shard `index`; to be used on that shard only.
  T& on(unsigned index) noexcept { return *instances_[index]; }

  // On a shard: calls function(T&) on every shard and gathers what it returns, in the shards'
  // order. Errors: shard_stopped.
  template <typename F>
  auto gather(F&& function) -> task<result<std::vector<std::invoke_result_t<F&, T&>>>> {
    detail::check_beside_co_await<F>();
    return gather_each<std::decay_t<F>>(std::forward<F>(function));
  }

  // The sums over all shards. To be called from outside of the shards; it blocks. Throws
  // std::system_error after stop().
  auto totals()
    requires requires(T& one) { one.totals(); }
  {
    auto gathered = home_->run([this]() { return gather(&T::totals); });
    auto sum = typename std::remove_cvref_t<decltype(gathered)>::value_type::value_type{};
    using sum_type = decltype(sum);
    if (!gathered) throw std::system_error(gathered.error().code());
    for (const sum_type& one : *gathered) sum += one;
    return sum;
  }

 private:
  using made_on_shard = result<std::unique_ptr<T>>;

  explicit sharded(runtime& home) : home_(&home), stopped_(home.stopped_flag()) {}

  template <typename... Args>
  static made_on_shard make(shard& home, const Args&... arguments) {
    if constexpr (requires { T::create(home, arguments...); }) {
      auto made = T::create(home, arguments...);
      if constexpr (std::is_same_v<decltype(made), made_on_shard>) {
        return made;
      } else {
        if (!made) return fail(std::move(made.error()));
        return std::make_unique<T>(std::move(*made));
      }
    } else {
      return std::make_unique<T>(home, arguments...);
    }
  }

  template <typename F>
  auto gather_each(F function) -> task<result<std::vector<std::invoke_result_t<F&, T&>>>>;
  template <typename F>
  static auto call(F function, T* instance) -> task<std::invoke_result_t<F&, T&>> {
    co_return std::invoke(function, *instance);
  }

  runtime* home_;
  std::shared_ptr<const std::atomic<bool>> stopped_;
  std::vector<std::unique_ptr<T>> instances_;
};

template <typename T>
sharded<T>::~sharded() {
  for (unsigned index = 0; index < instances_.size(); ++index) {
    std::unique_ptr<T> one = std::move(instances_[index]);
    if (one == nullptr) continue;
    // After the threads ended anyone may destroy it: its shard closed it.
    if (stopped_->load(std::memory_order_acquire)) continue;
    home_->run_on(index, [&one]() -> task<void> {
      if constexpr (requires { requires std::same_as<decltype(one->close()), task<void>>; }) {
        try {
          auto closing = one->close();
          co_await closing;
        } catch (...) {  // NOLINT(bugprone-empty-catch): a destructor has nobody to throw to
        }
      }
      one.reset();
      co_return;
    });
  }
}

template <typename T>
template <typename F>
auto sharded<T>::gather_each(F function)
    -> task<result<std::vector<std::invoke_result_t<F&, T&>>>> {
  std::vector<std::invoke_result_t<F&, T&>> all;
  for (unsigned index = 0; index < instances_.size(); ++index) {
    T* const instance = instances_[index].get();
    auto one = co_await submit_to(home_->at(index), &sharded::call<F>, function, instance);
    if (!one) co_return fail(std::move(one.error()));
    all.push_back(std::move(*one));
  }
  co_return std::move(all);
}

}  // namespace conpool

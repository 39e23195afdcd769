// Turns a shard from a test until something has happened.
//
// Nothing here waits for time to pass. The bound is a number of turns, far above what any test
// needs, and a turn sleeps only as long as the kernel has nothing to say, and for turn_wait at
// most.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include <conpool/runtime/shard.h>
#include <conpool/runtime/task.h>

namespace conpool::test {

inline constexpr unsigned turns_max = 20'000;
inline constexpr duration turn_wait = std::chrono::milliseconds(1);

// Turns `home` until done() is true; between() is called before each turn, for a peer that lives on
// this thread. Returns false if done() never was true.
template <typename Done, typename Between>
bool run_until(shard& home, Done done, Between between) {
  for (unsigned turns = 0; turns < turns_max; ++turns) {
    if (done()) return true;
    between();
    home.run_once(turn_wait);
  }
  return done();
}
template <typename Done>
bool run_until(shard& home, Done done) {
  return run_until(home, std::move(done), [] {});
}

// Turns `home` a few times without sleeping, so that everything happens that can happen now.
inline void settle(shard& home) {
  for (unsigned turns = 0; turns < 8; ++turns) home.run_once(duration::zero());
}

namespace detail {
template <typename T>
task<void> keep(task<T> body, std::shared_ptr<std::optional<T>> into) {
  auto value = co_await body;
  into->emplace(std::move(value));
}
inline task<void> note_end(task<void> body, std::shared_ptr<bool> ended) {
  co_await body;
  *ended = true;
}
}  // namespace detail

// Spawns `body` on `home`; the pointer holds its result once it has ended.
template <typename T>
std::shared_ptr<std::optional<T>> start_on(shard& home, task<T> body) {
  auto into = std::make_shared<std::optional<T>>();
  home.spawn(detail::keep<T>, std::move(body), into);
  return into;
}

// Turns `home` until `body` has ended. Returns its result, or nothing if it never ended.
template <typename T>
std::optional<T> run_on(shard& home, task<T> body) {
  const auto into = start_on(home, std::move(body));
  run_until(home, [&] { return into->has_value(); });
  return std::move(*into);
}
inline bool run_on(shard& home, task<void> body) {
  const auto ended = std::make_shared<bool>(false);
  home.spawn(detail::note_end, std::move(body), ended);
  return run_until(home, [&] { return *ended; });
}

}  // namespace conpool::test

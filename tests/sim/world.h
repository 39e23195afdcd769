// A shard on a simulated network, in one object: what a run of the simulation starts from.
//
//   sim::world here(seed);
//   sim::server& peer = here.net().add_server("10.0.0.1", 1000);
//   auto talk = [&]() -> task<void> { ... };
//   EXPECT_TRUE(here.run(talk));                // to its end, in virtual time
//   here.pass(10s);
//   here.end();                                 // stops the shard, checks that nothing is left
//
// A test that tries many seeds makes one after the other. sim_fixture.h has one for each test.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <conpool/runtime/shard.h>
#include <conpool/runtime/task.h>

#include <tests/sim/kernel/network.h>
#include <tests/support/expect.h>

namespace conpool::sim {

class world {
 public:
  explicit world(std::uint64_t seed, shard_options options = {}) : net_(seed) {
    options.clock = &net_.clock();
    // 0 would take a seed from the system.
    options.seed = seed != 0 ? seed : 1;
    auto made = shard::create(options);
    if (!made) misuse("shard::create: " + made.error().message());
    home_ = std::move(*made);
    if (!home_->attach()) misuse("shard::attach failed");
  }
  ~world() { end(); }
  world(const world&) = delete;
  world& operator=(const world&) = delete;

  network& net() noexcept { return net_; }
  shard& home() noexcept { return *home_; }
  conpool::ring& ring() noexcept { return home_->ring(); }
  time_point now() noexcept { return net_.now(); }

  // Turns until done() is true, or `most` virtual time is over: then false. Time passes only when
  // nothing is left to do, so it stands where done() became true.
  template <typename Done>
  bool until(Done done, duration most = std::chrono::minutes(10)) {
    const time_point limit = saturating_add(now(), most);
    for (unsigned turns = 0; turns < turns_max; ++turns) {
      if (done()) return true;
      if (home_->run_once(duration::zero())) continue;
      if (done()) return true;
      if (now() >= limit) return false;
      home_->run_once(limit - now());
    }
    return done();
  }
  // Runs a coroutine without parameters to its end; the closure lives as long as it runs.
  bool run(std::function<task<void>()> body, duration most = std::chrono::minutes(10)) {
    const std::shared_ptr<bool> ended = start(std::move(body));
    return until([&] { return *ended; }, most);
  }
  // Starts one beside the test; what it returns becomes true when it is over.
  std::shared_ptr<bool> start(std::function<task<void>()> body) {
    auto ended = std::make_shared<bool>(false);
    home_->spawn(
        [](std::function<task<void>()> kept, std::shared_ptr<bool> done) -> task<void> {
          auto work = kept();
          co_await work;
          *done = true;
        },
        std::move(body), ended);
    return ended;
  }
  // Lets virtual time pass, and everything happen meanwhile.
  void pass(duration time) {
    const time_point until_then = now() + time;
    while (now() < until_then) home_->run_once(until_then - now());
    settle();
  }
  // What can happen without time passing happens.
  void settle() {
    for (unsigned turns = 0; turns < 8; ++turns) home_->run_once(duration::zero());
  }

  // Stops the shard and frees it: nothing is in flight then, and every descriptor is closed.
  void end() {
    if (!home_) return;
    home_->stop();
    EXPECT_TRUE(until([this] { return home_->stopped(); })) << trouble();
    EXPECT_EQ(home_->ring().in_flight(), 0U) << trouble();
    home_.reset();
    EXPECT_EQ(net_.open_descriptors(), 0U) << trouble();
  }
  // For a message: which run it was.
  std::string trouble() const {
    return "seed " + std::to_string(net_.seed()) + "; open: " + net_.sockets().describe();
  }

 private:
  static constexpr unsigned turns_max = 2'000'000;

  network net_;
  std::unique_ptr<shard> home_;
};

// The seeds of a test that tries many: 1 to `count`, or those that CONPOOL_SIM_SEED (the first) and
// CONPOOL_SIM_RUNS (how many) name.
struct seed_range {
  explicit seed_range(std::uint64_t count) : first(1), end(1 + count) {
    const char* const from = std::getenv("CONPOOL_SIM_SEED");
    const char* const runs = std::getenv("CONPOOL_SIM_RUNS");
    if (from != nullptr) first = std::strtoull(from, nullptr, 10);
    if (runs != nullptr) count = std::strtoull(runs, nullptr, 10);
    end = first + (from != nullptr && runs == nullptr ? 1 : count);
  }
  std::uint64_t first;
  std::uint64_t end;  // one after the last
};

}  // namespace conpool::sim

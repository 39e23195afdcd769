// A pool on the simulated network, and callers who wait for its connections.
//
//   server& peer = net().add_server("10.0.0.1", 1000, takes(50ms));
//   configure({.max_connections_per_endpoint = 2});
//   caller& one = call(peer);                   // begins to wait
//   here().pass(60ms);
//   EXPECT_TRUE(one.got);
//
// At the end of a test the pool is closed and what callers hold is given back; then every
// connection that was created must have been closed.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <conpool/pool/pool.h>
#include <conpool/runtime/scope.h>

#include <tests/sim/sim_fixture.h>

namespace conpool::sim {

inline endpoint at(const server& to) {
  return endpoint::parse("tcp://" + to.address().to_string()).value();
}

// A server where a connect, and the answer to a request, takes exactly so long.
inline server_plan takes(duration round_trip) {
  server_plan plan;
  plan.latency_least = plan.latency_most = round_trip / 2;
  plan.in_pieces = 0;
  return plan;
}

class pool_fixture : public sim_fixture {
 protected:
  struct caller {
    result<lease> got = fail(error(errc::invalid_argument));
    bool ended = false;
    time_point when{};  // it ended
  };

  void TearDown() override {
    if (backends_) {
      EXPECT_TRUE(here().run([this]() -> task<void> {
        auto closed = co_await backends_->close();
        EXPECT_TRUE(closed);
      }));
      here().settle();  // who waited has heard of it
      callers_.clear();
      EXPECT_TRUE(here().until([this] { return totals().created == totals().closed(); }));
      backends_.reset();
    }
    sim_fixture::TearDown();
  }

  void configure(const pool_config& config) {
    auto made = pool::create(home(), config);
    ASSERT_TRUE(made) << made.error().message();
    backends_ = std::make_unique<pool>(std::move(*made));
  }
  pool& backends() { return *backends_; }
  pool_stats totals() { return backends_->totals(); }
  std::uint64_t closed(close_reason why) { return totals().closed(why); }
  // Connections that stand.
  std::uint32_t standing() { return totals().idle + totals().active; }

  // The reference stays valid.
  caller& call(const server& to, acquire_options options = {}) {
    return call_in(nullptr, to, options);
  }
  caller& call_in(scope* where, const server& to, acquire_options options = {}) {
    caller& made = callers_.emplace_back();
    auto body = [](pool_fixture* self, endpoint peer, acquire_options how,
                   caller* into) -> task<void> {
      into->got = co_await self->backends().acquire(peer, how);
      into->ended = true;
      into->when = self->home().now();
    };
    if (where != nullptr) {
      where->spawn(body, this, at(to), options, &made);
    } else {
      home().spawn(body, this, at(to), options, &made);
    }
    return made;
  }
  // A caller that has got its connection.
  caller& hold(const server& to) {
    caller& made = call(to);
    EXPECT_TRUE(here().until([&] { return made.ended; }));
    EXPECT_TRUE(made.got) << made.got.error().message();
    return made;
  }
  // `count` idle connections.
  void make_idle(const server& to, unsigned count) {
    std::deque<caller*> held;
    for (unsigned i = 0; i < count; ++i) held.push_back(&hold(to));
    for (caller* one : held) one->got->release();
    here().settle();
  }
  // How an acquire ends.
  std::optional<error> failure_of(const server& to, acquire_options options = {}) {
    caller& one = call(to, options);
    EXPECT_TRUE(here().until([&] { return one.ended; }));
    if (!one.got) return one.got.error();
    one.got->release();
    return std::nullopt;
  }
  // Lets time pass, and calls look() at each moment at which something happens.
  template <typename Look>
  void watch(duration time, Look look) {
    const time_point end = here().now() + time;
    while (here().now() < end) {
      look();
      home().run_once(end - here().now());
      here().settle();
    }
    look();
  }

 private:
  std::unique_ptr<pool> backends_;
  std::deque<caller> callers_;
};

}  // namespace conpool::sim

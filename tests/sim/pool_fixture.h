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

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include <conpool/pool/pool.h>
#include <conpool/runtime/scope.h>

#include <tests/sim/sim_fixture.h>
#include <tests/support/pool_on.h>

namespace conpool::sim {

using test::says;

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

class pool_fixture : public test::pool_on<sim_fixture> {
 protected:
  void TearDown() override {
    if (has_pool()) {
      close_pool();
      settle();  // who waited has heard of it
      release_all();
      EXPECT_TRUE(until([this] { return totals().created == totals().closed(); }));
      free_pool();
    }
    sim_fixture::TearDown();
  }

  // Connections that stand.
  std::uint32_t standing() { return totals().idle + totals().active; }

  using pool_on::call;
  using pool_on::call_in;
  using pool_on::failure_of;
  caller& call(const server& to, const acquire_options& options = {}) {
    return call(at(to), options);
  }
  caller& call_in(scope* where, const server& to, const acquire_options& options = {}) {
    return call_in(where, at(to), options);
  }
  std::optional<error> failure_of(const server& to, const acquire_options& options = {}) {
    return failure_of(at(to), options);
  }
  // A caller that has got its connection.
  caller& hold(const endpoint& to, const acquire_options& options = {}) {
    caller& made = call(to, options);
    EXPECT_TRUE(until([&] { return made.ended; }));
    EXPECT_OK(made.got);
    return made;
  }
  caller& hold(const server& to) { return hold(at(to)); }
  // `count` idle connections.
  void make_idle(const server& to, unsigned count) {
    std::deque<caller*> held;
    for (unsigned i = 0; i < count; ++i) held.push_back(&hold(to));
    for (caller* one : held) one->got->release();
    settle();
  }
  // Lets time pass, and calls look() at each moment at which something happens.
  template <typename Look>
  void watch(duration time, Look look) {
    const time_point end = here().now() + time;
    while (here().now() < end) {
      look();
      home().run_once(end - here().now());
      settle();
    }
    look();
  }
};

}  // namespace conpool::sim

// A simulated network in virtual time, for running the library without a kernel.
//
// Programs that link tests/sim instead of the library's ring.cpp, socket_calls.cpp
// and kernel.cpp run the same pool and runtime code on it. Make a network before a shard: it is the
// current one of its thread until it is destroyed, and rings made meanwhile belong to it. It must
// outlive them, and everything stays on that one thread (several shards may share it).
//
//   sim::network net(4711);
//   net.add_server("10.0.0.1", 1000, {.close_idle = 0.1});
//   net.faults().partial_send = 0.5;
//   shard_options options;
//   options.clock = &net.clock();
//   options.seed = net.seed();
//   auto home = shard::create(options);          // see world.h for all this in one object
//
// The network owns the clock: it moves when a ring waits and nothing is there, straight to the next
// thing that happens, and by the time calls take (fault_plan::call_most). Everything is drawn from
// the seed, and nothing depends on addresses in memory or on real time: one seed, one run, which
// trace_hash() tells apart. With CONPOOL_SIM_TRACE in the environment it tells what happens.
//
// It also watches how the library uses the kernel, and ends the program where a kernel would
// misbehave silently: a descriptor closed with an operation on it, or used after that; two receives
// or two sends on one socket; a receive buffer given back twice; a ring freed with something in
// flight. Names are not simulated (c-ares has sockets of its own): use numeric addresses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <conpool/runtime/address.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/random.h>

#include <tests/sim/kernel/plan.h>
#include <tests/sim/kernel/server.h>
#include <tests/sim/kernel/sockets.h>

namespace conpool::sim {

class uring;

class network {
 public:
  explicit network(std::uint64_t seed);
  ~network();
  network(const network&) = delete;
  network& operator=(const network&) = delete;

  // The one of this thread; ends the program if there is none.
  static network& current();

  std::uint64_t seed() const noexcept { return seed_; }
  manual_clock& clock() noexcept { return clock_; }
  time_point now() noexcept { return clock_.now(); }
  fault_plan& faults() noexcept { return faults_; }

  // The reference is valid as long as the network. `host` is an IPv4 or IPv6 address.
  server& add_server(const std::string& host, std::uint16_t port, server_plan plan = {});
  server& add_server(const socket_address& at, server_plan plan);
  server& server_at(std::size_t number) { return *servers_[number]; }
  std::size_t servers() const noexcept { return servers_.size(); }

  // Something that happens later, in virtual time. It may come in the middle of the library's turn,
  // so it may act on the network only.
  void at(time_point when, std::function<void()> what);
  void after(duration time, std::function<void()> what) { at(now() + time, std::move(what)); }

  // The descriptors and what is behind them; see there for what a test may ask.
  socket_table& sockets() noexcept { return sockets_; }
  const socket_table& sockets() const noexcept { return sockets_; }
  std::size_t open_descriptors() const noexcept { return sockets_.open(); }

  // Changes with each completion that a ring delivers: what it was, its result, and when.
  std::uint64_t trace_hash() const noexcept { return trace_; }
  std::uint64_t completions() const noexcept { return completions_; }

  // Draws. A test that wants numbers of its own makes a random_source of its own from the seed.
  bool chance(double probability) noexcept;
  std::uint64_t below(std::uint64_t bound) noexcept { return random_.below(bound); }
  duration up_to(duration most) noexcept;

  // Prints what(), a string, if CONPOOL_SIM_TRACE is set.
  template <typename What>
  void say(What what) {
    if (tells_) tell(what());
  }

  // --- For the simulated rings.
  unsigned add_ring(uring& made);
  void remove_ring(unsigned number) noexcept { rings_.erase(number); }
  uring* ring(unsigned number) noexcept;
  uring* ring_of(int ring_fd) noexcept;
  void descriptor_changed(int fd);
  server* find_server(const socket_address& at) noexcept;
  void completed(std::uint64_t what, int result, unsigned flags) noexcept;
  // A call that takes time.
  void spend();
  // Lets everything happen that is due.
  void run_due();
  // Moves to the next thing that happens, and lets it; or to `limit`, and returns false.
  bool advance(time_point limit);

 private:
  void tell(const std::string& what);
  void run_first();

  std::uint64_t seed_;
  manual_clock clock_;
  random_source random_;
  fault_plan faults_;
  socket_table sockets_;
  std::vector<std::unique_ptr<server>> servers_;
  std::map<std::string, server*> by_address_;
  std::map<unsigned, uring*> rings_;
  unsigned last_ring_ = 0;
  // In order of time, then of being planned.
  std::map<std::pair<time_point, std::uint64_t>, std::function<void()>> events_;
  std::uint64_t last_event_ = 0;
  std::uint64_t trace_ = 0xcbf29ce484222325;
  std::uint64_t completions_ = 0;
  bool tells_;
  network* outer_;
};

// Ends the program: the library did what a kernel would not forgive.
[[noreturn]] void misuse(const std::string& what);

}  // namespace conpool::sim

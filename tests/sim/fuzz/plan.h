// What one run of the fuzz is made of, drawn from its seed: the pool's configuration, the servers,
// the faults, the protocol, and how its clients and its operator behave.
#pragma once

#include <cstdint>

#include <conpool/pool/config.h>
#include <conpool/runtime/detail/random.h>
#include <conpool/runtime/kernel.h>

#include <tests/sim/kernel/plan.h>

namespace conpool::sim::fuzz {

enum class speech : std::uint8_t {
  none,             // a pool without a protocol
  talkative,        // every hook that is no coroutine, and a hello and a ping
  careful,          // on_release as a coroutine, and a run() that waits
  shared,           // several leases at once, read by run()
  shared_or_alone,  // some connections shared, some not, no reader
};

// What goes wrong around the pool.
enum class weather : std::uint8_t {
  calm,      // nothing: what is promised in order comes in order
  restless,  // servers end connections that nobody uses
  outages,   // servers go down and come up again
  storm,     // anything may fail
};

struct plan {
  explicit plan(std::uint64_t seed);

  bool calm() const noexcept { return sky == weather::calm; }
  bool storm() const noexcept { return sky == weather::storm; }

  bool pings() const noexcept { return spoken != speech::none && spoken != speech::shared; }
  bool shares() const noexcept {
    return spoken == speech::shared || spoken == speech::shared_or_alone;
  }
  // Bytes that come back are those of the request: nobody else ever writes or reads there.
  bool checks_content() const noexcept {
    return !shares() && !config.reuse_unanswered && server.greeting.empty();
  }

  speech spoken;
  weather sky;
  unsigned servers;
  unsigned clients;
  duration rest_most;  // of a client between two visits
  unsigned steps;
  bool by_shard_stop;  // how it ends
  ring_options ring;
  pool_config config;
  server_plan server;
  fault_plan faults;
};

// Every field of a configuration, within what the plan's protocol and weather allow.
pool_config draw_config(random_source& dice, const plan& within);

}  // namespace conpool::sim::fuzz

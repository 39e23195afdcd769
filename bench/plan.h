// One run of the harness, fully decided: which servers, how many clients, how large their messages
// are, and for how long they run.
//
// A plan is made once from the command line (options.h); after that, every shard only reads it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <bench/presets.h>
#include <conpool/pool/config.h>
#include <conpool/pool/endpoint.h>

namespace conpool::bench {

enum class wire_protocol : std::uint8_t {
  echo,   // the peer sends every byte back
  redis,  // a request is a SET and then a GET of the same key
};

const char* to_string(wire_protocol value) noexcept;

struct run_plan {
  std::string name;  // of the preset, or "custom"
  wire_protocol protocol = wire_protocol::echo;
  validation_policy validation = validation_policy::watch;
  bool tls = false;  // with the embedded servers, or to any of the endpoints

  // The servers to use. If there are none, `servers` embedded ones are started.
  std::vector<endpoint> endpoints;
  unsigned servers = 1;

  unsigned shards = 1;
  unsigned server_shards = 1;        // for the embedded servers, in a runtime of their own
  std::uint32_t clients = 1;         // in all, over all shards
  std::uint32_t parallel = 1;        // how many of them run at once
  std::uint64_t messages = 1;        // for each client; ignored with a duration
  std::uint32_t message_bytes = 64;  // sent, returned and compared
  std::uint32_t pool_size = 1;       // connections to one endpoint on one shard

  // If not 0, each of the parallel clients runs for this long.
  std::chrono::nanoseconds duration{0};
  // If not 0, all clients together make requests at this rate, instead of as fast as they can.
  double rate_per_s = 0;

  bool timed() const noexcept { return duration.count() > 0; }
  // How many requests the run will make; 0 if its duration decides.
  std::uint64_t requests() const noexcept { return timed() ? 0 : clients * messages; }
};

// The plan of a preset without any changes.
run_plan plan_of(const preset& load);

}  // namespace conpool::bench

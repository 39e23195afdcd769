// The loads that conpool-bench knows by name: those of the stress test of Conpool, the OCaml
// library that this one follows, so that the two can be compared; and one with sixteen servers.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace conpool::bench {

struct preset {
  std::string_view name;
  std::uint32_t servers;
  std::uint32_t clients_per_server;
  std::uint32_t messages_per_client;
  std::uint32_t parallel_clients;  // how many clients run at once, over all shards
  std::uint32_t message_bytes;
  std::uint32_t pool_size;  // connections to one endpoint on one shard

  constexpr std::uint32_t clients() const noexcept { return servers * clients_per_server; }
  constexpr std::uint64_t requests() const noexcept {
    return std::uint64_t{clients()} * messages_per_client;
  }
};

// The presets in the order in which `--preset all` runs them.
std::span<const preset> all_presets() noexcept;

// The preset that runs if none is asked for, and that a custom run starts from.
const preset& default_preset() noexcept;

// Returns null if no preset has that name.
const preset* find_preset(std::string_view name) noexcept;

}  // namespace conpool::bench

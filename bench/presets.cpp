#include <bench/presets.h>

#include <array>

namespace conpool::bench {
namespace {

// clang-format off
constexpr std::array<preset, 8> presets{{
    // name                servers  clients  messages  parallel  bytes  pool
    {"high_reuse",               2,      20,       50,       10,    32,    3},
    {"many_endpoints",          10,      10,       10,       50,    64,    5},
    {"high_concurrency",         3,     100,        5,      100,    64,   20},
    {"large_messages",           3,      20,       20,       30,  1024,   10},
    {"constrained_pool",         2,      50,       10,       50,    64,    2},
    {"burst_traffic",            5,     200,        2,      100,    32,   15},
    {"extended_stress",         30,    1000,      100,      500,   128,   50},
    {"sixteen_servers",         16,     125,       25,      200,    64,    5},
}};
// clang-format on

static_assert(presets[7].requests() == 50'000);

}  // namespace

std::span<const preset> all_presets() noexcept {
  return presets;
}

const preset& default_preset() noexcept {
  return presets.front();
}

const preset* find_preset(std::string_view name) noexcept {
  for (const preset& each : presets) {
    if (each.name == name) return &each;
  }
  return nullptr;
}

}  // namespace conpool::bench

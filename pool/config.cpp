#include <conpool/pool/config.h>

#include <cstddef>
#include <string>
#include <variant>

namespace conpool {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

using count_field = std::uint32_t pool_config::*;
using duration_field = milliseconds pool_config::*;

// What one field may hold. Counts and milliseconds are compared as the same 64-bit numbers.
struct rule {
  const char* name;
  std::variant<count_field, duration_field> field;
  std::int64_t low;
  std::int64_t high;
  const char* allowed;     // low and high for a person
  const char* zero_means;  // nullptr where 0 has no meaning of its own
  const char* if_below;    // why, or what to do
  const char* if_above;
  std::int64_t multiple_of = 1;
};

constexpr std::int64_t in_ms(milliseconds value) {
  return value.count();
}

constexpr const char* wait_must_be_real = "a wait of no time always fails";
constexpr const char* wait_must_end =
    "every wait must end within a day; to wait longer, try again after a timeout";

// In the order of pool_config. max_connection_uses takes every number.
constexpr rule rules[] = {
    {"max_connections_per_endpoint", &pool_config::max_connections_per_endpoint, 1, 65'536,
     "1 to 65536", nullptr, "a pool that may open nothing cannot lend",
     "one address of this machine has no more ports towards one peer"},
    {"max_connections", &pool_config::max_connections, 1, 1'048'576, "1 to 1048576", "no limit", "",
     "a process has no more descriptors"},
    {"max_connecting_per_endpoint", &pool_config::max_connecting_per_endpoint, 1, 65'536,
     "1 to 65536", nullptr, "without a connect there is never a connection",
     "there are no more connections to one endpoint"},
    {"min_idle_per_endpoint", &pool_config::min_idle_per_endpoint, 0, 65'536, "0 to 65536", nullptr,
     "", "there can be no more idle connections than connections"},
    {"max_idle_per_endpoint", &pool_config::max_idle_per_endpoint, 1, 65'536, "1 to 65536",
     "as many as max_connections_per_endpoint", "",
     "there can be no more idle connections than connections"},
    {"max_waiters_per_endpoint", &pool_config::max_waiters_per_endpoint, 1, 1'048'576,
     "1 to 1048576", "4 times max_connections_per_endpoint", "",
     "a longer queue only turns overload into timeouts"},
    {"connection_timeout", &pool_config::connection_timeout, 1, in_ms(24h), "1 ms to 24 h", nullptr,
     wait_must_be_real, wait_must_end},
    {"acquire_timeout", &pool_config::acquire_timeout, 1, in_ms(24h), "1 ms to 24 h", nullptr,
     wait_must_be_real, wait_must_end},
    {"read_timeout", &pool_config::read_timeout, 1, in_ms(24h), "1 ms to 24 h", nullptr,
     wait_must_be_real, wait_must_end},
    {"write_timeout", &pool_config::write_timeout, 1, in_ms(24h), "1 ms to 24 h", nullptr,
     wait_must_be_real, wait_must_end},
    {"max_idle_time", &pool_config::max_idle_time, 1, in_ms(720h), "1 ms to 720 h", "never",
     "time does not run backwards", "use 0 to keep idle connections for ever"},
    {"max_connection_lifetime", &pool_config::max_connection_lifetime, 1, in_ms(720h),
     "1 ms to 720 h", "never", "time does not run backwards",
     "use 0 to let connections live for ever"},
    {"lifetime_jitter_percent", &pool_config::lifetime_jitter_percent, 0, 90, "0 to 90", nullptr,
     "", "a connection must live for some time"},
    {"refill_jitter", &pool_config::refill_jitter, 0, in_ms(60s), "0 to 60 s", nullptr,
     "time does not run backwards", "connections are kept ready to be there in time"},
    {"trim_interval", &pool_config::trim_interval, 1, in_ms(24h), "1 ms to 24 h", "off",
     "time does not run backwards", "use 0 to switch trimming off"},
    {"max_endpoint_idle_time", &pool_config::max_endpoint_idle_time, 1, in_ms(720h),
     "1 ms to 720 h", "never", "time does not run backwards", "use 0 to keep endpoints for ever"},
    {"validation_interval", &pool_config::validation_interval, 1, in_ms(24h), "1 ms to 24 h", "off",
     "time does not run backwards", "use 0 to switch it off"},
    {"probe_candidates", &pool_config::probe_candidates, 1, 64, "1 to 64", nullptr,
     "a caller whom no probe is made for would wait in vain",
     "more probes than that cost more than a connect"},
    {"ping_window", &pool_config::ping_window, 0, in_ms(24h), "0 to 24 h", nullptr,
     "time does not run backwards", "use validation watch to do without pings"},
    {"ping_timeout", &pool_config::ping_timeout, 1, in_ms(24h), "1 ms to 24 h", nullptr,
     wait_must_be_real, wait_must_end},
    {"release_timeout", &pool_config::release_timeout, 1, in_ms(24h), "1 ms to 24 h", nullptr,
     wait_must_be_real, wait_must_end},
    {"max_releasing_per_endpoint", &pool_config::max_releasing_per_endpoint, 1, 65'536,
     "1 to 65536", nullptr, "then on_release could never run",
     "there are no more connections to one endpoint"},
    {"connect_backoff_min", &pool_config::connect_backoff_min, 1, in_ms(24h), "1 ms to 24 h",
     nullptr, "without a pause a failing server would be hammered", wait_must_end},
    {"connect_backoff_max", &pool_config::connect_backoff_max, 1, in_ms(24h), "1 ms to 24 h",
     nullptr, "without a pause a failing server would be hammered", wait_must_end},
    {"breaker_failures", &pool_config::breaker_failures, 1, 1'000'000, "1 to 1000000", "off", "",
     "use 0 to switch the breaker off"},
    {"leak_threshold", &pool_config::leak_threshold, 1, in_ms(720h), "1 ms to 720 h", "off",
     "time does not run backwards", "use 0 to switch leak detection off"},
    {"keepalive_idle", &pool_config::keepalive_idle, in_ms(1s), in_ms(32'767s), "1 s to 32767 s",
     nullptr, "the kernel counts in seconds; use tcp_keepalive to switch it off",
     "the kernel takes no more; use tcp_keepalive to switch it off", in_ms(1s)},
    {"keepalive_interval", &pool_config::keepalive_interval, in_ms(1s), in_ms(32'767s),
     "1 s to 32767 s", nullptr, "the kernel counts in seconds; use tcp_keepalive to switch it off",
     "the kernel takes no more; use tcp_keepalive to switch it off", in_ms(1s)},
    {"keepalive_probes", &pool_config::keepalive_probes, 1, 127, "1 to 127", nullptr,
     "no probe finds nothing; use tcp_keepalive to switch it off", "the kernel takes no more"},
    {"tcp_user_timeout", &pool_config::tcp_user_timeout, 1, in_ms(24h), "1 ms to 24 h",
     "the kernel's own rule", "time does not run backwards",
     "use 0 for the kernel's own rule, about 15 minutes"},
};

std::unexpected<error> wrong(const char* field, const std::string& detail) {
  return fail(
      error(errc::invalid_config, phase::configure).about(field).with_detail(field + detail));
}

result<void> check(const rule& limits, const pool_config& config) {
  const auto* count = std::get_if<count_field>(&limits.field);
  const std::int64_t value = count ? std::int64_t{config.**count}
                                   : (config.*std::get<duration_field>(limits.field)).count();
  if (value == 0 && limits.zero_means != nullptr) return {};
  const char* why = nullptr;
  if (value < limits.low) why = limits.if_below;
  if (value > limits.high) why = limits.if_above;
  if (why == nullptr && value % limits.multiple_of != 0) why = "the kernel counts in whole seconds";
  if (why == nullptr) return {};

  std::string detail = " is " + std::to_string(value) + (count ? "" : " ms") + "; it must be ";
  if (limits.zero_means != nullptr) detail.append("0 (").append(limits.zero_means).append(") or ");
  return wrong(limits.name, detail.append(limits.allowed).append(": ").append(why));
}

// How fields that are in their ranges fit together.
result<void> check_together(const pool_config& config) {
  const std::uint32_t most = config.max_connections_per_endpoint;
  if (config.max_idle_per_endpoint > most) {
    return wrong("max_idle_per_endpoint",
                 " is " + std::to_string(config.max_idle_per_endpoint) +
                     "; it must be 0 (as many as max_connections_per_endpoint) or 1 to " +
                     std::to_string(most) +
                     ", which is max_connections_per_endpoint: there can be no more "
                     "idle connections than connections");
  }
  if (config.min_idle_per_endpoint > config.idle_limit()) {
    std::string detail = " is " + std::to_string(config.min_idle_per_endpoint) +
                         "; it must be 0 to " + std::to_string(config.idle_limit());
    detail += config.max_idle_per_endpoint == 0
                  ? ", which is max_connections_per_endpoint: there can be no more idle "
                    "connections than connections"
                  : ", which is max_idle_per_endpoint: more are not kept";
    return wrong("min_idle_per_endpoint", detail);
  }
  if (config.connect_backoff_max < config.connect_backoff_min) {
    return wrong("connect_backoff_max",
                 " is " + std::to_string(config.connect_backoff_max.count()) +
                     " ms; it must be at least connect_backoff_min, which is " +
                     std::to_string(config.connect_backoff_min.count()) +
                     " ms: a wait that grows cannot end below where it begins");
  }
  return {};
}

struct named_policy {
  const char* name;
  validation_policy value;
};

constexpr named_policy policies[] = {
    {"watch", validation_policy::watch},
    {"probe", validation_policy::probe},
    {"ping", validation_policy::ping},
    {"none", validation_policy::none},
};

constexpr const char* policy_names = "the known ones are watch, probe, ping and none";

// For a detail: printable and short, whatever a command line or file held.
std::string quoted(std::string_view text) {
  constexpr std::size_t shown_bytes_max = 40;
  std::string out = "'";
  for (const char c : text.substr(0, shown_bytes_max)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return out + (text.size() > shown_bytes_max ? "...'" : "'");
}

}  // namespace

result<void> validate(const pool_config& config) {
  for (const rule& limits : rules) {
    if (auto checked = check(limits, config); !checked) return checked;
  }
  if (auto fits = check_together(config); !fits) return fits;
  for (const named_policy& policy : policies) {
    if (policy.value == config.validation) return {};
  }
  return wrong("validation", " is " + std::to_string(static_cast<int>(config.validation)) +
                                 ", which is no validation policy; " + policy_names);
}

const char* to_string(validation_policy value) noexcept {
  for (const named_policy& policy : policies) {
    if (policy.value == value) return policy.name;
  }
  return "unknown";
}

result<validation_policy> parse_validation_policy(std::string_view text) {
  for (const named_policy& policy : policies) {
    if (policy.name == text) return policy.value;
  }
  return wrong("validation", " is " + quoted(text) + "; " + policy_names);
}

}  // namespace conpool

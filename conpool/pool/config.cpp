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

constexpr rule rules[] = {
    {"max_connections_per_endpoint", &pool_config::max_connections_per_endpoint, 1, 65'536,
     "1 to 65536", nullptr, "a pool that may open nothing cannot lend",
     "one address of this machine has no more ports towards one peer"},
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

struct named_policy {
  const char* name;
  validation_policy value;
};

constexpr named_policy policies[] = {
    {"watch", validation_policy::watch},
    {"none", validation_policy::none},
};

constexpr const char* policy_names = "the known ones are watch and none";

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
  if (config.max_idle_per_endpoint > config.max_connections_per_endpoint) {
    return wrong("max_idle_per_endpoint",
                 " is " + std::to_string(config.max_idle_per_endpoint) +
                     "; it must be 0 (as many as max_connections_per_endpoint) or 1 to " +
                     std::to_string(config.max_connections_per_endpoint) +
                     ", which is max_connections_per_endpoint: there can be no more "
                     "idle connections than connections");
  }
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

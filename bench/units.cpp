#include <bench/units.h>

#include <fmt/format.h>

#include <cmath>

namespace conpool::bench {

std::string human_time(std::uint64_t value_ns) {
  if (value_ns < 1000) return fmt::format("{} ns", value_ns);
  double value = static_cast<double>(value_ns) / 1e3;
  const char* unit = "us";
  if (value >= 999.5) {
    value /= 1e3;
    unit = "ms";
  }
  if (value >= 999.5) {
    value /= 1e3;
    unit = "s";
  }
  int digits = 0;
  if (value < 99.95) digits = 1;
  if (value < 9.995) digits = 2;
  return fmt::format("{:.{}f} {}", value, digits, unit);
}

std::string human_tick(std::uint64_t value_ns) {
  if (value_ns < 1'000) return fmt::format("{} ns", value_ns);
  if (value_ns < 1'000'000) return fmt::format("{} us", value_ns / 1'000);
  if (value_ns < 1'000'000'000) return fmt::format("{} ms", value_ns / 1'000'000);
  return fmt::format("{} s", value_ns / 1'000'000'000);
}

std::string human_ratio(double part) {
  return fmt::format("{:.2f} %", std::floor(part * 1e4 + 1e-9) / 100);
}

std::string grouped(std::uint64_t value) {
  std::string digits = std::to_string(value);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

}  // namespace conpool::bench

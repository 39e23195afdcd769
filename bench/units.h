// Numbers as people read them.
#pragma once

#include <cstdint>
#include <string>

namespace conpool::bench {

// Three digits and a unit: "45 ns", "1.23 us", "45.6 us", "789 ms", "1.20 s".
std::string human_time(std::uint64_t value_ns);

// A power of ten: "10 ns", "100 us", "1 s".
std::string human_tick(std::uint64_t value_ns);

// A ratio from 0 to 1: "99.95 %". It is never rounded up, so 100.00 % means all.
std::string human_ratio(double part);

// "1,234,567"
std::string grouped(std::uint64_t value);

}  // namespace conpool::bench

// A histogram of latencies in nanoseconds, for all of 64 bits and exact to better than 1 %.
//
// Buckets are log-linear, as in HdrHistogram: below 256 ns each value has a bucket of its own, and
// from there on every power of two is split into 128 equal parts. A value is reported as the middle
// of its bucket, so it is at most 0.4 % off; the minimum, the maximum and the count are exact.
//
// There are 7,424 buckets of 8 bytes, allocated once, so record() takes a few instructions and
// allocates nothing. One thread records; merge() combines the shards' histograms later.
//
//   histogram latencies;
//   latencies.record(elapsed_ns);
//   latencies.value_at(0.99);                 // the 99th percentile, in ns
//
// HdrHistogram: Gil Tene, http://hdrhistogram.org
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace conpool::bench {

// What reports say about a histogram. Times are in ns, and 0 if nothing was recorded.
struct latency_summary {
  std::uint64_t count = 0;
  std::uint64_t min = 0;
  std::uint64_t p50 = 0;
  std::uint64_t p90 = 0;
  std::uint64_t p99 = 0;
  std::uint64_t p999 = 0;
  std::uint64_t max = 0;
};

class histogram {
 public:
  histogram() : counts_(bucket_count) {}

  void record(std::uint64_t value_ns) noexcept {
    ++counts_[bucket_of(value_ns)];
    ++count_;
    if (value_ns < min_) min_ = value_ns;
    if (value_ns > max_) max_ = value_ns;
  }

  // Adds everything that `other` has recorded.
  void merge(const histogram& other) noexcept;

  std::uint64_t count() const noexcept { return count_; }
  std::uint64_t min() const noexcept { return count_ == 0 ? 0 : min_; }
  std::uint64_t max() const noexcept { return max_; }

  // Returns the smallest recorded value that at least `fraction` of all values do not exceed (the
  // nearest rank), within the bucket's error. `fraction` is from 0 to 1. Returns 0 if nothing was
  // recorded.
  std::uint64_t value_at(double fraction) const noexcept;

  latency_summary summary() const noexcept;

 private:
  static constexpr unsigned part_bits = 7;  // 128 parts for each power of two
  static constexpr std::uint64_t exact_below = std::uint64_t{2} << part_bits;
  static constexpr std::size_t bucket_count = (64 - part_bits + 1) << part_bits;

  static constexpr std::size_t bucket_of(std::uint64_t value) noexcept {
    if (value < exact_below) return static_cast<std::size_t>(value);
    const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - part_bits - 1;
    return (std::size_t{shift} << part_bits) + static_cast<std::size_t>(value >> shift);
  }
  static std::uint64_t middle_of(std::size_t bucket) noexcept;

  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  std::uint64_t min_ = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t max_ = 0;
};

}  // namespace conpool::bench

#include <bench/histogram.h>

#include <algorithm>
#include <cmath>

namespace conpool::bench {

void histogram::merge(const histogram& other) noexcept {
  for (std::size_t bucket = 0; bucket < bucket_count; ++bucket) {
    counts_[bucket] += other.counts_[bucket];
  }
  count_ += other.count_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
}

std::uint64_t histogram::middle_of(std::size_t bucket) noexcept {
  static_assert(bucket_of(std::numeric_limits<std::uint64_t>::max()) == bucket_count - 1);
  if (bucket < exact_below) return bucket;
  const std::size_t shift = (bucket >> part_bits) - 1;
  const std::uint64_t first = std::uint64_t{bucket - (shift << part_bits)} << shift;
  return first + (std::uint64_t{1} << shift) / 2;
}

std::uint64_t histogram::value_at(double fraction) const noexcept {
  if (count_ == 0) return 0;
  const double exact_rank = std::ceil(fraction * static_cast<double>(count_));
  const auto rank = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(exact_rank), 1, count_);
  std::uint64_t seen = 0;
  for (std::size_t bucket = bucket_of(min_); bucket < bucket_count; ++bucket) {
    seen += counts_[bucket];
    if (seen >= rank) return std::clamp(middle_of(bucket), min_, max_);
  }
  return max_;
}

latency_summary histogram::summary() const noexcept {
  latency_summary all;
  all.count = count_;
  all.min = min();
  all.p50 = value_at(0.50);
  all.p90 = value_at(0.90);
  all.p99 = value_at(0.99);
  all.p999 = value_at(0.999);
  all.max = max_;
  return all;
}

}  // namespace conpool::bench

// The time in a certificate as seconds since 1970. Internal to tls/.
#pragma once

#include <cstdint>
#include <limits>

#include <conpool/tls/detail/boringssl.h>

namespace conpool::tls {

// INT64_MAX for no time; 0, the distant past, for one that cannot be read.
inline std::int64_t seconds_of(const ASN1_TIME* time) noexcept {
  if (time == nullptr) return std::numeric_limits<std::int64_t>::max();
  const bssl::UniquePtr<ASN1_TIME> epoch(ASN1_TIME_set(nullptr, 0));
  int days = 0;
  int seconds = 0;
  if (!epoch || ASN1_TIME_diff(&days, &seconds, epoch.get(), time) != 1) return 0;
  return std::int64_t{days} * 86400 + seconds;
}

}  // namespace conpool::tls

#include <conpool/pool/retry.h>

namespace conpool::detail {

bool was_stale(const connection& used, const error& why, request kind) noexcept {
  if (why != errc::connection_closed && why != errc::connection_reset && why != errc::truncated) {
    return false;
  }
  if (used.uses() <= 1 || used.bytes_received() > 0) return false;
  if ((used.conditions() & (stream::has_data | stream::read_ahead)) != 0) return false;
  return kind == request::repeatable || used.bytes_sent() == 0;
}

}  // namespace conpool::detail

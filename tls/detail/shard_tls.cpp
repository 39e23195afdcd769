#include <conpool/tls/detail/shard_tls.h>

#include <new>
#include <utility>

#include <conpool/tls/server_profile.h>

namespace conpool::tls {

record_memory::record_memory() {
  small_.reserve(kept_small);
  large_.reserve(kept_large);
}

record_memory::block record_memory::take(std::size_t wanted) noexcept {
  const bool is_small = wanted <= small_bytes;
  auto& kept = is_small ? small_ : large_;
  const std::size_t size = is_small ? small_bytes : record_buffer_size;
  if (!kept.empty()) {
    block reused(std::move(kept.back()), size);
    kept.pop_back();
    return reused;
  }
  std::unique_ptr<std::byte[]> made(new (std::nothrow) std::byte[size]);
  if (!made) return {};
  return {std::move(made), size};
}

void record_memory::give_back(block used) noexcept {
  if (!used) return;
  auto& kept = used.size_ == small_bytes ? small_ : large_;
  if (kept.size() < kept.capacity()) kept.push_back(std::move(used.memory_));
}

shard_tls::shard_tls(shard& home, const shard_limits& limits, wall_clock_source& clock)
    : home_(&home), resources_(limits, clock), handshakes_(home, handshake_time_each_turn) {}

// Here and not in server_profile.cpp, since the rest of it does without a shard.
result<std::unique_ptr<server_profile>> server_profile::make(shard& home, server_options options) {
  return make(shard_tls::of(home).resources(), std::move(options));
}

}  // namespace conpool::tls

// The TLS of one shard: what its channels share, the memory for records, the handshake budget.
//
//   auto& here = tls::shard_tls::of(home);            // made at its first use
//   auto config = here.resources().config_for(profile);
//
// The shard owns it as an extension, and it lives until the shard's last connection is closed.
// Server profiles refer to it and go first. Used on the shard's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <conpool/runtime/shard.h>
#include <conpool/tls/detail/record_buffer.h>
#include <conpool/tls/detail/shard_resources.h>
#include <conpool/tls/detail/turn_budget.h>
#include <conpool/tls/detail/wall_clock.h>

namespace conpool::tls {

// Memory for records, in blocks of 4 KiB or of record_buffer_size. A bounded number of those that
// were given back is kept for the next.
class record_memory {
 public:
  static constexpr std::size_t small_bytes = 4096;

  class block {
   public:
    block() noexcept = default;
    block(block&& other) noexcept = default;
    block& operator=(block&& other) noexcept = default;
    std::span<std::byte> bytes() const noexcept { return {memory_.get(), size_}; }
    explicit operator bool() const noexcept { return memory_ != nullptr; }

   private:
    friend class record_memory;
    block(std::unique_ptr<std::byte[]> memory, std::size_t size) noexcept
        : memory_(std::move(memory)), size_(size) {}
    std::unique_ptr<std::byte[]> memory_;
    std::size_t size_ = 0;
  };

  record_memory();
  // A small block if `wanted` fits into it, else a large one; empty without memory.
  block take(std::size_t wanted) noexcept;
  void give_back(block used) noexcept;

 private:
  static constexpr std::size_t kept_small = 256;
  static constexpr std::size_t kept_large = 16;
  std::vector<std::unique_ptr<std::byte[]>> small_;
  std::vector<std::unique_ptr<std::byte[]>> large_;
};

// How much of a turn handshakes may take; see turn_budget.h. The last step may begin within this
// time and take 0.7 ms more. Measured with a thousand full handshakes at once: no other task waits
// more than 1.5 to 1.8 ms (2.1 to 2.6 ms with a budget of 1 ms), and the storm takes no longer.
inline constexpr duration handshake_time_each_turn = std::chrono::microseconds(500);

class shard_tls final : public shard_extension {
 public:
  explicit shard_tls(shard& home, const shard_limits& limits = shard_limits(),
                     wall_clock_source& clock = system_wall_clock());

  static shard_tls& of(shard& home) { return home.extension<shard_tls>(); }
  // For tests and simulations, before the first of(): with other bounds and another time of day.
  static shard_tls& make(shard& home, const shard_limits& limits, wall_clock_source& clock) {
    return home.extension<shard_tls>(limits, clock);
  }

  shard& home() const noexcept { return *home_; }
  conpool::tls::shard_resources& resources() noexcept { return resources_; }
  record_memory& memory() noexcept { return memory_; }
  turn_budget& handshakes() noexcept { return handshakes_; }

 private:
  shard* home_;
  conpool::tls::shard_resources resources_;
  record_memory memory_;
  turn_budget handshakes_;
};

}  // namespace conpool::tls

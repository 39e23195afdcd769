// The few bytes that a channel has to say while it has no record buffer: an alert, a key update.
//
// They wait here, 64 at most, until somebody gives the channel a buffer. What does not fit is not
// taken, and BoringSSL offers it again.
//
// Owned by a channel, used on its shard's thread. It allocates nothing.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include <conpool/tls/detail/record_buffer.h>

namespace conpool::tls {

class held_output {
 public:
  static constexpr std::size_t bytes_max = 64;

  bool empty() const noexcept { return size_ == 0; }

  // Takes as much as there is room for; how much that was.
  std::size_t keep(std::span<const std::byte> said) noexcept {
    const std::size_t count = std::min(said.size(), bytes_max - size_);
    std::memcpy(bytes_.data() + size_, said.data(), count);
    size_ = static_cast<std::uint8_t>(size_ + count);
    return count;
  }
  // Moves as much as there is room for into `out`.
  void move_to(record_buffer& out) noexcept {
    const std::size_t count = out.append(std::span(bytes_).first(size_));
    std::memmove(bytes_.data(), bytes_.data() + count, size_ - count);
    size_ = static_cast<std::uint8_t>(size_ - count);
  }

 private:
  std::array<std::byte, bytes_max> bytes_;
  std::uint8_t size_ = 0;
};

}  // namespace conpool::tls

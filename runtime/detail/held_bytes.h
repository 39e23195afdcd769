// The bytes that a stream has received and nobody has read yet.
//
// They lie where they arrived: in one of the ring's receive buffers, or, for streams with a codec,
// in memory of the stream's own. Owned by the stream, which says where they are and gives the
// memory back once release() told it that it held some. Used on the stream's shard only; nothing
// here allocates.
//
//   held.hold(buffer_id, bytes);                // the posted receive completed
//   const std::size_t count = held.take(into);  // a read copies from the front
//   if (held.empty() && held.release()) ...     // the buffer goes back to the ring
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

namespace conpool {

class held_bytes {
 public:
  // In place of a buffer's number: the bytes lie in the stream's own memory.
  static constexpr std::uint16_t own_memory = 0xFFFF;

  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  bool empty() const noexcept { return size_ == 0; }
  // Whether memory is held, maybe with no byte left in it.
  bool has_memory() const noexcept { return data_ != nullptr; }
  std::uint16_t buffer() const noexcept { return buffer_; }

  // Precondition: nothing is held.
  void hold(std::uint16_t buffer, std::span<const std::byte> received) noexcept {
    buffer_ = buffer;
    data_ = received.data();
    size_ = static_cast<std::uint32_t>(received.size());
  }
  // Copies as much as there is room for from the front, and drops it; how much that was.
  std::size_t take(std::span<std::byte> into) noexcept {
    const std::size_t count = std::min<std::size_t>(into.size(), size_);
    if (count > 0) std::memcpy(into.data(), data_, count);
    data_ += count;
    size_ -= static_cast<std::uint32_t>(count);
    return count;
  }
  // Keeps only `rest`, the end of what is held.
  void shorten(std::span<const std::byte> rest) noexcept {
    data_ = rest.data();
    size_ = static_cast<std::uint32_t>(rest.size());
  }
  // Holds nothing any more. True if the caller has memory to give back, as buffer() says.
  bool release() noexcept {
    if (std::exchange(data_, nullptr) == nullptr) return false;
    size_ = 0;
    return true;
  }

 private:
  const std::byte* data_ = nullptr;
  std::uint32_t size_ = 0;
  std::uint16_t buffer_ = 0;
};

}  // namespace conpool

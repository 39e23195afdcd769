// Memory that records are written into, for one send.
//
// It is a plain cursor that owns nothing: whoever sends owns the memory, and keeps it until the
// send has completed, also when the channel is gone by then.
//
//   std::array<std::byte, tls::record_buffer_size> memory;
//   tls::record_buffer out(memory);
//   auto taken = channel.write(parts, out);
//   send(out.filled());                     // and out.clear() when it has completed
//
// One of record_buffer_size bytes holds four whole records, each with what may precede it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

namespace conpool::tls {

// The most plain bytes in a record; and the most that a record, and the messages that BoringSSL may
// send in front of it (a key update and its answer), add to them.
inline constexpr std::size_t record_bytes_max = 16 * 1024;
inline constexpr std::size_t record_overhead_max = 128;
inline constexpr std::size_t record_buffer_size = 4 * (record_bytes_max + record_overhead_max);

class record_buffer {
 public:
  explicit record_buffer(std::span<std::byte> memory) noexcept : memory_(memory) {}

  std::span<const std::byte> filled() const noexcept { return memory_.first(used_); }
  std::size_t size() const noexcept { return used_; }
  std::size_t room() const noexcept { return memory_.size() - used_; }
  bool empty() const noexcept { return used_ == 0; }
  void clear() noexcept { used_ = 0; }

  // Copies as much as there is room for; how much that was.
  std::size_t append(std::span<const std::byte> bytes) noexcept {
    const std::size_t count = std::min(bytes.size(), room());
    if (count > 0) std::memcpy(memory_.data() + used_, bytes.data(), count);
    used_ += count;
    return count;
  }

 private:
  std::span<std::byte> memory_;
  std::size_t used_ = 0;
};

}  // namespace conpool::tls

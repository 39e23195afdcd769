// The bytes that a buffered_reader has taken from its stream and nobody has consumed.
//
// They belong to the stream: so they outlive the reader, keep a connection from being lent again
// (stream_state::read_ahead), come first in plain reads, and go along when the stream is detached.
// Their memory is one block, which is made when bytes are first read ahead, grows with the largest
// message, and is freed with the stream, or before that by whoever owns the stream. An idle stream
// has none, and pays a pointer. Used on the stream's shard only.
//
//   if (!ahead.make_room(count)) ...          // no memory
//   receive into ahead.room(), then ahead.add(received);
//   ahead.view() ... ahead.drop(count);
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <utility>

#include <conpool/runtime/detail/assert.h>

namespace conpool {

class ahead_bytes {
 public:
  static constexpr std::size_t least_bytes = 4096;      // of a block, with its head
  static constexpr std::size_t bulk_bytes = 64 * 1024;  // to which it grows if reads fill it
  static constexpr std::size_t most_bytes = 1U << 30;   // no message may be larger

  ahead_bytes() noexcept = default;
  ahead_bytes(const ahead_bytes&) = delete;
  ahead_bytes& operator=(const ahead_bytes&) = delete;
  ~ahead_bytes() { release(); }

  std::string_view view() const noexcept {
    if (block_ == nullptr) return {};
    return {block_->memory() + block_->begin, block_->end - block_->begin};
  }
  bool empty() const noexcept { return block_ == nullptr || block_->begin == block_->end; }
  // From the front; all of it if less is there. Moves nothing, so it may be called while something
  // is received into room().
  void drop(std::size_t count) noexcept {
    if (block_ == nullptr) return;
    const std::size_t most = block_->end - block_->begin;
    block_->begin += static_cast<std::uint32_t>(std::min(count, most));
  }
  // The same, for who has seen what is there: the bytes at the front, of which so many go away.
  std::string_view hand_out(std::size_t size, std::size_t consumed) noexcept {
    CONPOOL_ASSERT(size <= view().size() && consumed <= view().size(), "it is not all there");
    if (block_ == nullptr) return {};
    const std::uint32_t at = block_->begin;
    block_->begin += static_cast<std::uint32_t>(consumed);
    return {block_->memory() + at, size};
  }
  // Copies from the front and drops it; how much that was.
  std::size_t take(std::span<std::byte> into) noexcept {
    const std::string_view front = view().substr(0, into.size());
    if (!front.empty()) std::memcpy(into.data(), front.data(), front.size());
    drop(front.size());
    return front.size();
  }

  std::span<std::byte> room() noexcept {
    return {reinterpret_cast<std::byte*>(block_->memory()) + block_->end,
            block_->capacity - block_->end};
  }
  void add(std::size_t count) noexcept {
    block_->end += static_cast<std::uint32_t>(count);
    // Somebody sends much: the next reads may bring more at once.
    block_->filled = block_->end == block_->capacity;
  }
  // Makes room behind what is there, so that it can become `count` bytes in all. Moves what is
  // there. Returns false without memory for it; then nothing has changed.
  bool make_room(std::size_t count) noexcept;
  // Puts bytes in front of what is there, which may be bytes that were handed out or are there.
  // Returns false as make_room() does.
  bool put_back(std::string_view bytes) noexcept;
  void release() noexcept {
    if (block_ != nullptr) ::operator delete(std::exchange(block_, nullptr));
  }

 private:
  // The bytes follow behind it.
  struct block {
    std::uint32_t capacity;
    std::uint32_t begin;
    std::uint32_t end;
    bool filled;

    char* memory() noexcept { return reinterpret_cast<char*>(this + 1); }
  };
  static block* make_block(std::size_t count) noexcept;

  block* block_ = nullptr;
};

}  // namespace conpool

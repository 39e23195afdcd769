#include <conpool/runtime/detail/ahead_bytes.h>

namespace conpool {

bool ahead_bytes::make_room(std::size_t count) noexcept {
  const std::string_view there = view();
  CONPOOL_ASSERT(count > there.size() && count <= most_bytes, "there is no room to be made");
  const std::size_t had = block_ == nullptr ? 0 : block_->capacity;
  // The block with its head is a power of two, as allocators like it.
  std::size_t wanted = std::bit_ceil(count + sizeof(block)) - sizeof(block);
  wanted = std::max({wanted, had, least_bytes - sizeof(block)});
  if (block_ != nullptr && block_->filled && had < bulk_bytes - sizeof(block)) {
    wanted = std::max(wanted, 2 * (had + sizeof(block)) - sizeof(block));
  }
  if (wanted == had) {
    // A little room at the end would only mean many small reads.
    if (block_->begin > 0) {
      std::memmove(block_->memory(), there.data(), there.size());
      block_->begin = 0;
      block_->end = static_cast<std::uint32_t>(there.size());
    }
    return true;
  }
  void* const memory = ::operator new(sizeof(block) + wanted, std::nothrow);
  if (memory == nullptr) return false;
  auto* const made = new (memory)
      block{static_cast<std::uint32_t>(wanted), 0, static_cast<std::uint32_t>(there.size()), false};
  if (!there.empty()) std::memcpy(made->memory(), there.data(), there.size());
  release();
  block_ = made;
  return true;
}

bool ahead_bytes::put_back(std::string_view bytes) noexcept {
  if (bytes.empty()) return true;
  const std::size_t there = view().size();
  if (bytes.size() > most_bytes - there || !make_room(bytes.size() + there)) return false;
  std::memmove(block_->memory() + bytes.size(), block_->memory() + block_->begin, there);
  std::memcpy(block_->memory(), bytes.data(), bytes.size());
  block_->begin = 0;
  block_->end = static_cast<std::uint32_t>(bytes.size() + there);
  return true;
}

}  // namespace conpool

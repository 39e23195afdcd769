#include <conpool/runtime/detail/ahead_bytes.h>

namespace conpool {

bool ahead_bytes::make_room(std::size_t count) noexcept {
  const std::string_view there = view();
  CONPOOL_ASSERT(count > there.size() && count <= most_bytes, "there is no room to be made");
  const std::size_t had = block_ == nullptr ? 0 : block_->capacity;
  std::size_t wanted = count;
  if (block_ != nullptr && block_->filled && had < bulk_bytes - sizeof(block)) {
    wanted = std::max(wanted, had + 1);  // the next size
  }
  if (wanted <= had) {
    // A little room at the end would only mean many small reads.
    if (block_->begin > 0) {
      std::memmove(block_->memory(), there.data(), there.size());
      block_->begin = 0;
      block_->end = static_cast<std::uint32_t>(there.size());
    }
    return true;
  }
  block* const made = make_block(wanted);
  if (made == nullptr) return false;
  if (!there.empty()) std::memcpy(made->memory(), there.data(), there.size());
  made->end = static_cast<std::uint32_t>(there.size());
  release();
  block_ = made;
  return true;
}

bool ahead_bytes::put_back(std::string_view bytes) noexcept {
  if (bytes.empty()) return true;
  // Whoever puts back what was handed out puts it where it lay.
  if (block_ != nullptr && block_->begin >= bytes.size()) {
    block_->begin -= static_cast<std::uint32_t>(bytes.size());
    std::memmove(block_->memory() + block_->begin, bytes.data(), bytes.size());
    return true;
  }
  const std::string_view there = view();
  if (bytes.size() > most_bytes - there.size()) return false;
  block* const made = make_block(bytes.size() + there.size());
  if (made == nullptr) return false;
  std::memcpy(made->memory(), bytes.data(), bytes.size());
  if (!there.empty()) std::memcpy(made->memory() + bytes.size(), there.data(), there.size());
  made->end = static_cast<std::uint32_t>(bytes.size() + there.size());
  release();  // only now: the bytes may lie there
  block_ = made;
  return true;
}

// Empty. Null without memory for it.
ahead_bytes::block* ahead_bytes::make_block(std::size_t count) noexcept {
  // With its head it is a power of two, as allocators like it.
  const std::size_t bytes = std::max(std::bit_ceil(count + sizeof(block)), least_bytes);
  void* const memory = ::operator new(bytes, std::nothrow);
  if (memory == nullptr) return nullptr;
  return new (memory) block{static_cast<std::uint32_t>(bytes - sizeof(block)), 0, 0, false};
}

}  // namespace conpool

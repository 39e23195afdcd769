#include <conpool/runtime/detail/frame_pool.h>

#include <new>

namespace conpool {
namespace detail {
namespace {

constexpr std::size_t class_bytes(std::size_t index) noexcept {
  return (index + 1) * frame_class_bytes;
}

constexpr std::uint32_t blocks_max(std::size_t index) noexcept {
  return static_cast<std::uint32_t>(frame_cache_bytes_max / class_bytes(index));
}

std::size_t cached_blocks(const frame_cache& cache, std::size_t index) noexcept {
  if (cache.state != frame_cache::state::open) return 0;
  return blocks_max(index) - cache.room[index];
}

void release(frame_cache& cache) noexcept {
  for (std::size_t index = 0; index < frame_classes; ++index) {
    while (free_frame* frame = cache.lists[index]) {
      cache.lists[index] = frame->next;
      ++cache.room[index];
      ::operator delete(frame);
    }
    CONPOOL_ASSERT(cached_blocks(cache, index) == 0, "blocks were cached but not in the list");
  }
}

// Lives from the first block that a thread keeps to the thread's end.
struct cleaner {
  cleaner() noexcept {
    for (std::size_t index = 0; index < frame_classes; ++index) {
      thread_frames.room[index] = blocks_max(index);
    }
    thread_frames.state = frame_cache::state::open;
  }
  cleaner(const cleaner&) = delete;
  cleaner& operator=(const cleaner&) = delete;
  ~cleaner() {
    release(thread_frames);
    thread_frames.room.fill(0);
    thread_frames.state = frame_cache::state::closed;
  }
};

}  // namespace

void* allocate_frame_slow(std::size_t bytes) {
  std::size_t block_bytes = bytes;
  if (frames_are_cached && frame_class(bytes) < frame_classes) {
    block_bytes = class_bytes(frame_class(bytes));
  }
  void* memory = ::operator new(block_bytes);
  ++thread_frames.from_system;
  return memory;
}

void deallocate_frame_slow(void* frame, std::size_t bytes) noexcept {
  const bool pooled = frames_are_cached && frame_class(bytes) < frame_classes;
  if (pooled && thread_frames.state == frame_cache::state::unused) {
    static thread_local cleaner at_thread_end;
    CONPOOL_ASSERT(thread_frames.state == frame_cache::state::open, "the cache did not open");
    deallocate_frame(frame, bytes);
    return;
  }
  ::operator delete(frame);
}

}  // namespace detail

frame_stats thread_frame_stats() noexcept {
  const detail::frame_cache& cache = detail::thread_frames;
  frame_stats stats;
  stats.from_system = cache.from_system;
  stats.reused = cache.reused;
  for (std::size_t index = 0; index < detail::frame_classes; ++index) {
    stats.cached_bytes += detail::cached_blocks(cache, index) * detail::class_bytes(index);
  }
  return stats;
}

void release_cached_frames() noexcept {
  detail::release(detail::thread_frames);
}

}  // namespace conpool

// Memory for coroutine frames: each thread has a free list for each size class.
//
// GCC puts every coroutine's frame on the heap and never elides it, so calling a task costs an
// allocation. The frames of a program have few sizes and short lives. A list for each 64-byte class
// up to 1 KiB turns nearly all of these allocations into a handful of instructions; larger frames
// come from ::operator new and go back there.
//
//   void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
//   void operator delete(void* frame, std::size_t bytes) { deallocate_frame(frame, bytes); }
//
// Threads: each block comes from ::operator new by itself, so it may be freed on any thread, and
// joins the list of the thread that frees it. There are no locks and no atomics. A list keeps at
// most `frame_cache_bytes_max` bytes, and a thread at most 16 times that, which it gives back when
// it ends. Frames that are freed even later, by destructors of thread_local objects, are not
// cached.
//
// Under AddressSanitizer nothing is cached, so that it sees a frame that is used after its end.
//
// Hazard: the size given back must be the size asked for. The compiler sees to that for frames.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <conpool/runtime/detail/assert.h>
#include <conpool/runtime/detail/export.h>

#ifndef __has_feature
#define CONPOOL_HAS_FEATURE(name) 0
#else
#define CONPOOL_HAS_FEATURE(name) __has_feature(name)
#endif

namespace conpool {

#if defined(__SANITIZE_ADDRESS__) || CONPOOL_HAS_FEATURE(address_sanitizer)
inline constexpr bool frames_are_cached = false;
#else
inline constexpr bool frames_are_cached = true;
#endif
#undef CONPOOL_HAS_FEATURE

// Frames of up to this many bytes have a list.
inline constexpr std::size_t pooled_frame_bytes_max = 1024;
// One list holds at most this many bytes.
inline constexpr std::size_t frame_cache_bytes_max = 256 * 1024;

// What one thread's lists have done so far.
struct frame_stats {
  std::uint64_t from_system = 0;  // frames taken from ::operator new
  std::uint64_t reused = 0;       // frames taken from a list
  std::size_t cached_bytes = 0;   // held in lists now
};

// Returns the calling thread's counters.
CONPOOL_API frame_stats thread_frame_stats() noexcept;

// Gives the calling thread's cached blocks back to the system. The thread may cache again
// afterwards.
CONPOOL_API void release_cached_frames() noexcept;

namespace detail {

inline constexpr std::size_t frame_class_bytes = 64;
inline constexpr std::size_t frame_classes = pooled_frame_bytes_max / frame_class_bytes;

struct free_frame {
  free_frame* next;
};

// All of a thread's lists. They are constant-initialised and trivially destructible, so the fast
// paths reach them without a guard. frame_pool.cpp registers the clean-up at the first block kept.
struct frame_cache {
  std::array<free_frame*, frame_classes> lists{};
  // How many more blocks each list may take. 0 also before the clean-up is registered and after
  // it ran: one comparison asks all three.
  std::array<std::uint32_t, frame_classes> room{};
  std::uint64_t from_system = 0;
  std::uint64_t reused = 0;
  enum class state : std::uint8_t { unused, open, closed } state = state::unused;
};

CONPOOL_API inline thread_local constinit frame_cache thread_frames;

// 0 bytes wrap around and so count as too large for a list.
constexpr std::size_t frame_class(std::size_t bytes) noexcept {
  return (bytes - 1) / frame_class_bytes;
}

CONPOOL_API void* allocate_frame_slow(std::size_t bytes);
CONPOOL_API void deallocate_frame_slow(void* frame, std::size_t bytes) noexcept;

}  // namespace detail

// Returns memory for a frame of `bytes`, aligned as ::operator new aligns. Throws std::bad_alloc.
[[nodiscard]] inline void* allocate_frame(std::size_t bytes) {
  const std::size_t index = detail::frame_class(bytes);
  if (frames_are_cached && index < detail::frame_classes) [[likely]] {
    detail::frame_cache& cache = detail::thread_frames;
    if (detail::free_frame* frame = cache.lists[index]; frame != nullptr) [[likely]] {
      cache.lists[index] = frame->next;
      ++cache.room[index];
      ++cache.reused;
      return frame;
    }
  }
  return detail::allocate_frame_slow(bytes);
}

// Takes back what allocate_frame(bytes) returned, on this thread or another.
inline void deallocate_frame(void* memory, std::size_t bytes) noexcept {
  CONPOOL_ASSERT(memory != nullptr, "no frame to free");
  const std::size_t index = detail::frame_class(bytes);
  if (frames_are_cached && index < detail::frame_classes) [[likely]] {
    detail::frame_cache& cache = detail::thread_frames;
    if (cache.room[index] > 0) [[likely]] {
      auto* frame = static_cast<detail::free_frame*>(memory);
      frame->next = cache.lists[index];
      cache.lists[index] = frame;
      --cache.room[index];
      return;
    }
  }
  detail::deallocate_frame_slow(memory, bytes);
}

}  // namespace conpool

// What a ring holds of liburing's, shared by the ring's sources.
//
// The words of the two queues are shared with the kernel, so they are read and written with
// load_acquire() and store_release(). Everything here is used on the ring's thread only.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>

#include <conpool/runtime/detail/ring.h>
#include <conpool/runtime/detail/ring_compat.h>

namespace conpool {

struct ring::kernel {
  io_uring uring{};
  // Entries that found no place even after a flush, oldest first. It is nearly always empty,
  // because the kernel takes the whole queue unless it is out of memory.
  std::deque<io_uring_sqe> backlog;
  unsigned taken = 0;  // the submission queue's head after the last enter
  io_uring_buf_ring* buffer_ring = nullptr;
  std::size_t buffer_ring_bytes = 0;
  unsigned buffer_count = 0;
  std::uint16_t buffer_tail = 0;
  bool registered_fd = false;
  int enter_fd = -1;
};

// The number under which the receive buffers are registered.
inline constexpr std::uint16_t buffer_group = 0;

inline unsigned load_acquire(unsigned* word) noexcept {
  return std::atomic_ref<unsigned>(*word).load(std::memory_order_acquire);
}

inline void store_release(unsigned* word, unsigned value) noexcept {
  std::atomic_ref<unsigned>(*word).store(value, std::memory_order_release);
}

}  // namespace conpool

// What becomes of rings when the process forks.
//
// The queues of a ring are not mapped in the child (io_uring_ring_dontfork() sees to that), and the
// kernel would take the child's submissions for its parent's. So the child's copy of each ring is
// cut off: what is read without a check, by completions_pending() and next_entry(), finds words
// that lead to a closer look, and that finds the mark. The hit path needs no check of its own.
#include <cstddef>
#include <mutex>
#include <new>

#include <pthread.h>

#include <conpool/runtime/detail/fork_state.h>
#include <conpool/runtime/detail/ring.h>
#include <conpool/runtime/detail/ring_kernel.h>

namespace conpool {

// All rings of the process. The lock is held over a fork, so that the child finds the list whole.
struct ring::registry {
  std::mutex lock;
  ring* first = nullptr;

  static registry& instance() noexcept {
    // Shards may outlive static objects, so this one is never destroyed.
    alignas(registry) static std::byte memory[sizeof(registry)];
    static registry* const all = new (memory) registry();
    return *all;
  }
  static void prepare() noexcept { instance().lock.lock(); }
  static void in_parent() noexcept {
    registry& all = instance();
    if (all.first != nullptr) detail::forked_parent.store(true, std::memory_order_relaxed);
    all.lock.unlock();
  }
  static void in_child() noexcept {
    registry& all = instance();
    if (all.first != nullptr) detail::forked_child.store(true, std::memory_order_relaxed);
    for (ring* one = all.first; one != nullptr; one = one->next_ring_) one->cut_off();
    all.lock.unlock();
  }
};

void ring::enter_registry() {
  registry& all = registry::instance();
  static const int handled =
      pthread_atfork(&registry::prepare, &registry::in_parent, &registry::in_child);
  if (handled != 0) throw std::bad_alloc();
  const std::lock_guard hold(all.lock);
  next_ring_ = all.first;
  all.first = this;
}

void ring::leave_registry() noexcept {
  registry& all = registry::instance();
  const std::lock_guard hold(all.lock);
  for (ring** at = &all.first; *at != nullptr; at = &(*at)->next_ring_) {
    if (*at != this) continue;
    *at = next_ring_;
    return;
  }
}

void ring::cut_off() noexcept {
  // They say: something is pending, and the queue is full.
  static unsigned no_tail = 0;
  static unsigned always_pending = pending_flags;
  forked_ = true;
  cq_tail_ = &no_tail;
  sq_flags_ = &always_pending;
  sq_full_at_ = sq_tail_;
  bell_.connect(-1);  // its eventfd is the parent's, too
  signal_fd_ = -1;    // the wake_target closes it
}

}  // namespace conpool

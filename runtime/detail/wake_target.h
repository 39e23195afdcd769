// Where a shard is woken: the descriptors of its ring and of its eventfds, owned together and
// counted.
//
// Whoever wakes a shard does it by number, and may do it after the shard has ended: its mail was
// taken in a turn that was the last, or the kernel refuses the wake-up later. By then the number
// could belong to another file. So each waker holds a reference from before it delivers its mail
// until its wake-up has been answered, and the descriptors are closed with the last one.
//
//   target.keep();                        // before the mail is posted
//   if (inbox.push(item)) sender.wake(target);
//   target.let_go();
//
// The ring makes it and holds the first reference. Any thread may call anything but watch_by(),
// which is for the ring's owner.
#pragma once

#include <atomic>

#include <conpool/runtime/detail/socket_calls.h>

namespace conpool {

// It is aligned so that its address leaves room for the ring's tag.
class alignas(8) wake_target {
 public:
  wake_target(int ring_fd, int event_fd) noexcept : ring_fd_(ring_fd), event_fd_(event_fd) {}
  wake_target(const wake_target&) = delete;
  wake_target& operator=(const wake_target&) = delete;

  int ring_fd() const noexcept { return ring_fd_; }
  // Threads without a ring wake the shard through it; the shard keeps a read of it in flight.
  int event_fd() const noexcept { return event_fd_; }

  // relaxed: who calls it has a reference already, or knows that the shard lives.
  void keep() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void let_go() noexcept {
    // acq_rel: what others did with the descriptors happens before they are closed.
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  // Wakes the shard by its eventfd, and the foreign loop that watches the ring. The kernel does not
  // pass a signal on from one eventfd to another, so a foreign loop gets its own.
  void signal() noexcept {
    socket_calls::signal_event(event_fd_);
    // acquire: pairs with watch_by(). Whoever finds the shard asleep has synchronized with its
    // falling asleep (mailbox.h), and so sees a descriptor that was opened before.
    if (const int watched = watched_fd_.load(std::memory_order_acquire); watched >= 0) {
      socket_calls::signal_event(watched);
    }
  }
  // Whether a foreign loop has to be told.
  bool watched() const noexcept { return watched_fd_.load(std::memory_order_acquire) >= 0; }
  // From now on signal() reaches the loop that watches this eventfd, too; it is closed with the
  // others.
  void watch_by(int event_fd) noexcept { watched_fd_.store(event_fd, std::memory_order_release); }

 private:
  ~wake_target() {
    for (const int fd : {ring_fd_, event_fd_, watched_fd_.load(std::memory_order_relaxed)}) {
      if (fd >= 0) socket_calls::close(fd);
    }
  }

  const int ring_fd_;
  const int event_fd_;
  std::atomic<int> watched_fd_ = -1;
  std::atomic<unsigned> references_ = 1;
};

}  // namespace conpool

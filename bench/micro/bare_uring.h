// An io_uring set up as runtime/detail/ring.cpp does it, and nothing else. The floors run on it.
//
// A benchmark function has one of its own and uses it on one thread. A failed system call ends the
// process.
#pragma once

#include <liburing.h>

#include <atomic>

namespace conpool::micro {

// Ends the process if a liburing call returned an error.
void check_ring_call(int code, const char* what);

class bare_uring {
 public:
  bare_uring();
  ~bare_uring() { io_uring_queue_exit(&uring_); }
  bare_uring(const bare_uring&) = delete;
  bare_uring& operator=(const bare_uring&) = delete;

  io_uring* get() noexcept { return &uring_; }

  // Takes one turn: submits the prepared entries and waits, then hands each completion to handle(),
  // entering the kernel for deferred ones as long as the kernel says that there are some. Returns
  // how often it entered the kernel.
  template <typename Handle>
  unsigned turn(Handle handle);
  std::uint64_t submissions() const noexcept { return submissions_; }

 private:
  io_uring uring_{};
  std::uint64_t submissions_ = 0;
};

template <typename Handle>
unsigned bare_uring::turn(Handle handle) {
  // liburing's io_uring_submit_and_wait() returns how many entries it submitted.
  const int submitted = io_uring_submit_and_wait(&uring_, 1);
  unsigned enters = 1;
  if (submitted > 0) submissions_ += static_cast<unsigned>(submitted);
  for (;;) {
    io_uring_cqe* entry;
    unsigned head;
    unsigned seen = 0;
    io_uring_for_each_cqe(&uring_, head, entry) {
      ++seen;
      handle(*entry);
    }
    io_uring_cq_advance(&uring_, seen);
    const unsigned flags =
        std::atomic_ref<unsigned>(*uring_.sq.kflags).load(std::memory_order_acquire);
    if ((flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) == 0) break;
    // The kernel may set the flag just after it has run the work that the flag announces. The flag
    // then stays set until there is more work, so a call that finds nothing must not be repeated
    // for ever.
    if (seen == 0) break;
    io_uring_get_events(&uring_);
    ++enters;
  }
  return enters;
}

}  // namespace conpool::micro

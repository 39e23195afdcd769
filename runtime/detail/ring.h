// The one door to the kernel: an io_uring, the receive buffers that it fills, and the socket calls.
//
// A shard owns it. Any thread may create a ring; the first thread that calls enable() owns it from
// then on, and only that thread may use it (IORING_SETUP_SINGLE_ISSUER). Except for the resolver's
// c-ares, nothing above this class makes a system call for network I/O, so the same code runs on
// another implementation of this header, chosen at link time (tests/sim: a simulated network).
//
// Submissions are prepared in memory and leave together in the next enter(), so a turn of the shard
// costs one system call, however many operations it starts. A full submission queue is flushed, and
// what does not fit even then is kept aside and follows; callers never notice.
//
//   ring.connect(op, fd, address, length);   // prepared
//   ring.enter(10ms);                        // submitted; waits for a completion
//   ring.harvest();                          // runs op's handler
//
// The oldest kernel that will do is 6.1 (IORING_SETUP_DEFER_TASKRUN). Sources: io_uring_setup(2),
// io_uring_enter(2), io_uring_register(2).
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/detail/operation.h>
#include <conpool/runtime/detail/socket_calls.h>
#include <conpool/runtime/detail/turn_bell.h>
#include <conpool/runtime/detail/wake_target.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/kernel.h>

struct io_uring_sqe;  // liburing's, seen by the ring's sources only

namespace conpool {

class CONPOOL_API ring : public socket_calls {
 public:
  // Any thread may call it. Errors: ring_unavailable with the likely cause as detail,
  // invalid_config for options out of their range, too_many_files, out_of_memory (which is often
  // RLIMIT_MEMLOCK; the detail says how much a ring needs).
  static result<std::unique_ptr<ring>> create(const ring_options& options);
  ~ring();
  ring(const ring&) = delete;
  ring& operator=(const ring&) = delete;

  // Makes the calling thread the owner. Errors: ring_unavailable.
  result<void> enable();

  // The ring's descriptor. It is not for epoll: a deferred completion makes it readable, but wakes
  // nobody who waits on it already.
  int fd() const noexcept { return target_->ring_fd(); }
  // Where other threads wake the owner. It owns the ring's descriptors, and may outlive the ring.
  wake_target& waker() noexcept { return *target_; }

  // Returns an eventfd that the kernel makes readable when there is something to harvest, for loops
  // that wait elsewhere; -errno if none can be opened. The first call opens it, the ring closes it.
  int signal_fd() noexcept;
  bool has_signal_fd() const noexcept { return signal_fd_ >= 0; }
  // While it is muted, which is during a turn, the eventfd is not signalled; completions_pending()
  // tells after unmute_signal() what has happened meanwhile. mute_signal() also takes back a signal
  // that was given. Until it is muted again, starting an operation makes the eventfd readable, too,
  // because it takes a turn to submit it. Without a signal_fd() both do nothing.
  void mute_signal() noexcept {
    if (signal_fd_ >= 0) [[unlikely]]
      mute();
  }
  void unmute_signal() noexcept {
    if (signal_fd_ >= 0) [[unlikely]]
      unmute();
  }

  // --- Starting operations. None of these makes a system call unless the queue is full. Memory and
  // addresses must stay valid until the operation's handler has run.
  void nop(operation& op, int result = 0) noexcept;
  void connect(operation& op, int fd, const sockaddr* address, socklen_t length) noexcept;
  void accept(operation& op, int fd) noexcept;
  void receive(operation& op, int fd, std::span<std::byte> memory) noexcept;
  // Waits for bytes without pinning memory. It completes with a buffer of this ring, which
  // operation::buffer_id() names and recycle_buffer() gives back; with 0 at the end of the stream;
  // or with -ENOBUFS when bytes arrived and no buffer was free.
  void receive_posted(operation& op, int fd) noexcept;
  // Sends with MSG_NOSIGNAL, and at most send_max bytes at once. The kernel retries short sends,
  // but the result may still be short.
  void send(operation& op, int fd, std::span<const std::byte> memory) noexcept;
  // Does the same with what `message` lists, as sendmsg(2) does. The message and its list must stay
  // valid, too, and list at most send_max bytes.
  void send_gathered(operation& op, int fd, const msghdr& message) noexcept;
  // The kernel gives a send that it has to take up more than 128 times to a thread of its own,
  // which then sits in it until the peer has taken all. With this bound, a socket that has room for
  // 4 KiB at a time does not get there.
  static constexpr std::size_t send_max = std::size_t{512} * 1024;
  // Waits once for any of `events` (POLLIN, POLLOUT ...).
  void poll(operation& op, int fd, unsigned events) noexcept;
  void read(operation& op, int fd, std::span<std::byte> memory) noexcept;
  // Asks what waits in the receive queue and takes nothing of it. It completes at once, with 1 if
  // bytes wait, 0 at the end of the stream, -EAGAIN if nothing waits, or the socket's error. It is
  // recv(2) with MSG_PEEK | MSG_DONTWAIT; many of them leave in one submission.
  void peek(operation& op, int fd) noexcept;
  using socket_calls::peek;
  // Asks the kernel to end an operation in flight. Asking twice is harmless.
  void cancel(operation& op) noexcept;
  // Makes the ring of `other` post a completion that only wakes it. If the kernel refuses, its
  // eventfd is signalled instead. `other` is kept until the kernel has answered.
  void wake(wake_target& other) noexcept;
  // Makes the signal_fd() readable once, if this is called between two turns.
  turn_bell& bell() noexcept { return bell_; }

  // --- Entering the kernel.
  // Submits what is prepared. If `wait` is positive, it blocks until a completion is there or the
  // time is over; a signal ends the wait early. A zero wait still runs deferred completions. An
  // error of the kernel that no turn could get over (a wrong thread, a broken ring, a call that was
  // forbidden meanwhile) ends the process with a message.
  void enter(duration wait) noexcept;
  // Whether enter(0ms) would change anything: there is something to submit, or a completion to run.
  bool needs_enter() const noexcept;
  // Runs the handlers of all completions that are there, entering the kernel as often as the
  // deferred ones need. Returns how many there were. Submits nothing.
  // With `most` it stops after about so many.
  unsigned harvest(unsigned most = ~0U) noexcept;

  // Whether a harvest could find anything. It costs two memory reads, and sees what a recv(2) with
  // MSG_PEEK would see.
  bool completions_pending() const noexcept {
    const unsigned tail = std::atomic_ref<unsigned>(*cq_tail_).load(std::memory_order_acquire);
    const unsigned flags = std::atomic_ref<unsigned>(*sq_flags_).load(std::memory_order_relaxed);
    return tail != cq_head_ || (flags & pending_flags) != 0;
  }

  // --- Receive buffers.
  std::span<const std::byte> buffer(std::uint16_t id, std::size_t length) const noexcept {
    return {buffers_ + std::size_t{id} * buffer_bytes_, length};
  }
  void recycle_buffer(std::uint16_t id) noexcept;

  // Entries are counted in the order in which they are prepared, which is that of their submission.
  // What prepared() was right behind an entry is the entry's place: the kernel has it as soon as
  // submitted() has come so far.
  std::uint64_t prepared() const noexcept { return prepared_; }
  std::uint64_t submitted() const noexcept { return submitted_; }

  // Whether this process is a child that was forked after the ring was made. Then nothing reaches
  // the kernel any more: what is started never ends, enter() and harvest() do nothing, cancel()
  // forgets the operation, and the destructor only closes descriptors.
  bool forked() const noexcept { return forked_; }

  // How many operations, cancels and wake-ups the kernel has not answered yet.
  std::size_t in_flight() const noexcept { return in_flight_; }

  const ring_statistics& statistics() const noexcept { return statistics_; }
  // The user-space memory that is mapped or allocated for queues and buffers, in bytes.
  std::size_t memory_bytes() const noexcept;

 private:
  ring() noexcept;
  struct kernel;    // the liburing structures, ring_kernel.h
  struct registry;  // of all rings, ring_fork.cpp

  io_uring_sqe* next_entry() noexcept;
  io_uring_sqe* next_entry_slowly() noexcept;
  io_uring_sqe* prepare(operation& op) noexcept;
  int enter_kernel(unsigned submit, unsigned min_complete, unsigned flags, duration wait) noexcept;
  void flush() noexcept;
  void mute() noexcept;
  void unmute() noexcept;
  void limit_queue() noexcept;
  void cut_off() noexcept;
  void enter_registry();
  void leave_registry() noexcept;
  void refill_from_backlog() noexcept;
  void dispatch(std::uint64_t user_data, int result, unsigned flags) noexcept;
  result<void> register_buffers(const ring_options& options);

  // IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN, checked against the headers in ring.cpp.
  static constexpr unsigned pending_flags = 2U | 4U;

  unsigned* cq_tail_ = nullptr;
  unsigned* sq_flags_ = nullptr;
  unsigned cq_head_ = 0;
  unsigned sq_tail_ = 0;  // prepared so far
  // The tail at which next_entry() has to look closer: the queue is full, or entries are kept
  // aside, or this is outside of a turn and the loop has to be told.
  unsigned sq_full_at_ = 0;
  unsigned sq_mask_ = 0;
  io_uring_sqe* sqes_ = nullptr;
  int signal_fd_ = -1;
  bool outside_ = false;  // of a turn, and an operation has to ring the bell
  bool forked_ = false;
  ring* next_ring_ = nullptr;  // of the registry
  std::byte* buffers_ = nullptr;
  std::byte peeked_{};  // where peeks put the byte that nobody reads
  std::size_t buffer_bytes_ = 0;
  std::size_t in_flight_ = 0;
  std::uint64_t prepared_ = 0;
  std::uint64_t submitted_ = 0;
  ring_statistics statistics_;
  turn_bell bell_;
  wake_target* target_ = nullptr;
  std::unique_ptr<kernel> kernel_;
};

}  // namespace conpool

#include <conpool/runtime/detail/ring.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <unistd.h>

#include <conpool/runtime/detail/ring_kernel.h>

namespace conpool {
namespace {

// The low three bits of user_data say whose completion it is.
enum tag : std::uint64_t {
  tag_operation = 0,  // an operation's own; the rest is its address
  tag_cancel = 1,     // a cancel's; the rest is the address of the operation it was aimed at
  tag_wake = 2,       // another shard woke this ring
  tag_wake_sent = 3,  // this ring woke another one; the rest is the address of its wake_target
};
constexpr std::uint64_t tag_mask = 7;

}  // namespace

static_assert((IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN) == 6U);

void ring::mute() noexcept {
  unsigned* const flags = kernel_->uring.cq.kflags;
  store_release(flags, *flags | IORING_CQ_EVENTFD_DISABLED);
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t taken = ::read(signal_fd_, &count, sizeof count);
  bell_.answer();
  outside_ = false;
  limit_queue();
}

void ring::unmute() noexcept {
  unsigned* const flags = kernel_->uring.cq.kflags;
  store_release(flags, *flags & ~unsigned{IORING_CQ_EVENTFD_DISABLED});
  // The kernel queues its work, marks the ring and looks whether to signal. Here it is the other
  // way round, and one of the two must see what the other did. The fence is this side's part.
  std::atomic_thread_fence(std::memory_order_seq_cst);
#if !defined(__x86_64__)
  // The kernel has a full barrier behind the queueing, but promises none between the mark and the
  // look (its atomic_or() is one on x86 only). So the mark may be seen too late here; but an enter
  // looks at the queue itself, and puts what it finds where completions_pending() sees it.
  enter_kernel(0, 0, IORING_ENTER_GETEVENTS, duration::zero());
#endif
  outside_ = true;
  limit_queue();
}

void ring::limit_queue() noexcept {
  kernel& k = *kernel_;
  // While entries are kept aside, the queue counts as full: they must go first, since order
  // matters. Outside of a turn it does, too, so that the check for a full queue, which is made
  // anyway, finds the first operation that is started there.
  const bool closer = outside_ || !k.backlog.empty();
  sq_full_at_ = closer ? sq_tail_ : load_acquire(k.uring.sq.khead) + sq_mask_ + 1;
}

void ring::recycle_buffer(std::uint16_t id) noexcept {
  kernel& k = *kernel_;
  CONPOOL_ASSERT(id < k.buffer_count, "a buffer that is not of this ring was recycled");
  // Slot 0 shares its last two bytes with the queue's tail, so its members are set one by one.
  io_uring_buf& slot = k.buffer_ring->bufs[k.buffer_tail & (k.buffer_count - 1)];
  slot.addr = reinterpret_cast<std::uint64_t>(buffers_ + std::size_t{id} * buffer_bytes_);
  slot.len = static_cast<std::uint32_t>(buffer_bytes_);
  slot.bid = id;
  ++k.buffer_tail;
  std::atomic_ref<std::uint16_t>(k.buffer_ring->tail)
      .store(k.buffer_tail, std::memory_order_release);
}

io_uring_sqe* ring::next_entry() noexcept {
  // Only an enter moves the kernel's head, so the copy taken after the last one is exact.
  if (sq_tail_ != sq_full_at_) [[likely]] {
    io_uring_sqe* const entry = &sqes_[sq_tail_++ & sq_mask_];
    ++prepared_;
    std::memset(entry, 0, sizeof *entry);
    return entry;
  }
  return next_entry_slowly();
}

io_uring_sqe* ring::next_entry_slowly() noexcept {
  kernel& k = *kernel_;
  if (forked_) {
    static thread_local io_uring_sqe nowhere;
    return &nowhere;
  }
  if (outside_) {
    outside_ = false;
    bell_.ring();
    limit_queue();
    if (sq_tail_ != sq_full_at_) return next_entry();
  }
  if (k.backlog.empty()) {
    flush();
    if (sq_tail_ != sq_full_at_) return next_entry();
  }
  // Order matters (a cancel must find what it is aimed at), so all entries queue up behind the
  // first.
  k.backlog.emplace_back(io_uring_sqe{});
  ++prepared_;
  return &k.backlog.back();
}

io_uring_sqe* ring::prepare(operation& op) noexcept {
  op.started();
  ++in_flight_;
  io_uring_sqe* entry = next_entry();
  entry->user_data = reinterpret_cast<std::uint64_t>(&op) | tag_operation;
  return entry;
}

void ring::nop(operation& op, int result) noexcept {
  io_uring_sqe* entry = prepare(op);
  entry->opcode = IORING_OP_NOP;
  if (result != 0) {
    entry->rw_flags = IORING_NOP_INJECT_RESULT;
    entry->len = static_cast<unsigned>(result);
  }
}

void ring::connect(operation& op, int fd, const sockaddr* address, socklen_t length) noexcept {
  io_uring_sqe* entry = prepare(op);
  entry->opcode = IORING_OP_CONNECT;
  entry->fd = fd;
  entry->addr = reinterpret_cast<std::uint64_t>(address);
  entry->off = length;
}

void ring::accept(operation& op, int fd) noexcept {
  io_uring_sqe* entry = prepare(op);
  entry->opcode = IORING_OP_ACCEPT;
  entry->fd = fd;
  entry->accept_flags = SOCK_CLOEXEC;
}

void ring::receive(operation& op, int fd, std::span<std::byte> memory) noexcept {
  io_uring_sqe* entry = prepare(op);
  entry->opcode = IORING_OP_RECV;
  entry->fd = fd;
  entry->addr = reinterpret_cast<std::uint64_t>(memory.data());
  entry->len = static_cast<unsigned>(std::min<std::size_t>(memory.size(), 1U << 30));
}

void ring::receive_posted(operation& op, int fd) noexcept {
  io_uring_sqe* entry = prepare(op);
  entry->opcode = IORING_OP_RECV;
  entry->fd = fd;
  entry->flags = IOSQE_BUFFER_SELECT;
  entry->buf_group = buffer_group;
  // Nothing can have come yet. Without this the kernel would first try a receive that must fail.
  entry->ioprio = IORING_RECVSEND_POLL_FIRST;
}

void ring::send(operation& op, int fd, std::span<const std::byte> memory) noexcept {
  io_uring_sqe* entry = prepare(op);
  entry->opcode = IORING_OP_SEND;
  entry->fd = fd;
  entry->addr = reinterpret_cast<std::uint64_t>(memory.data());
  entry->len = static_cast<unsigned>(std::min(memory.size(), send_max));
  entry->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
}

void ring::send_gathered(operation& op, int fd, const msghdr& message) noexcept {
  io_uring_sqe* entry = prepare(op);
  entry->opcode = IORING_OP_SENDMSG;
  entry->fd = fd;
  entry->addr = reinterpret_cast<std::uint64_t>(&message);
  entry->len = 1;
  entry->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
}

void ring::poll(operation& op, int fd, unsigned events) noexcept {
  io_uring_sqe* entry = prepare(op);
  entry->opcode = IORING_OP_POLL_ADD;
  entry->fd = fd;
  entry->poll32_events = events;
}

void ring::read(operation& op, int fd, std::span<std::byte> memory) noexcept {
  io_uring_sqe* entry = prepare(op);
  entry->opcode = IORING_OP_READ;
  entry->fd = fd;
  entry->addr = reinterpret_cast<std::uint64_t>(memory.data());
  entry->len = static_cast<unsigned>(memory.size());
  entry->off = ~std::uint64_t{0};  // the current position: the descriptor is a stream
}

void ring::peek(operation& op, int fd) noexcept {
  io_uring_sqe* entry = prepare(op);
  entry->opcode = IORING_OP_RECV;
  entry->fd = fd;
  entry->addr = reinterpret_cast<std::uint64_t>(&peeked_);
  entry->len = 1;
  entry->msg_flags = MSG_PEEK | MSG_DONTWAIT;
}

void ring::cancel(operation& op) noexcept {
  if (forked_) {
    op.owed_ = 0;
    return;
  }
  if (op.owed_ == 0 || op.cancel_requested_) return;
  op.cancel_requested_ = true;
  ++op.owed_;
  ++in_flight_;
  io_uring_sqe* entry = next_entry();
  entry->opcode = IORING_OP_ASYNC_CANCEL;
  entry->fd = -1;
  entry->addr = reinterpret_cast<std::uint64_t>(&op) | tag_operation;
  entry->user_data = reinterpret_cast<std::uint64_t>(&op) | tag_cancel;
}

void ring::wake(wake_target& other) noexcept {
  if (forked_) return;
  other.keep();  // until the answer: a refusal may come when the other ring is gone
  ++in_flight_;
  io_uring_sqe* entry = next_entry();
  entry->opcode = IORING_OP_MSG_RING;
  entry->fd = other.ring_fd();
  entry->off = tag_wake;  // the user_data the other ring sees
  entry->user_data = reinterpret_cast<std::uint64_t>(&other) | tag_wake_sent;
}

int ring::enter_kernel(unsigned submit, unsigned min_complete, unsigned flags,
                       duration wait) noexcept {
  kernel& k = *kernel_;
  ++statistics_.enters;
  if (k.registered_fd) flags |= IORING_ENTER_REGISTERED_RING;
  __kernel_timespec timeout{};
  io_uring_getevents_arg argument{};
  void* extra = nullptr;
  std::size_t extra_bytes = 0;
  if (min_complete > 0) {
    ++statistics_.waits;
    timeout.tv_sec = wait.count() / 1'000'000'000;
    timeout.tv_nsec = wait.count() % 1'000'000'000;
    argument.ts = reinterpret_cast<std::uint64_t>(&timeout);
    flags |= IORING_ENTER_EXT_ARG;
    extra = &argument;
    extra_bytes = sizeof argument;
  }
  store_release(k.uring.sq.ktail, sq_tail_);
  const int code = io_uring_enter2(static_cast<unsigned>(k.enter_fd), submit, min_complete, flags,
                                   static_cast<sigset_t*>(extra), extra_bytes);
  // EINTR and ETIME end a wait. EBUSY, EAGAIN and ENOMEM leave entries queued for the next enter,
  // and there are completions to harvest meanwhile. After anything else no turn would get any
  // further, so the loop would only spin.
  const bool passing =
      code == -EINTR || code == -ETIME || code == -EBUSY || code == -EAGAIN || code == -ENOMEM;
  if (code < 0 && !passing) [[unlikely]]
    detail::give_up(
        "io_uring_enter failed (used on another thread, forbidden meanwhile, or broken)",
        errno_name(-code).c_str());
  if (code > 0) {
    statistics_.submissions += static_cast<unsigned>(code);
    ++statistics_.submitting_enters;
  }
  const unsigned head = load_acquire(k.uring.sq.khead);
  submitted_ += head - std::exchange(k.taken, head);
  limit_queue();
  return code;
}

void ring::flush() noexcept {
  kernel& k = *kernel_;
  ++statistics_.flushes;
  enter_kernel(sq_tail_ - load_acquire(k.uring.sq.khead), 0, 0, duration::zero());
}

void ring::refill_from_backlog() noexcept {
  kernel& k = *kernel_;
  const unsigned full_at = load_acquire(k.uring.sq.khead) + sq_mask_ + 1;
  while (!k.backlog.empty() && sq_tail_ != full_at) {
    sqes_[sq_tail_++ & sq_mask_] = k.backlog.front();
    k.backlog.pop_front();
  }
}

void ring::enter(duration wait) noexcept {
  if (forked_) return;
  kernel& k = *kernel_;
  if (!k.backlog.empty()) [[unlikely]]
    refill_from_backlog();
  const unsigned submit = sq_tail_ - load_acquire(k.uring.sq.khead);
  // With entries kept aside there is more to submit, so do not sleep.
  const bool block = wait > duration::zero() && k.backlog.empty();
  enter_kernel(submit, block ? 1 : 0, IORING_ENTER_GETEVENTS, wait);
}

bool ring::needs_enter() const noexcept {
  const kernel& k = *kernel_;
  if (forked_) return false;
  if (sq_tail_ != load_acquire(k.uring.sq.khead) || !k.backlog.empty()) return true;
  return (load_acquire(sq_flags_) & pending_flags) != 0;
}

void ring::dispatch(std::uint64_t user_data, int result, unsigned flags) noexcept {
  const std::uint64_t kind = user_data & tag_mask;
  if (kind == tag_wake) return;
  if (kind == tag_wake_sent) {
    wake_target& other = *reinterpret_cast<wake_target*>(user_data & ~tag_mask);
    --in_flight_;
    if (result < 0) other.signal();
    other.let_go();
    return;
  }
  operation& op = *reinterpret_cast<operation*>(user_data & ~tag_mask);
  CONPOOL_ASSERT(op.owed_ > 0, "a completion for an operation that is not in flight");
  if (kind == tag_operation) {
    // A cancel that meets a blocking attempt (a connect to a full Unix listener) interrupts it.
    if (result == -EINTR && op.cancel_requested_) result = -ECANCELED;
    op.result_ = result;
    op.has_buffer_ = (flags & IORING_CQE_F_BUFFER) != 0;
    op.buffer_id_ = static_cast<std::uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT);
    op.socket_nonempty_ = (flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
    if (result == -ENOBUFS) ++statistics_.buffer_misses;
  }
  --in_flight_;
  // A cancel's own answer (done, not found, already running) says nothing: only the operation's
  // completion does, and the memory is free once both have come.
  if (--op.owed_ == 0) op.on_complete_(op);
}

unsigned ring::harvest(unsigned most) noexcept {
  kernel& k = *kernel_;
  if (forked_) return 0;
  unsigned total = 0;
  // One enter runs about 20 deferred completions. The loop is bounded, so that a flood of them
  // cannot starve the turn.
  for (unsigned round = 0; round < 256 && total < most; ++round) {
    const unsigned tail = load_acquire(cq_tail_);
    while (cq_head_ != tail && total < most) {
      const io_uring_cqe entry = k.uring.cq.cqes[cq_head_ & *k.uring.cq.kring_mask];
      ++cq_head_;
      ++total;
      store_release(k.uring.cq.khead, cq_head_);
      dispatch(entry.user_data, entry.res, entry.flags);
    }
    const unsigned flags = load_acquire(sq_flags_) & pending_flags;
    if (flags == 0) {
      if (load_acquire(cq_tail_) == cq_head_) break;
      continue;
    }
    if ((flags & IORING_SQ_CQ_OVERFLOW) != 0) ++statistics_.overflows;
    // The kernel may set TASKRUN just after this thread ran the work that it announces; then no
    // enter clears it again, and completions would seem pending for ever. If it is cleared before
    // the enter that runs whatever is there, it cannot be lost: the kernel sets it after adding
    // work, and again if it left some.
    std::atomic_ref<unsigned>(*sq_flags_).fetch_and(~IORING_SQ_TASKRUN, std::memory_order_acq_rel);
    enter_kernel(0, 0, IORING_ENTER_GETEVENTS, duration::zero());
  }
  statistics_.completions += total;
  return total;
}

}  // namespace conpool

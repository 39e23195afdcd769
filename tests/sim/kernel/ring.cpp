// conpool::ring on the simulated network, in place of runtime/detail/ring.cpp: a thin layer that
// makes entries of the calls and brings completions back to their operations.
#include <conpool/runtime/detail/ring.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <string>
#include <thread>
#include <utility>

#include <tests/sim/kernel/network.h>
#include <tests/sim/kernel/uring.h>

namespace conpool {
namespace {

using sim::entry;
using sim::opcode;
using sim::uring;

// The low three bits of user_data, as in the real ring.
enum tag : std::uint64_t { tag_operation = 0, tag_cancel = 1, tag_wake = 2, tag_wake_sent = 3 };
constexpr std::uint64_t tag_mask = 7;

error invalid(const char* field, unsigned value) {
  return error(errc::invalid_config, phase::start)
      .about(field)
      .with_detail("it is " + std::to_string(value));
}

entry on_memory(opcode what, int fd, std::byte* memory, std::size_t length) noexcept {
  entry made{.what = what, .user_data = 0, .fd = fd};
  made.memory = memory;
  made.length = std::min<std::size_t>(length, 1U << 30);
  return made;
}

}  // namespace

struct ring::kernel {
  kernel(sim::network& network, const uring::sizes& sizes) : net(network), queue(network, sizes) {}

  void push(ring& self, const entry& wanted);
  void start(ring& self, operation& op, entry wanted);

  sim::network& net;
  uring queue;
  std::thread::id owner;
};

ring::ring() noexcept = default;

result<std::unique_ptr<ring>> ring::create(const ring_options& options) {
  const unsigned count = options.receive_buffers;
  const unsigned bytes = options.receive_buffer_bytes;
  if (options.sq_entries == 0 || options.sq_entries > 32768) {
    return fail(invalid("ring_options.sq_entries", options.sq_entries));
  }
  if (!std::has_single_bit(count) || count > 32768) {
    return fail(invalid("ring_options.receive_buffers", count));
  }
  if (bytes < 64 || bytes > (1U << 20)) {
    return fail(invalid("ring_options.receive_buffer_bytes", bytes));
  }
  const unsigned sq_entries = std::bit_ceil(options.sq_entries);
  const uring::sizes sizes{sq_entries, std::bit_ceil(std::max(options.cq_entries, sq_entries)),
                           count, bytes};
  std::unique_ptr<ring> made(new ring());
  made->kernel_ = std::make_unique<kernel>(sim::network::current(), sizes);
  uring& queue = made->kernel_->queue;
  if (queue.fd() < 0) {
    return fail(error(errc::too_many_files, phase::start, queue.fd()).about("io_uring"));
  }
  const int event = open_event();
  if (event < 0) {
    close(queue.fd());
    return fail(error(errc::too_many_files, phase::start, event).about("eventfd"));
  }
  made->target_ = new wake_target(queue.fd(), event);
  made->cq_tail_ = &queue.tail;
  made->sq_flags_ = &queue.flags;
  static_assert(pending_flags == (uring::flag_overflow | uring::flag_task_work));
  made->buffers_ = queue.buffers();
  made->buffer_bytes_ = bytes;
  return made;
}

ring::~ring() {
  kernel_.reset();
  if (target_ != nullptr) target_->let_go();
}

result<void> ring::enable() {
  kernel_->owner = std::this_thread::get_id();
  return {};
}

int ring::signal_fd() noexcept {
  if (signal_fd_ < 0) {
    signal_fd_ = kernel_->net.sockets().open_event();
    bell_.connect(signal_fd_);
    target_->watch_by(signal_fd_);
  }
  return signal_fd_;
}

// Nobody can wait on a descriptor of the simulation, but what is told to it can be looked at.
void ring::mute() noexcept {
  bell_.answer();
  outside_ = false;
}
void ring::unmute() noexcept {
  outside_ = true;
}

void ring::recycle_buffer(std::uint16_t id) noexcept {
  kernel_->net.spend();
  kernel_->queue.recycle(id);
}

// --- starting operations

void ring::flush() noexcept {
  ++statistics_.flushes;
  ++statistics_.enters;
  ++statistics_.submitting_enters;
  const unsigned submitted = kernel_->queue.submit(kernel_->queue.prepared());
  submitted_ += submitted;
  statistics_.submissions += submitted;
}

void ring::kernel::push(ring& self, const entry& wanted) {
  ++self.prepared_;
  if (std::exchange(self.outside_, false)) self.bell_.ring();
  if (queue.prepare(wanted)) return;
  self.flush();
  queue.prepare(wanted);
}

void ring::kernel::start(ring& self, operation& op, entry wanted) {
  net.spend();
  op.started();
  ++self.in_flight_;
  wanted.user_data = reinterpret_cast<std::uint64_t>(&op) | tag_operation;
  push(self, wanted);
}

void ring::nop(operation& op, int result) noexcept {
  kernel_->start(*this, op, {.what = opcode::nop, .user_data = 0, .value = result});
}

void ring::connect(operation& op, int fd, const sockaddr* address, socklen_t length) noexcept {
  kernel_->start(*this, op,
                 {.what = opcode::connect,
                  .user_data = 0,
                  .fd = fd,
                  .address = address,
                  .address_length = length});
}

void ring::accept(operation& op, int fd) noexcept {
  kernel_->start(*this, op, {.what = opcode::accept, .user_data = 0, .fd = fd});
}

void ring::receive(operation& op, int fd, std::span<std::byte> memory) noexcept {
  kernel_->start(*this, op, on_memory(opcode::receive, fd, memory.data(), memory.size()));
}

void ring::receive_posted(operation& op, int fd) noexcept {
  kernel_->start(*this, op, {.what = opcode::receive_posted, .user_data = 0, .fd = fd});
}

void ring::send(operation& op, int fd, std::span<const std::byte> memory) noexcept {
  auto* const bytes = const_cast<std::byte*>(memory.data());  // only read
  kernel_->start(*this, op, on_memory(opcode::send, fd, bytes, std::min(memory.size(), send_max)));
}

void ring::send_gathered(operation& op, int fd, const msghdr& message) noexcept {
  entry wanted{.what = opcode::send, .user_data = 0, .fd = fd};
  for (std::size_t i = 0; i < message.msg_iovlen; ++i) {
    const iovec& piece = message.msg_iov[i];
    wanted.pieces.emplace_back(static_cast<const std::byte*>(piece.iov_base), piece.iov_len);
    wanted.length += piece.iov_len;
  }
  kernel_->start(*this, op, wanted);
}

void ring::poll(operation& op, int fd, unsigned events) noexcept {
  kernel_->start(
      *this, op,
      {.what = opcode::poll, .user_data = 0, .fd = fd, .value = static_cast<int>(events)});
}

void ring::read(operation& op, int fd, std::span<std::byte> memory) noexcept {
  kernel_->start(*this, op, on_memory(opcode::read, fd, memory.data(), memory.size()));
}

void ring::peek(operation& op, int fd) noexcept {
  kernel_->start(*this, op, {.what = opcode::peek, .user_data = 0, .fd = fd});
}

void ring::cancel(operation& op) noexcept {
  kernel_->net.spend();
  if (op.owed_ == 0 || op.cancel_requested_) return;
  op.cancel_requested_ = true;
  ++op.owed_;
  ++in_flight_;
  const auto target = reinterpret_cast<std::uint64_t>(&op);
  kernel_->push(
      *this,
      {.what = opcode::cancel, .user_data = target | tag_cancel, .target = target | tag_operation});
}

void ring::wake(wake_target& other) noexcept {
  other.keep();
  ++in_flight_;
  kernel_->push(*this, {.what = opcode::wake,
                        .user_data = reinterpret_cast<std::uint64_t>(&other) | tag_wake_sent,
                        .fd = other.ring_fd()});
}

// --- entering the kernel

void ring::enter(duration wait) noexcept {
  kernel& k = *kernel_;
  if (k.owner != std::this_thread::get_id()) sim::misuse("a ring was entered on another thread");
  const sim::fault_plan& faults = k.net.faults();
  k.net.spend();
  ++statistics_.enters;
  std::size_t most = k.queue.prepared();
  if (most > 0 && k.net.chance(faults.submits_less)) most = k.net.below(most);
  if (const unsigned submitted = k.queue.submit(most); submitted > 0) {
    submitted_ += submitted;
    statistics_.submissions += submitted;
    ++statistics_.submitting_enters;
  }
  k.net.run_due();
  k.queue.run_task_work();
  // An enter that could not take everything does not wait.
  if (wait <= duration::zero() || k.queue.prepared() > 0) return;
  ++statistics_.waits;
  if (k.net.chance(faults.wait_cut_short)) wait = k.net.up_to(wait);
  const time_point limit = saturating_add(k.net.now(), wait);
  while (!k.queue.has_completions()) {
    if (!k.net.advance(limit)) return;
    k.queue.run_task_work();
  }
}

bool ring::needs_enter() const noexcept {
  return kernel_->queue.prepared() > 0 || (*sq_flags_ & pending_flags) != 0;
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
    if (result == -EINTR && op.cancel_requested_) result = -ECANCELED;
    op.result_ = result;
    op.has_buffer_ = (flags & uring::flag_buffer) != 0;
    op.buffer_id_ = static_cast<std::uint16_t>(flags >> uring::buffer_shift);
    op.socket_nonempty_ = (flags & uring::flag_nonempty) != 0;
    if (result == -ENOBUFS) ++statistics_.buffer_misses;
  }
  --in_flight_;
  if (--op.owed_ == 0) op.on_complete_(op);
}

unsigned ring::harvest(unsigned most) noexcept {
  uring& queue = kernel_->queue;
  unsigned total = 0;
  for (unsigned round = 0; round < 256 && total < most; ++round) {
    sim::completion one{};
    while (total < most && queue.pop(one)) {
      ++cq_head_;
      ++total;
      dispatch(one.user_data, one.result, one.flags);
    }
    const unsigned flags = *sq_flags_ & pending_flags;
    if (flags == 0) break;
    if ((flags & uring::flag_overflow) != 0) ++statistics_.overflows;
    ++statistics_.enters;
    queue.run_task_work();
  }
  statistics_.completions += total;
  return total;
}

std::size_t ring::memory_bytes() const noexcept {
  const uring::sizes& sizes = kernel_->queue.capacity();
  return sizes.buffers * sizes.buffer_bytes;
}

}  // namespace conpool

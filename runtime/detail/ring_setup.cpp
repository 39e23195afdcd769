// How a ring is made: its queues, its receive buffers, its eventfd.
#include <cerrno>
#include <new>
#include <string>

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <conpool/runtime/detail/descriptor_failure.h>
#include <conpool/runtime/detail/ring.h>
#include <conpool/runtime/detail/ring_failure.h>
#include <conpool/runtime/detail/ring_kernel.h>

namespace conpool {
namespace {

// 5.19 and 6.1 brought these; the names are in liburing 2.3.
constexpr unsigned setup_flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL |
                                 IORING_SETUP_R_DISABLED | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;

}  // namespace

ring::ring() noexcept = default;

result<std::unique_ptr<ring>> ring::create(const ring_options& options) {
  if (options.sq_entries == 0 || options.sq_entries > 32768) {
    return fail(error(errc::invalid_config, phase::start)
                    .about("ring_options.sq_entries")
                    .with_detail("it is " + std::to_string(options.sq_entries) +
                                 "; it must be 1 to 32768"));
  }
  const unsigned count = options.receive_buffers;
  if (count == 0 || count > 32768 || (count & (count - 1)) != 0) {
    return fail(error(errc::invalid_config, phase::start)
                    .about("ring_options.receive_buffers")
                    .with_detail("it is " + std::to_string(count) +
                                 "; it must be a power of two from 1 to 32768"));
  }
  if (options.receive_buffer_bytes < 64 || options.receive_buffer_bytes > (1U << 20)) {
    return fail(error(errc::invalid_config, phase::start)
                    .about("ring_options.receive_buffer_bytes")
                    .with_detail("it is " + std::to_string(options.receive_buffer_bytes) +
                                 "; it must be 64 to 1048576"));
  }

  std::unique_ptr<ring> made(new ring());
  made->kernel_ = std::make_unique<kernel>();
  io_uring_params parameters{};
  parameters.flags = setup_flags;
  parameters.cq_entries = std::max(options.cq_entries, options.sq_entries);
  const int code =
      io_uring_queue_init_params(options.sq_entries, &made->kernel_->uring, &parameters);
  if (code < 0) {
    made->kernel_.reset();
    return fail(ring_failure("io_uring_setup", code, options));
  }

  io_uring& uring = made->kernel_->uring;
  io_uring_ring_dontfork(&uring);  // a child of fork() must not share the queues
  const int event = open_event();
  if (event < 0)
    return fail(descriptor_failure(event, errc::ring_unavailable, phase::start).about("eventfd"));
  made->target_ = new (std::nothrow) wake_target(uring.ring_fd, event);
  if (made->target_ == nullptr) {
    close(event);
    throw std::bad_alloc();
  }
  made->kernel_->enter_fd = uring.ring_fd;
  made->cq_tail_ = uring.cq.ktail;
  made->sq_flags_ = uring.sq.kflags;
  made->cq_head_ = *uring.cq.khead;
  made->sqes_ = uring.sq.sqes;
  made->sq_mask_ = *uring.sq.kring_entries - 1;
  made->sq_tail_ = *uring.sq.ktail;
  made->sq_full_at_ = made->sq_tail_ + *uring.sq.kring_entries;
  // Entry i of the queue is always submission i: the indirection is never used.
  for (unsigned i = 0; i < *uring.sq.kring_entries; ++i) uring.sq.array[i] = i;
  made->enter_registry();
  if (result<void> registered = made->register_buffers(options); !registered) {
    return fail(registered.error());
  }
  return made;
}

result<void> ring::register_buffers(const ring_options& options) {
  kernel& k = *kernel_;
  k.buffer_count = options.receive_buffers;
  k.buffer_ring_bytes = sizeof(io_uring_buf) * k.buffer_count;
  buffer_bytes_ = options.receive_buffer_bytes;
  void* queue = mmap(nullptr, k.buffer_ring_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void* memory = mmap(nullptr, buffer_bytes_ * k.buffer_count, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (queue != MAP_FAILED) k.buffer_ring = static_cast<io_uring_buf_ring*>(queue);
  if (memory != MAP_FAILED) buffers_ = static_cast<std::byte*>(memory);
  if (queue == MAP_FAILED || memory == MAP_FAILED) {
    return fail(error(errc::out_of_memory, phase::start, ENOMEM).about("receive buffers"));
  }
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uint64_t>(k.buffer_ring);
  registration.ring_entries = k.buffer_count;
  registration.bgid = buffer_group;
  const int code = io_uring_register_buf_ring(&k.uring, &registration, 0);
  if (code < 0) return fail(ring_failure("io_uring_register", code, options));
  for (unsigned id = 0; id < k.buffer_count; ++id) recycle_buffer(static_cast<std::uint16_t>(id));
  return {};
}

ring::~ring() {
  if (!kernel_) return;
  leave_registry();
  if (forked_) {
    // The queues are not mapped here.
    target_->let_go();
    return;
  }
  if (kernel_->registered_fd) io_uring_unregister_ring_fd(&kernel_->uring);
  if (target_ != nullptr) kernel_->uring.ring_fd = -1;  // the target closes it
  io_uring_queue_exit(&kernel_->uring);
  if (target_ != nullptr) target_->let_go();
  if (kernel_->buffer_ring != nullptr) munmap(kernel_->buffer_ring, kernel_->buffer_ring_bytes);
  if (buffers_ != nullptr) munmap(buffers_, buffer_bytes_ * kernel_->buffer_count);
}

result<void> ring::enable() {
  if (forked_) return fail(error(errc::forked, phase::start).about("io_uring"));
  // This is not io_uring_enable_rings(), because the shared library of liburing 2.3 lacks it.
  int code = io_uring_register(static_cast<unsigned>(kernel_->uring.ring_fd),
                               IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
  if (code < 0) return fail(ring_failure("io_uring_register", code, {}));
  // Nothing is to be submitted yet, but whether it can be is better known now than in a turn.
  code = io_uring_enter2(static_cast<unsigned>(kernel_->uring.ring_fd), 0, 0,
                         IORING_ENTER_GETEVENTS, nullptr, 0);
  if (code < 0 && code != -EINTR && code != -EAGAIN) {
    return fail(ring_failure("io_uring_enter", code, {}));
  }
  // This saves each enter a look-up of the descriptor. If the kernel refuses, only that is lost.
  code = io_uring_register_ring_fd(&kernel_->uring);
  if (code == 1) {
    kernel_->registered_fd = true;
    kernel_->enter_fd = kernel_->uring.enter_ring_fd;
  }
  return {};
}

int ring::signal_fd() noexcept {
  if (signal_fd_ >= 0) return signal_fd_;
  if (forked_) return -ENXIO;
  // It is readable from the start, because what is pending already has signalled nobody.
  const int made = ::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
  if (made < 0) return -errno;
  const int code = io_uring_register_eventfd(&kernel_->uring, made);
  if (code < 0) {
    ::close(made);
    return code;
  }
  signal_fd_ = made;
  bell_.connect(made);
  target_->watch_by(made);
  return made;
}

std::size_t ring::memory_bytes() const noexcept {
  const kernel& k = *kernel_;
  return k.uring.sq.ring_sz +
         (k.uring.cq.ring_ptr == k.uring.sq.ring_ptr ? 0 : k.uring.cq.ring_sz) +
         (std::size_t{sq_mask_} + 1) * sizeof(io_uring_sqe) + k.buffer_ring_bytes +
         buffer_bytes_ * k.buffer_count;
}

}  // namespace conpool

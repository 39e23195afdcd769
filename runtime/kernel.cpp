#include <conpool/runtime/kernel.h>

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <conpool/runtime/detail/ring_compat.h>
#include <conpool/runtime/detail/ring_failure.h>

namespace conpool {
namespace {

constexpr ring_options smallest{
    .sq_entries = 4, .cq_entries = 8, .receive_buffers = 1, .receive_buffer_bytes = 64};

void refuse(kernel_report& report, const char* call, int code) {
  report.system_errno = -code;
  report.missing = code == -EINVAL ? "IORING_SETUP_DEFER_TASKRUN" : call;
  report.cause = explain_ring_failure(call, code, smallest);
}

// A ring that can be made may still be of no use: a seccomp profile decides on each call.
void try_ring(io_uring& uring, kernel_report& report) {
  const unsigned fd = static_cast<unsigned>(uring.ring_fd);
  int code = io_uring_register(fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
  if (code < 0) return refuse(report, "io_uring_register", code);
  io_uring_sqe* const entry = io_uring_get_sqe(&uring);
  io_uring_prep_nop(entry);
  code = io_uring_submit_and_wait(&uring, 1);
  if (code < 0) return refuse(report, "io_uring_enter", code);
  report.usable = true;
}

}  // namespace

kernel_report check_kernel() {
  kernel_report report;
  utsname names{};
  if (uname(&names) == 0) report.kernel = names.release;
  io_uring uring{};
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                     IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED;
  const int code = io_uring_queue_init_params(smallest.sq_entries, &uring, &parameters);
  if (code < 0) {
    refuse(report, "io_uring_setup", code);
    return report;
  }
  if ((parameters.features & IORING_FEAT_EXT_ARG) == 0) report.missing = "IORING_FEAT_EXT_ARG";
  if ((parameters.features & IORING_FEAT_NODROP) == 0) report.missing = "IORING_FEAT_NODROP";
  if (report.missing.empty()) {
    try_ring(uring, report);
  } else {
    report.cause = explain_ring_failure("io_uring_setup", -EINVAL, smallest);
  }
  io_uring_queue_exit(&uring);
  return report;
}

unsigned make_room_for_descriptors(unsigned count) noexcept {
  constexpr rlim_t unasked_max = 65536;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlim_t wanted = std::min<rlim_t>(limit.rlim_cur, count != 0 ? rlim_t{count} : unasked_max);
  if (wanted == 0) return 0;
  const int any = ::eventfd(0, EFD_CLOEXEC);
  if (any < 0) return 0;
  // The kernel makes the table large enough for the number that is asked for, and never shrinks it.
  const int last = ::fcntl(any, F_DUPFD_CLOEXEC, static_cast<int>(wanted - 1));
  ::close(any);
  if (last < 0) return 0;
  ::close(last);
  return static_cast<unsigned>(wanted);
}

}  // namespace conpool

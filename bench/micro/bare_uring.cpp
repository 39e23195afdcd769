#include <bench/micro/bare_uring.h>

#include <cerrno>

#include <bench/micro/echo_peer.h>

namespace conpool::micro {
namespace {

constexpr unsigned setup_flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL |
                                 IORING_SETUP_R_DISABLED | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
constexpr unsigned sq_entries = 1024;
constexpr unsigned cq_entries = 8192;

}  // namespace

void check_ring_call(int code, const char* what) {
  if (code < 0) errno = -code;
  check_system_call(code < 0, what);
}

bare_uring::bare_uring() {
  io_uring_params parameters{};
  parameters.flags = setup_flags;
  parameters.cq_entries = cq_entries;
  check_ring_call(io_uring_queue_init_params(sq_entries, &uring_, &parameters), "io_uring_setup");
  // liburing 2.3's shared library does not export io_uring_enable_rings().
  check_ring_call(io_uring_register(static_cast<unsigned>(uring_.ring_fd),
                                    IORING_REGISTER_ENABLE_RINGS, nullptr, 0),
                  "IORING_REGISTER_ENABLE_RINGS");
  check_ring_call(io_uring_register_ring_fd(&uring_) - 1, "io_uring_register_ring_fd");
}

}  // namespace conpool::micro

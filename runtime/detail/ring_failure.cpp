#include <conpool/runtime/detail/ring_failure.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <fstream>

#include <sys/resource.h>
#include <sys/utsname.h>

namespace conpool {
namespace {

constexpr std::string_view the_three_calls = "io_uring_setup, io_uring_enter and io_uring_register";

std::string kernel_release() {
  utsname names{};
  return uname(&names) == 0 ? names.release : "unknown";
}

std::string read_sysctl() {
  std::ifstream file("/proc/sys/kernel/io_uring_disabled");
  std::string value;
  file >> value;
  return value;
}

std::string in_kib(std::size_t bytes) {
  return std::to_string((bytes + 1023) / 1024) + " KiB";
}

// What a ring of this size makes the kernel lock: entries of 64, 16 and 4 bytes, and the list of
// receive buffers with 16 for each. Some kernels (6.18 is one) charge it to the user's limit,
// others to the cgroup alone.
std::size_t locked_bytes(const ring_options& options) noexcept {
  const std::size_t submissions = options.sq_entries;
  const std::size_t completions = std::max(options.cq_entries, options.sq_entries);
  return submissions * (64 + 4) + completions * 16 + std::size_t{options.receive_buffers} * 16;
}

std::string explain_memory(const ring_options& options) {
  std::string text = "a ring of this size locks at least " + in_kib(locked_bytes(options));
  rlimit limit{};
  const bool known = getrlimit(RLIMIT_MEMLOCK, &limit) == 0;
  if (known && limit.rlim_cur != RLIM_INFINITY) {
    text += ", and all that the processes of this user lock together may be " +
            in_kib(limit.rlim_cur) +
            "; raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK= of systemd, "
            "--ulimit memlock= of Docker), or use fewer shards or smaller ring_options; or the "
            "memory limit of the cgroup is reached";
  } else {
    text +=
        "; RLIMIT_MEMLOCK does not limit it, so the memory limit of the cgroup or of the machine "
        "is reached";
  }
  return text;
}

std::string explain_permission(std::string_view call) {
  const std::string disabled = read_sysctl();
  if (call == "io_uring_setup" && (disabled == "1" || disabled == "2")) {
    return "the sysctl kernel.io_uring_disabled=" + disabled +
           " forbids io_uring; set it to 0 (sysctl -w kernel.io_uring_disabled=0)";
  }
  return std::string(call) +
         " is forbidden, most likely by a container's seccomp profile, or by a security module; "
         "allow " +
         std::string(the_three_calls) + " (Docker: --security-opt seccomp=PROFILE)";
}

}  // namespace

std::string explain_ring_failure(std::string_view call, int code, const ring_options& options) {
  switch (-code) {
    case ENOSYS:
      return "the kernel (" + kernel_release() + ") has no " + std::string(call) +
             ", or a container's seccomp profile hides it; conpool needs Linux 6.1 and the calls " +
             std::string(the_three_calls);
    case EPERM:
    case EACCES:
      return explain_permission(call);
    case ENOMEM:
      return explain_memory(options);
    case EMFILE:
    case ENFILE:
      return {};
    case EINVAL:
      return "the kernel (" + kernel_release() +
             ") is older than 6.1 and lacks IORING_SETUP_DEFER_TASKRUN; conpool needs Linux 6.1";
    default:
      return std::string(call) + " failed with " + errno_name(-code);
  }
}

error ring_failure(std::string_view call, int code, const ring_options& options) {
  errc why = errc::ring_unavailable;
  if (code == -ENOMEM) why = errc::out_of_memory;
  if (code == -EMFILE || code == -ENFILE) why = errc::too_many_files;
  error made = error(why, phase::start, code).about("io_uring");
  const std::string detail = explain_ring_failure(call, code, options);
  if (detail.empty()) return made;
  return std::move(made).with_detail(detail);
}

}  // namespace conpool

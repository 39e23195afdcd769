#include <conpool/runtime/kernel.h>

#include <cerrno>
#include <fstream>

#include <sys/utsname.h>

#include <conpool/runtime/detail/ring_compat.h>
#include <conpool/runtime/error.h>

namespace conpool {
namespace {

std::string read_sysctl() {
  std::ifstream file("/proc/sys/kernel/io_uring_disabled");
  std::string value;
  file >> value;
  return value;
}

std::string explain(int system_errno, const std::string& kernel) {
  switch (system_errno) {
    case ENOSYS:
      return "the kernel (" + kernel +
             ") has no io_uring, or a container's seccomp profile hides "
             "it; conpool needs Linux 6.1 and the calls io_uring_setup, io_uring_enter and "
             "io_uring_register";
    case EPERM: {
      const std::string disabled = read_sysctl();
      if (disabled == "1" || disabled == "2") {
        return "the sysctl kernel.io_uring_disabled=" + disabled +
               " forbids io_uring; set it to 0 (sysctl -w kernel.io_uring_disabled=0)";
      }
      return "io_uring is forbidden, most likely by a container's seccomp profile; allow "
             "io_uring_setup, io_uring_enter and io_uring_register (Docker: --security-opt "
             "seccomp=PROFILE)";
    }
    case ENOMEM:
      return "there is not enough memory that may be locked, or a cgroup limits it; raise "
             "RLIMIT_MEMLOCK (ulimit -l) or the memory limit of the cgroup";
    case EINVAL:
      return "the kernel (" + kernel +
             ") is older than 6.1 and lacks IORING_SETUP_DEFER_TASKRUN; "
             "conpool needs Linux 6.1";
    default:
      return "io_uring_setup failed with " + errno_name(system_errno);
  }
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
  const int code = io_uring_queue_init_params(4, &uring, &parameters);
  if (code < 0) {
    report.system_errno = -code;
    report.missing = code == -EINVAL ? "IORING_SETUP_DEFER_TASKRUN" : "io_uring_setup";
    report.cause = explain(-code, report.kernel);
    return report;
  }
  if ((parameters.features & IORING_FEAT_EXT_ARG) == 0) report.missing = "IORING_FEAT_EXT_ARG";
  if ((parameters.features & IORING_FEAT_NODROP) == 0) report.missing = "IORING_FEAT_NODROP";
  report.usable = report.missing.empty();
  if (!report.usable) report.cause = explain(EINVAL, report.kernel);
  io_uring_queue_exit(&uring);
  return report;
}

}  // namespace conpool

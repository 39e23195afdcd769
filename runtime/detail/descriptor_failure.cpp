#include <conpool/runtime/detail/descriptor_failure.h>

#include <cerrno>
#include <string>

#include <sys/resource.h>

namespace conpool {
namespace {

std::string limit_of_process() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return "RLIMIT_NOFILE is reached";
  std::string out = "this process may have " + std::to_string(limit.rlim_cur) + " open files";
  if (limit.rlim_cur < limit.rlim_max) {
    out += " and may raise that to " + std::to_string(limit.rlim_max);
  }
  return out + " (RLIMIT_NOFILE; ulimit -n, LimitNOFILE= of systemd)";
}

}  // namespace

error descriptor_failure(int code, errc otherwise, phase where) {
  switch (code) {
    case -EMFILE:
      return error(errc::too_many_files, where, code).with_detail(limit_of_process());
    case -ENFILE:
      return error(errc::too_many_files, where, code)
          .with_detail("the system has no more (sysctl fs.file-max)");
    case -ENOMEM:
    case -ENOBUFS:
      return error(errc::out_of_memory, where, code);
    default:
      return error(otherwise, where, code);
  }
}

}  // namespace conpool

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <conpool/tls/keylog.h>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace conpool::tls {
namespace {

// Why secrets must not be written to it; empty if they may.
std::string objection_to(int fd) {
  struct ::stat is{};
  if (::fstat(fd, &is) != 0) return "it cannot be looked at: " + errno_name(errno);
  if (!S_ISREG(is.st_mode)) return "it is not a file";
  if (is.st_uid != ::geteuid()) {
    return "it belongs to user " + std::to_string(is.st_uid) + ", not to this program's, " +
           std::to_string(::geteuid());
  }
  constexpr mode_t others = S_IRWXG | S_IRWXO;
  if ((is.st_mode & others) == 0) return {};
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(is.st_mode) & 07777U);
  return std::string("its mode is ") + mode +
         ", so others have access to what can decrypt the traffic: chmod 600 it, or remove it";
}

}  // namespace

result<std::shared_ptr<const keylog>> keylog::open(const std::string& path) {
  const auto refuse = [&](int system_errno, std::string_view detail) {
    return fail(error(errc::io_failed, phase::configure, system_errno)
                    .about("the key log " + path)
                    .with_detail(detail));
  };
  // Without O_NONBLOCK a named pipe would hold up the program until somebody reads it.
  constexpr int how =
      O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
  const int fd = ::open(path.c_str(), how, 0600);
  if (fd < 0) {
    const int why = errno;
    return refuse(why, why == ELOOP ? "it is a symbolic link, which is not followed" : "");
  }
  const std::string objection = objection_to(fd);
  if (!objection.empty()) {
    ::close(fd);
    return refuse(0, objection);
  }
  return std::shared_ptr<const keylog>(new keylog(fd));
}

result<std::shared_ptr<const keylog>> keylog::from_env() {
  const char* path = ::secure_getenv("SSLKEYLOGFILE");
  if (path == nullptr || *path == '\0') return std::shared_ptr<const keylog>();
  return open(path);
}

keylog::~keylog() {
  ::close(fd_);
}

void keylog::write_line(std::string_view line) const noexcept {
  // Lines have less than 200 bytes; no format that anybody reads has longer ones.
  char whole[512];
  const std::size_t size = line.copy(whole, sizeof whole - 1);
  whole[size] = '\n';
  ssize_t written = -1;
  if (size == line.size()) {
    do {
      written = ::write(fd_, whole, size + 1);
    } while (written < 0 && errno == EINTR);
  }
  if (written != static_cast<ssize_t>(size + 1)) {
    failures_.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace conpool::tls

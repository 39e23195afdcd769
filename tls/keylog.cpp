#include <fcntl.h>
#include <unistd.h>

#include <conpool/tls/keylog.h>
#include <cerrno>
#include <cstdlib>

namespace conpool::tls {

result<std::shared_ptr<const keylog>> keylog::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
  if (fd < 0) {
    return fail(error(errc::io_failed, phase::configure, errno).about("the key log " + path));
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

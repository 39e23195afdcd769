#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <conpool/tls/detail/file_text.h>
#include <cerrno>

namespace conpool::tls {
namespace {

// Far above any bundle; it keeps a wrong path, say a disk, from filling the memory.
constexpr std::size_t file_bytes_max = 64 * 1024 * 1024;

}  // namespace

std::expected<std::string, int> file_text(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return std::unexpected(errno);
  std::string text;
  int failure = 0;
  for (;;) {
    char chunk[16 * 1024];
    const ssize_t count = ::read(fd, chunk, sizeof chunk);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) failure = errno;
    if (count <= 0) break;
    text.append(chunk, static_cast<std::size_t>(count));
    if (text.size() > file_bytes_max) {
      failure = EFBIG;
      break;
    }
  }
  ::close(fd);
  if (failure != 0) return std::unexpected(failure);
  return text;
}

}  // namespace conpool::tls

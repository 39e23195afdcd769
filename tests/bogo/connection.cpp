#include <tests/bogo/connection.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>

namespace conpool::bogo {
namespace {

int connected(int family, const void* address, socklen_t size) noexcept {
  const int made = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (made < 0) return -1;
  const int on = 1;
  ::setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(made, static_cast<const sockaddr*>(address), size) == 0) return made;
  ::close(made);
  return -1;
}

}  // namespace

connection::connection(int port) {
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(static_cast<std::uint16_t>(port));
  six.sin6_addr = in6addr_loopback;
  descriptor_ = connected(AF_INET6, &six, sizeof six);
  if (good()) return;
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(static_cast<std::uint16_t>(port));
  four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  descriptor_ = connected(AF_INET, &four, sizeof four);
}

connection::~connection() {
  if (!good()) return;
  ::shutdown(descriptor_, SHUT_WR);
  std::array<std::byte, 4096> rest;
  while (receive(rest) > 0) {
  }
  ::close(descriptor_);
}

std::size_t connection::receive(std::span<std::byte> into) noexcept {
  const ssize_t count = ::recv(descriptor_, into.data(), into.size(), 0);
  return count > 0 ? static_cast<std::size_t>(count) : 0;
}

void connection::send(std::span<const std::byte> bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t count = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

}  // namespace conpool::bogo

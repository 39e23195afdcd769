// conpool::socket_calls and what kernel.h declares on the simulated network, in place of
// runtime/detail/socket_calls.cpp and runtime/kernel.cpp.
#include <conpool/runtime/detail/socket_calls.h>
#include <conpool/runtime/kernel.h>

#include <tests/sim/kernel/network.h>

namespace conpool {
namespace {

// The network is the thread's current one: rings of several networks do not live side by side.
sim::socket_table& sockets() {
  sim::network& net = sim::network::current();
  net.spend();
  return net.sockets();
}

}  // namespace

int socket_calls::open_socket(int family) noexcept {
  return sockets().open_socket(family);
}

int socket_calls::set_option(int fd, int level, int name, int value) noexcept {
  return sockets().set_option(fd, level, name, value);
}

int socket_calls::bind(int fd, const sockaddr* address, socklen_t length) noexcept {
  return sockets().bind(fd, address, length);
}

int socket_calls::listen(int fd, int backlog) noexcept {
  return sockets().listen(fd, backlog);
}

int socket_calls::local_address(int fd, sockaddr_storage& address, socklen_t& length) noexcept {
  return sockets().local_address(fd, address, length);
}

int socket_calls::peer_address(int fd, sockaddr_storage& address, socklen_t& length) noexcept {
  return sockets().peer_address(fd, address, length);
}

int socket_calls::set_blocking(int fd) noexcept {
  if (!sockets().is_open(fd)) sim::misuse("fcntl on a descriptor that is not open");
  return 0;
}

int socket_calls::shutdown(int fd) noexcept {
  return sockets().shutdown(fd);
}

int socket_calls::reset_on_close(int fd) noexcept {
  return sockets().reset_on_close(fd);
}

int socket_calls::peek(int fd) noexcept {
  return sockets().peek(fd);
}

int socket_calls::send_now(int fd, std::span<const std::byte> bytes) noexcept {
  return sockets().send(fd, bytes);
}

int socket_calls::receive_now(int fd, std::span<std::byte> memory) noexcept {
  return sockets().receive(fd, memory);
}

void socket_calls::close(int fd) noexcept {
  sockets().close(fd);
}

int socket_calls::open_event() noexcept {
  return sockets().open_event();
}

void socket_calls::signal_event(int event_fd) noexcept {
  sockets().signal(event_fd);
}

kernel_report check_kernel() {
  kernel_report report;
  report.usable = true;
  report.kernel = "simulated";
  return report;
}

unsigned make_room_for_descriptors(unsigned /*count*/) noexcept {
  return 0;
}

}  // namespace conpool

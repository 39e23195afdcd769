#include <bench/micro/echo_peer.h>

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include <bench/micro/cpus.h>

namespace conpool::micro {
namespace {

constexpr std::size_t answer_bytes_max = 64 * 1024;
constexpr int events_max = 256;
constexpr int backlog = 4096;

void set_nodelay(int fd) {
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

// Valgrind puts itself into the list of what the dynamic linker loads first.
bool under_valgrind() {
  const char* const preloaded = std::getenv("LD_PRELOAD");
  return preloaded != nullptr && std::strstr(preloaded, "vgpreload") != nullptr;
}

void watch(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  check_system_call(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0, "epoll_ctl");
}

}  // namespace

void check_system_call(bool failed, const char* what) {
  if (!failed) return;
  std::fprintf(stderr, "conpool-micro: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

int connect_blocking(const sockaddr_in& to) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check_system_call(fd < 0, "socket");
  set_nodelay(fd);
  const auto* const generic = reinterpret_cast<const sockaddr*>(&to);
  check_system_call(connect(fd, generic, sizeof to) != 0, "connect");
  return fd;
}

echo_peer::echo_peer() {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  check_system_call(listener_ < 0, "socket");
  address_.sin_family = AF_INET;
  address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const generic = reinterpret_cast<sockaddr*>(&address_);
  socklen_t length = sizeof address_;
  check_system_call(bind(listener_, generic, length) != 0, "bind");
  check_system_call(listen(listener_, backlog) != 0, "listen");
  check_system_call(getsockname(listener_, generic, &length) != 0, "getsockname");
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  check_system_call(epoll_ < 0, "epoll_create1");
  stop_ = eventfd(0, EFD_CLOEXEC);
  check_system_call(stop_ < 0, "eventfd");
  watch(epoll_, listener_);
  watch(epoll_, stop_);
  void* const shared = mmap(nullptr, sizeof *open_connections_, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  check_system_call(shared == MAP_FAILED, "mmap");
  open_connections_ = new (shared) std::atomic<std::size_t>(0);
  if (!under_valgrind()) {
    thread_ = std::thread([this] { serve(); });
    return;
  }
  process_ = fork();
  check_system_call(process_ < 0, "fork");
  if (process_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    serve();
    _exit(0);
  }
}

echo_peer::~echo_peer() {
  if (process_ > 0) {
    kill(process_, SIGKILL);  // so that it cannot write a profile of its own
    waitpid(process_, nullptr, 0);
  } else {
    const std::uint64_t one = 1;
    check_system_call(write(stop_, &one, sizeof one) < 0, "write to an eventfd");
    thread_.join();
  }
  munmap(open_connections_, sizeof *open_connections_);
  close(stop_);
  close(epoll_);
  close(listener_);
}

std::string echo_peer::uri() const {
  return "tcp://127.0.0.1:" + std::to_string(ntohs(address_.sin_port));
}

void echo_peer::serve() {
  pin_to_peer_cpu();
  const auto memory = std::make_unique<char[]>(answer_bytes_max);
  std::array<epoll_event, events_max> events;
  for (;;) {
    const int count = epoll_wait(epoll_, events.data(), events_max, -1);
    check_system_call(count < 0 && errno != EINTR, "epoll_wait");
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == stop_) return;
      if (fd == listener_) {
        accept_all();
      } else {
        echo(fd, memory.get(), answer_bytes_max);
      }
    }
  }
}

void echo_peer::accept_all() {
  for (;;) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      check_system_call(errno != EAGAIN && errno != ECONNABORTED && errno != EINTR, "accept4");
      return;
    }
    set_nodelay(fd);
    const linger reset{1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    watch(epoll_, fd);
    open_connections_->fetch_add(1, std::memory_order_release);
  }
}

void echo_peer::echo(int fd, char* memory, std::size_t bytes) {
  const ssize_t received = recv(fd, memory, bytes, 0);
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (received <= 0) {
    close(fd);
    open_connections_->fetch_sub(1, std::memory_order_release);
    return;
  }
  for (ssize_t sent = 0; sent < received;) {
    const ssize_t count =
        send(fd, memory + sent, static_cast<std::size_t>(received - sent), MSG_NOSIGNAL);
    if (count >= 0) {
      sent += count;
    } else if (errno == EAGAIN) {
      pollfd writable{fd, POLLOUT, 0};
      poll(&writable, 1, 1000);
    } else if (errno != EINTR) {
      return;  // the client has gone, and the next receive says so
    }
  }
}

}  // namespace conpool::micro

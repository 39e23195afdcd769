#include <conpool/runtime/socket.h>

#include <cerrno>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <conpool/runtime/detail/descriptor_failure.h>
#include <conpool/runtime/detail/descriptor_guard.h>

namespace conpool {

int apply_socket_options(ring& kernel, int fd, int family, const socket_options& options) noexcept {
  if (family != AF_INET && family != AF_INET6) return 0;
  int code = 0;
  const auto set = [&](int level, int name, int value) {
    if (code == 0) code = kernel.set_option(fd, level, name, value);
  };
  if (options.nodelay) set(IPPROTO_TCP, TCP_NODELAY, 1);
  if (options.keepalive) {
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(options.keepalive_idle.count()));
    set(IPPROTO_TCP, TCP_KEEPINTVL, static_cast<int>(options.keepalive_interval.count()));
    set(IPPROTO_TCP, TCP_KEEPCNT, static_cast<int>(options.keepalive_probes));
  }
  if (options.user_timeout.count() > 0) {
    set(IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(options.user_timeout.count()));
  }
  return code;
}

// The handle and the kernel share it: it is freed when the handle is gone and the descriptor
// closed.
struct socket::body final : stream {
  body(shard& home, int fd, std::string label, const io_timeouts& limits)
      : stream(home, fd, &name, &timeouts, &body::arrived, &body::ended_for_good),
        name(std::move(label)),
        timeouts(limits) {}

  // There is nothing to do: what arrived waits for the next read.
  static void arrived(stream&) noexcept {}
  static void ended_for_good(stream& closed) noexcept {
    auto& self = static_cast<body&>(closed);
    if (!self.owned) delete &self;
  }

  std::string name;
  io_timeouts timeouts;
  bool owned = true;
};

socket::socket(shard& home, int fd, std::string name, const io_timeouts& timeouts) {
  descriptor_guard taken(fd);
  body_ = new body(home, fd, std::move(name), timeouts);
  taken.release();
}

stream* socket::operator->() const noexcept {
  CONPOOL_ASSERT(body_ != nullptr, "an empty socket was used");
  return body_;
}

void socket::close() noexcept {
  body* const owned = std::exchange(body_, nullptr);
  if (owned == nullptr) return;
  if (!owned->closed()) owned->begin_close();
  let_go(*owned);
}

void socket::reset() noexcept {
  body* const owned = std::exchange(body_, nullptr);
  if (owned == nullptr) return;
  if (!owned->closed()) owned->begin_reset();
  let_go(*owned);
}

void socket::let_go(body& owned) noexcept {
  if (owned.closed()) {
    delete &owned;
  } else {
    owned.owned = false;  // freed when its last operation has ended
  }
}

task<result<socket>> connect_socket(shard& home, socket_address to, socket_options options,
                                    duration timeout) {
  ring& kernel = home.ring();
  const time_point deadline = saturating_add(home.now(), timeout);
  const int fd = kernel.open_socket(to.family());
  if (fd < 0) {
    co_return fail(
        descriptor_failure(fd, errc::connect_failed, phase::connect).about(to.to_string()));
  }
  descriptor_guard opened(fd);
  std::string name = to.to_string();
  socket made(home, opened.release(), std::move(name), options.timeouts);
  const int code = apply_socket_options(kernel, fd, to.family(), options);
  if (code < 0) {
    co_return fail(error(errc::connect_failed, phase::connect, code).about(to.to_string()));
  }
  auto connected = co_await made->connect(to.data(), to.size(), deadline);
  if (!connected) co_return fail(std::move(connected.error()));
  co_return std::move(made);
}

}  // namespace conpool

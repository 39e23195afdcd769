#include <conpool/runtime/listener.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include <conpool/runtime/detail/descriptor_failure.h>
#include <conpool/runtime/detail/descriptor_guard.h>

namespace conpool {

result<listener> listener::open(shard& home, const socket_address& at,
                                const listen_options& options) {
  home.assert_owner();
  ring& kernel = home.ring();
  const int fd = kernel.open_socket(at.family());
  if (fd < 0) {
    return fail(descriptor_failure(fd, errc::io_failed, phase::accept).about(at.to_string()));
  }
  listener made(home, fd, at, options);
  int code = 0;
  if (options.reuse_address) code = kernel.set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (code == 0 && options.reuse_port) code = kernel.set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (code == 0) code = kernel.bind(fd, at.data(), at.size());
  if (code == 0) code = kernel.listen(fd, options.backlog);
  sockaddr_storage bound{};
  socklen_t length = 0;
  if (code == 0) code = kernel.local_address(fd, bound, length);
  if (code < 0) return fail(error(errc::io_failed, phase::accept, code).about(at.to_string()));
  result<socket_address> address =
      socket_address::from(reinterpret_cast<const sockaddr*>(&bound), length);
  if (!address) return fail(std::move(address.error()));
  made.address_ = *address;
  return made;
}

void listener::close() noexcept {
  if (fd_ < 0) return;
  home_->ring().close(std::exchange(fd_, -1));
}

namespace {

constexpr duration longest_pause = std::chrono::milliseconds(200);

// The kernel looks for a free descriptor before it looks for a connection, so without one an accept
// fails at once, whether anybody connects or not.
bool out_of_descriptors(int code) noexcept {
  return code == -EMFILE || code == -ENFILE;
}

}  // namespace

void listener::accept_awaiter::accepted(operation& op) noexcept {
  auto& self = static_cast<accept_awaiter&>(op);
  self.code_ = self.returned();
  if (!out_of_descriptors(self.code_) || self.wait_point::interrupted()) return self.wake();
  ++self.door_->shortages_;
  self.home().timers().arm(self.pause_, saturating_add(self.home().now(), self.next_pause_));
  self.next_pause_ = std::min(2 * self.next_pause_, longest_pause);
}

void listener::accept_awaiter::try_again(conpool::timer_node& node) noexcept {
  accept_awaiter& self = *static_cast<pause&>(node).of;
  self.home().ring().accept(self, self.door_->fd_);
}

void listener::accept_awaiter::interrupt(wait_point& waiting, errc) noexcept {
  auto& self = static_cast<accept_awaiter&>(waiting);
  if (!self.pause_.armed()) return self.home().ring().cancel(self);
  self.home().timers().cancel(self.pause_);
  self.code_ = -ECANCELED;
  self.wake();
}

result<socket> listener::accept_awaiter::await_resume() {
  // A connection that came in together with the cancellation is delivered, not lost.
  if (code_ >= 0) {
    descriptor_guard accepted(code_);
    const int code = apply_socket_options(home().ring(), code_, door_->address_.family(),
                                          door_->options_.accepted);
    if (code < 0) return fail(error(errc::io_failed, phase::accept, code));
    std::string name = door_->address_.to_string();
    return socket(home(), accepted.release(), std::move(name), door_->options_.accepted.timeouts);
  }
  errc why = errc::io_failed;
  int system_errno = code_;
  if (code_ == -ECANCELED || out_of_descriptors(code_)) {
    why = interrupted() ? interrupted_by() : errc::connection_closed;
    system_errno = 0;
  }
  return fail(error(why, phase::accept, system_errno).about(door_->address_.to_string()));
}

}  // namespace conpool

#include <conpool/runtime/listener.h>

#include <cerrno>

namespace conpool {

result<listener> listener::open(shard& home, const socket_address& at,
                                const listen_options& options) {
  home.assert_owner();
  ring& kernel = home.ring();
  const int fd = kernel.open_socket(at.family());
  if (fd < 0) {
    const errc why = fd == -EMFILE || fd == -ENFILE ? errc::too_many_files : errc::io_failed;
    return fail(error(why, phase::accept, fd).about(at.to_string()));
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

result<socket> listener::accept_awaiter::await_resume() {
  // A connection that came in together with the cancellation is delivered, not lost.
  const int fd = started_ ? returned() : -ECANCELED;
  if (fd >= 0) {
    socket made(home(), fd, door_->address_.to_string(), door_->options_.accepted.timeouts);
    const int code =
        apply_socket_options(home().ring(), fd, door_->address_.family(), door_->options_.accepted);
    if (code < 0) return fail(error(errc::io_failed, phase::accept, code));
    return made;
  }
  errc why = errc::io_failed;
  if (fd == -ECANCELED) why = interrupted() ? interrupted_by() : errc::connection_closed;
  if (fd == -EMFILE || fd == -ENFILE) why = errc::too_many_files;
  return fail(
      error(why, phase::accept, fd == -ECANCELED ? 0 : fd).about(door_->address_.to_string()));
}

}  // namespace conpool

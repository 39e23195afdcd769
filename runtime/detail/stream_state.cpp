#include <conpool/runtime/detail/stream_state.h>

#include <cerrno>
#include <utility>

namespace conpool {

void stream_state::fail_with(int code) noexcept {
  mark(failed);
  if (failure_ == 0) failure_ = -code;
}

errc stream_state::classify(int system_errno) noexcept {
  switch (system_errno) {
    case ECONNRESET:
    case EPIPE:
    case ETIMEDOUT:  // retransmission, keepalive or TCP_USER_TIMEOUT gave up
    case EHOSTUNREACH:
    case ENETUNREACH:
      return errc::connection_reset;
    case ENOMEM:
    case ENOBUFS:
      return errc::out_of_memory;
    case ECANCELED:
    case EBADF:
      return errc::connection_closed;
    default:
      return errc::io_failed;
  }
}

error stream_state::describe(errc why, phase where, int system_errno) const {
  error made(why, where, system_errno);
  if (name_ == nullptr) return made;
  return std::move(made).about(*name_);
}

}  // namespace conpool

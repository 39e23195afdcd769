#include <tests/support/blocking_tls.h>

#include <cerrno>
#include <stdexcept>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace conpool::test {
namespace {

constexpr int silence_s_max = 20;

int connect_to(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience{silence_s_max, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  ::close(fd);
  throw std::runtime_error("no server on port " + std::to_string(port));
}

error broken(phase where) {
  const bool late = errno == EAGAIN || errno == EWOULDBLOCK;
  return error(late ? errc::deadline_exceeded : errc::connection_reset, where, errno);
}

}  // namespace

blocking_tls::blocking_tls(tls::ssl_config& config, std::uint16_t port)
    : fd_(connect_to(port)),
      name_("tls://127.0.0.1:" + std::to_string(port)),
      channel_(config, name_),
      memory_(tls::record_buffer_size),
      received_(64 * 1024),
      out_(memory_) {}

blocking_tls::~blocking_tls() {
  ::close(fd_);
}

result<void> blocking_tls::send() {
  std::span<const std::byte> left = out_.filled();
  while (!left.empty()) {
    const ssize_t count = ::send(fd_, left.data(), left.size(), MSG_NOSIGNAL);
    if (count < 0) return fail(broken(phase::write));
    left = left.subspan(static_cast<std::size_t>(count));
  }
  out_.clear();
  return {};
}

result<bool> blocking_tls::receive() {
  const ssize_t count = ::recv(fd_, received_.data(), received_.size(), 0);
  if (count < 0) return fail(broken(phase::read));
  input_ = std::span(received_).first(static_cast<std::size_t>(count));
  return count > 0;
}

result<void> blocking_tls::shake() {
  for (;;) {
    const tls::handshake_step step = channel_.handshake(input_, out_);
    auto sent = send();
    if (step == tls::handshake_step::open) return {};
    if (step == tls::handshake_step::failed) return fail(channel_.failure());
    if (!sent) return sent;
    if (step == tls::handshake_step::wants_output) continue;
    auto more = receive();
    if (!more) return fail(std::move(more).error());
    if (!*more) return channel_.end_of_input();
  }
}

result<void> blocking_tls::write(std::string_view text) {
  std::span<const std::byte> left = std::as_bytes(std::span(text));
  while (!left.empty()) {
    auto taken = channel_.write(left, out_);
    if (!taken) return fail(std::move(taken).error());
    if (auto sent = send(); !sent) return sent;
    left = left.subspan(*taken);
  }
  return {};
}

result<std::string> blocking_tls::read() {
  std::vector<std::byte> into(16 * 1024);
  for (;;) {
    auto count = channel_.read(input_, into);
    if (!count) return fail(std::move(count).error());
    if (*count > 0) return std::string(reinterpret_cast<const char*>(into.data()), *count);
    if (channel_.state() == tls::channel_state::peer_closed) return std::string();
    auto more = receive();
    if (!more) return fail(std::move(more).error());
    if (!*more) {
      auto ended = channel_.end_of_input();
      if (!ended) return fail(std::move(ended).error());
      return std::string();
    }
  }
}

result<std::string> blocking_tls::read_until(std::string_view text) {
  std::string all;
  while (all.find(text) == all.npos) {
    auto more = read();
    if (!more) return more;
    if (more->empty()) break;
    all += *more;
  }
  return all;
}

tls::idle_outcome blocking_tls::idle() {
  if (input_.empty()) {
    const auto more = receive();
    if (!more) throw std::runtime_error("nothing arrived");
    if (!*more) {
      return channel_.end_of_input() ? tls::idle_outcome::closed : tls::idle_outcome::refused;
    }
  }
  return channel_.idle(std::exchange(input_, {}));
}

void blocking_tls::close() {
  channel_.close(out_);
  static_cast<void>(send());
}

}  // namespace conpool::test

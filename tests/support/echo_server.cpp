#include <tests/support/echo_server.h>

#include <array>

namespace conpool::test {

struct echo_server::session {
  explicit session(socket accepted) : peer(std::move(accepted)) {}
  socket peer;
};

namespace {

listener open_door(shard& home, const socket_address& at) {
  listen_options options;
  // Tests let hours pass on the shard's clock, so the server must not time out.
  options.accepted.timeouts = {std::chrono::hours(1000), std::chrono::hours(1000)};
  auto door = listener::open(home, at, options);
  return std::move(door.value());
}

socket_address address_of(const endpoint& at) {
  if (at.transport() == transport::unix_socket) return socket_address::unix_path(at.path()).value();
  return socket_address::ip(at.host(), at.port()).value();
}

}  // namespace

echo_server::echo_server(shard& home)
    : home_(&home),
      door_(open_door(home, socket_address::ip("127.0.0.1", 0).value())),
      at_(endpoint::parse("tcp://" + door_.address().to_string()).value()),
      tasks_(home) {
  tasks_.spawn(&echo_server::accept_all, this);
}

echo_server::echo_server(shard& home, const endpoint& at)
    : home_(&home), door_(open_door(home, address_of(at))), at_(at), tasks_(home) {
  tasks_.spawn(&echo_server::accept_all, this);
}

echo_server::~echo_server() = default;

void echo_server::stop() noexcept {
  tasks_.cancel();
}

task<void> echo_server::accept_all() {
  for (;;) {
    auto peer = co_await door_.accept();
    if (!peer && peer.error() == errc::too_many_files) {
      co_await home_->yield();
      continue;
    }
    if (!peer) break;
    ++accepted_;
    auto one = std::make_shared<session>(std::move(*peer));
    sessions_.push_back(one);
    tasks_.spawn(&echo_server::serve, this, one);
  }
  door_.close();
}

task<void> echo_server::serve(std::shared_ptr<session> one) {
  std::array<char, 4096> buffer;
  if (!greeting_.empty()) {
    auto greeted = co_await one->peer->write(greeting_);
    if (!greeted) one->peer.close();
  }
  while (one->peer) {
    auto count = co_await one->peer->read(std::span<char>(buffer));
    if (!count || *count == 0) break;
    if (!echo_) continue;
    auto sent = co_await one->peer->write(std::string_view(buffer.data(), *count));
    if (!sent) break;
  }
  std::erase(sessions_, one);
}

task<void> echo_server::push(std::shared_ptr<session> one, std::string bytes) {
  if (!one->peer) co_return;
  auto sent = co_await one->peer->write(bytes);
  static_cast<void>(sent);
}

void echo_server::close_all() noexcept {
  for (const auto& one : sessions_) one->peer.close();
}

void echo_server::reset_all() noexcept {
  for (const auto& one : sessions_) one->peer.reset();
}

void echo_server::send_to_all(std::string bytes) {
  for (const auto& one : sessions_) tasks_.spawn(&echo_server::push, this, one, bytes);
}

}  // namespace conpool::test

#include <tests/support/relay.h>

#include <tests/support/client_hello.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <utility>

#include <sys/socket.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

constexpr io_timeouts patient{1000h, 1000h};

listener open_relay(shard& home) {
  listen_options options;
  options.accepted.timeouts = patient;
  auto door = listener::open(home, socket_address::ip("127.0.0.1", 0).value(), options);
  return std::move(door.value());
}

}  // namespace

struct relay::pair {
  pair(socket accepted, socket connected)
      : client(std::move(accepted)), server(std::move(connected)) {}
  socket client;
  socket server;
};

relay::relay(shard& home, const endpoint& server)
    : home_(&home),
      server_(server),
      door_(open_relay(home)),
      at_(endpoint::parse(std::string(to_string(server.transport())) + "://" +
                          door_.address().to_string())
              .value()),
      tasks_(home) {
  tasks_.spawn(&relay::accept_all, this);
}

relay::~relay() = default;

task<void> relay::accept_all() {
  for (;;) {
    auto client = co_await door_.accept();
    if (!client) break;
    ++accepted_;
    const socket_address to = socket_address::ip(server_.host(), server_.port()).value();
    socket_options options;
    options.timeouts = patient;
    auto server = co_await connect_socket(*home_, to, options, 1000h);
    if (!server) continue;
    auto both = std::make_shared<pair>(std::move(*client), std::move(*server));
    open_ += 2;
    tasks_.spawn(&relay::forward, this, both);
    tasks_.spawn(&relay::answer, this, both);
  }
  door_.close();
}

task<void> relay::forward(std::shared_ptr<pair> both) {
  std::array<char, 4096> buffer;
  bool is_first = true;
  for (;;) {
    while (deaf_) {
      auto slept = co_await home_->sleep_for(1ms);
      if (!slept) break;
    }
    auto count = co_await both->client->read(std::span<char>(buffer));
    if (!count || *count == 0) break;
    const std::string_view said(buffer.data(), *count);
    if (std::exchange(is_first, false)) {
      auto work = mistreated(both, said);
      auto over = co_await work;
      if (over) break;
    }
    auto sent = co_await both->server->write(said);
    if (!sent) break;
  }
  ::shutdown(both->server->fd(), SHUT_WR);
  --open_;
}

// Whether nothing of this client is passed on, since it offered a session.
task<bool> relay::mistreated(std::shared_ptr<pair> both, std::string_view first_flight) {
  if (server_.transport() != transport::tls || !offers_session(first_flight)) co_return false;
  ++sessions_offered_;
  if (on_session_ == on_session::pass) co_return false;
  if (on_session_ == on_session::reset) both->client.reset();
  if (on_session_ == on_session::say_nothing) {
    std::array<char, 64> rest;
    for (;;) {
      auto count = co_await both->client->read(std::span<char>(rest));
      if (!count || *count == 0) break;
    }
  }
  co_return true;  // and the server's end is passed on
}

task<void> relay::answer(std::shared_ptr<pair> both) {
  std::array<char, 4096> buffer;
  std::size_t passed = 0;
  for (;;) {
    const bool slow = passed >= at_once_;
    const std::size_t most = slow ? 1 : std::min(buffer.size(), at_once_ - passed);
    auto count = co_await both->server->read(std::span<char>(buffer.data(), most));
    if (!count || *count == 0) break;
    if (slow) {
      auto slept = co_await home_->sleep_for(1s);
      if (!slept) break;
    }
    passed += *count;
    auto sent = co_await both->client->write(std::string_view(buffer.data(), *count));
    if (!sent) break;
  }
  if (both->client) ::shutdown(both->client->fd(), SHUT_WR);
  --open_;
}

}  // namespace conpool::test

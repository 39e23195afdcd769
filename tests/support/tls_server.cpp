#include <tests/support/tls_server.h>

#include <algorithm>
#include <array>
#include <span>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <conpool/runtime/buffered_reader.h>
#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/span_bio.h>

#include <tests/support/expect.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

listener open_door(shard& home) {
  listen_options options;
  options.accepted.timeouts = {1000h, 1000h};
  auto door = listener::open(home, socket_address::ip("127.0.0.1", 0).value(), options);
  return std::move(door.value());
}

// What a user only reads of.
tls::channel& channel_of(const tls_server::session& one) {
  return const_cast<tls::channel&>(static_cast<const tls::channel&>(*tls::of(*one.peer)));
}

}  // namespace

tls_server::tls_server(shard& home, tls::server_options options)
    : home_(&home),
      profile_(tls::server_profile::make(home, std::move(options)).value()),
      door_(open_door(home)),
      at_(endpoint::parse("tls://" + door_.address().to_string()).value()),
      tasks_(home) {
  tasks_.spawn(&tls_server::accept_all, this);
}

tls_server::~tls_server() = default;

task<void> tls_server::accept_all() {
  for (;;) {
    auto peer = co_await door_.accept();
    if (!peer) break;
    ++accepted_;
    auto one = std::make_shared<session>(std::move(*peer));
    sessions_.push_back(one);
    tasks_.spawn(&tls_server::serve, this, one);
  }
  door_.close();
}

std::string tls_server::whom(const session& one) {
  return one.name + " " + one.protocol + " " +
         std::to_string(std::hash<std::string>()(one.certificate));
}

task<void> tls_server::serve(std::shared_ptr<session> one) {
  std::vector<char> buffer(64 * 1024);
  if (stalls_) {
    auto slept = co_await home_->sleep_for(1000h);
    static_cast<void>(slept);
  }
  if (!asked_.empty()) {
    buffered_reader in(*one->peer);
    if (answer_.empty()) {  // the client goes on by itself, and so far that something is ahead
      auto more = co_await in.peek(asked_.size() + 1);
      EXPECT_OK(more);
    }
    auto asked = co_await in.read_exactly(asked_.size());
    EXPECT_EQ(asked, asked_);
    auto told = co_await one->peer->write(answer_);
    EXPECT_OK(told);
  }
  auto secured = co_await tls::accept(*one->peer, profile_, home_->now() + 1000h);
  if (secured) {
    ++handshakes_;
    const tls::connection_info& seen = *tls::of(*one->peer);
    one->name = seen.requested_name();
    one->protocol = seen.alpn();
    const auto certificate = seen.peer_certificate();
    one->certificate.assign(reinterpret_cast<const char*>(certificate.data()), certificate.size());
    one->resumed = seen.resumed();
    one->open = true;
    if (!greeting_.empty()) {
      auto greeted = co_await one->peer->write(greeting_);
      static_cast<void>(greeted);
    }
  }
  if (!secured) one->ended = secured.error().kind();
  while (secured && one->peer) {
    auto count = co_await one->peer->read(std::span<char>(buffer));
    if (!count || *count == 0) {
      one->ended = count ? errc{} : count.error().kind();
      break;
    }
    one->received += *count;
    std::string answer(buffer.data(), *count);
    if (tells_whom_) answer = whom(*one);
    answer += stray_;
    auto sent = co_await one->peer->write(answer);
    if (!sent) break;
  }
  one->open = false;
  std::erase(sessions_, one);
}

task<void> tls_server::push(std::shared_ptr<session> one, std::string bytes) {
  // The client may be done with the handshake before this side is.
  while (!one->open && std::ranges::find(sessions_, one) != sessions_.end()) {
    co_await home_->yield();
  }
  if (!one->open || !one->peer) co_return;
  auto sent = co_await one->peer->write(bytes);
  static_cast<void>(sent);
}

void tls_server::close_all() noexcept {
  for (const auto& one : sessions_) one->peer.close();
}

void tls_server::end_all() {
  for (const auto& one : sessions_) {
    tls::channel& session = channel_of(*one);
    std::array<std::byte, 256> memory{};
    tls::record_buffer out(memory);
    const tls::io_scope scope(session, {}, &out);
    SSL_shutdown(session.native());
    home_->ring().send_now(one->peer->fd(), out.filled());
    ::shutdown(one->peer->fd(), SHUT_WR);
  }
}

void tls_server::cut_all() noexcept {
  for (const auto& one : sessions_) home_->ring().shutdown(one->peer->fd());
}

void tls_server::send_to_all(std::string bytes) {
  for (const auto& one : sessions_) tasks_.spawn(&tls_server::push, this, one, bytes);
}

// Behind the back of the session's codec, which has nothing to send now.
void tls_server::update_keys(bool request) {
  for (const auto& one : sessions_) {
    tls::channel& session = channel_of(*one);
    std::array<std::byte, 256> memory{};
    tls::record_buffer out(memory);
    const tls::io_scope scope(session, {}, &out);
    SSL_key_update(session.native(),
                   request ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
    SSL_write(session.native(), nullptr, 0);
    home_->ring().send_now(one->peer->fd(), out.filled());
  }
}

}  // namespace conpool::test

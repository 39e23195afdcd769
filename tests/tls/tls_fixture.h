// A client's and a server's channel joined by memory: byte exact, on one thread, in set time.
//
//   session both(fixture.client_profile(profile), *fixture.server());
//   ASSERT_TRUE(both.shake());
//   both.client.write("hello");        // into both.server.inbox
//   EXPECT_EQ(both.server.read(), "hello");
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <conpool/tls/detail/channel.h>
#include <conpool/tls/detail/profile_on_shard.h>
#include <conpool/tls/detail/shard_resources.h>
#include <conpool/tls/server_profile.h>
#include <tests/tls/certificates.h>

namespace conpool::test {

using bytes = std::vector<std::byte>;

inline bytes bytes_of(std::string_view text) {
  const auto view = std::as_bytes(std::span(text));
  return {view.begin(), view.end()};
}
inline std::string text_of(std::span<const std::byte> from) {
  return {reinterpret_cast<const char*>(from.data()), from.size()};
}
inline void append(bytes& to, std::span<const std::byte> from) {
  to.insert(to.end(), from.begin(), from.end());
}

// One end: a channel, what it has been sent and has not taken, and what it says.
class end {
 public:
  end(tls::ssl_config& config, const std::string& peer)
      : channel(config, peer), memory_(tls::record_buffer_size) {}

  // One call of handshake() with what is there; its output goes to `outbox`.
  tls::handshake_step step() { return step(memory_.size()); }
  tls::handshake_step step(std::size_t buffer_bytes) {
    tls::record_buffer out{std::span(memory_).first(buffer_bytes)};
    std::span<const std::byte> input(inbox);
    const tls::handshake_step done = channel.handshake(input, out);
    inbox.erase(inbox.begin(), inbox.end() - static_cast<std::ptrdiff_t>(input.size()));
    append(outbox, out.filled());
    return done;
  }
  // All that can be read now. Ends with "!" and the kind if the channel failed.
  result<std::string> read(std::size_t most = 64 * 1024) {
    bytes into(most);
    std::span<const std::byte> input(inbox);
    auto count = channel.read(input, into);
    inbox.erase(inbox.begin(), inbox.end() - static_cast<std::ptrdiff_t>(input.size()));
    if (!count) return fail(std::move(count).error());
    return text_of(std::span(into).first(*count));
  }
  result<void> write(std::string_view text) {
    std::span<const std::byte> left = std::as_bytes(std::span(text));
    while (!left.empty()) {
      tls::record_buffer out(memory_);
      auto taken = channel.write(left, out);
      append(outbox, out.filled());
      if (!taken) return fail(std::move(taken).error());
      left = left.subspan(*taken);
    }
    return {};
  }
  void close() {
    tls::record_buffer out(memory_);
    channel.close(out);
    append(outbox, out.filled());
  }
  void flush() {
    tls::record_buffer out(memory_);
    channel.flush(out);
    append(outbox, out.filled());
  }
  tls::idle_outcome idle() {
    const tls::idle_outcome verdict = channel.idle(inbox);
    inbox.clear();
    return verdict;
  }
  std::string why() const {
    return channel.state() == tls::channel_state::failed ? channel.failure().message()
                                                         : "no failure";
  }

  tls::channel channel;
  bytes inbox;
  bytes outbox;

 private:
  bytes memory_;
};

class session {
 public:
  session(tls::ssl_config& client_side, tls::ssl_config& server_side,
          std::string name = "tls://peer:443")
      : name_(std::move(name)), client(client_side, name_), server(server_side, client_name_) {}

  // Hands over what was said.
  void deliver() {
    append(server.inbox, client.outbox);
    client.outbox.clear();
    append(client.inbox, server.outbox);
    server.outbox.clear();
  }
  // To the end of the handshake, or until neither can go on. True if both are open.
  bool shake() {
    for (int round = 0; round < 32; ++round) {
      if (client.channel.state() == tls::channel_state::handshaking) client.step();
      deliver();
      if (server.channel.state() == tls::channel_state::handshaking) server.step();
      deliver();
    }
    return open();
  }
  bool open() const {
    return client.channel.state() == tls::channel_state::open &&
           server.channel.state() == tls::channel_state::open;
  }
  // Whether each hears the other.
  void expect_echo() {
    ASSERT_TRUE(client.write("ping"));
    deliver();
    EXPECT_EQ(server.read().value_or("-"), "ping");
    ASSERT_TRUE(server.write("pong"));
    deliver();
    EXPECT_EQ(client.read().value_or("-"), "pong");
  }

 private:
  std::string name_;
  std::string client_name_ = "client";

 public:
  end client;
  end server;
};

class tls_test : public ::testing::Test {
 protected:
  static constexpr const char* host = "api.example.com";

  // Made once for all tests: keys and signatures take time.
  static const authority& root() {
    static const authority made("test root");
    return made;
  }
  static const tls::trust_ptr& trust() {
    static const tls::trust_ptr made = root().trust();
    return made;
  }
  static const certificate& leaf() {
    static const certificate made = root().issue({.dns = {host}});
    return made;
  }

  static tls::profile_options client_options() {
    tls::profile_options options;
    options.trust = trust();
    options.verify_name = host;
    return options;
  }
  static tls::server_options server_options(const certificate& own = leaf()) {
    tls::server_options options;
    options.certificate_chain_pem = own.chain_pem();
    options.private_key_pem = own.key_pem;
    return options;
  }
  // Keeps the profile alive as long as the test.
  tls::profile_on_shard& client(tls::profile_options options) {
    profiles_.push_back(tls::profile::make(std::move(options)).value());
    return *client_resources().config_for(profiles_.back()).value();
  }
  tls::profile_on_shard& client() { return client(client_options()); }
  tls::server_profile& server(tls::server_options options) {
    servers_.push_back(tls::server_profile::make(server_resources(), std::move(options)).value());
    return *servers_.back();
  }
  tls::server_profile& server() { return server(server_options()); }

  tls::shard_resources& client_resources() {
    if (!client_resources_)
      client_resources_ = std::make_unique<tls::shard_resources>(limits, clock);
    return *client_resources_;
  }
  tls::shard_resources& server_resources() {
    if (!server_resources_)
      server_resources_ = std::make_unique<tls::shard_resources>(limits, clock);
    return *server_resources_;
  }
  // The error of a client's handshake that must fail.
  error refused(tls::ssl_config& client_side, tls::ssl_config& server_side) {
    session both(client_side, server_side);
    EXPECT_FALSE(both.shake());
    EXPECT_EQ(both.client.channel.state(), tls::channel_state::failed);
    if (both.client.channel.state() != tls::channel_state::failed) return error(errc{});
    return both.client.channel.failure();
  }

  tls::shard_limits limits;  // to be changed before the first profile is used
  tls::manual_wall_clock clock{test_epoch_s};

 private:
  std::vector<tls::profile_ptr> profiles_;
  std::unique_ptr<tls::shard_resources> client_resources_;
  std::unique_ptr<tls::shard_resources> server_resources_;
  std::vector<std::unique_ptr<tls::server_profile>> servers_;
};

}  // namespace conpool::test

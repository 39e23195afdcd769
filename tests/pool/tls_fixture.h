// The pool's fixture with a TLS server: real sockets, a clock set by hand, and the time of day that
// the certificates are made for.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <conpool/conpool.h>
#include <conpool/tls/detail/shard_tls.h>

#include <tests/support/pool_fixture.h>
#include <tests/support/tls_server.h>
#include <tests/tls/certificates.h>

namespace conpool::test {

class pool_tls : public pool_fixture {
 protected:
  void SetUp() override {
    pool_fixture::SetUp();
    here_ = &tls::shard_tls::make(home(), limits, wall_clock);
    serve(server_options());
  }
  void TearDown() override {
    ASSERT_TRUE(run([this]() -> task<void> {
      auto closed = co_await backends().close();
      EXPECT_TRUE(closed);
    }));
    peer_->stop();
    EXPECT_TRUE(until([this] { return peer_->stopped(); }));
    settle();
    peer_.reset();
    pool_fixture::TearDown();
  }

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
    static const certificate made =
        root().issue({.dns = {"one.example.com", "two.example.com"}, .ip = {"127.0.0.1"}});
    return made;
  }
  static tls::server_options server_options() {
    tls::server_options options;
    options.certificate_chain_pem = leaf().chain_pem();
    options.private_key_pem = leaf().key_pem;
    return options;
  }
  static tls::profile_options client_options(std::string name = "127.0.0.1") {
    tls::profile_options options;
    options.trust = trust();
    options.verify_name = std::move(name);
    return options;
  }

  // Another server, in place of the one there is.
  void serve(tls::server_options options) {
    if (peer_) {
      peer_->stop();
      EXPECT_TRUE(until([this] { return peer_->stopped(); }));
      settle();
    }
    peer_.reset();
    peer_ = std::make_unique<tls_server>(home(), std::move(options));
  }
  tls_server& peer() { return *peer_; }
  endpoint to(tls::profile_options options) {
    return peer().at().with_profile(tls::profile::make(std::move(options)).value()).value();
  }
  endpoint to() { return to(client_options()); }
  tls::shard_tls& here() { return *here_; }

  // Acquires, sends the text, reads as many bytes back, and releases.
  task<result<std::string>> ask(endpoint where, std::string text, std::size_t answer_bytes = 0) {
    auto lease = co_await backends().acquire(where);
    if (!lease) co_return fail(std::move(lease.error()));
    auto sent = co_await (*lease)->write(text);
    if (!sent) co_return fail(std::move(sent.error()));
    std::string answer(answer_bytes != 0 ? answer_bytes : text.size(), '\0');
    auto got = co_await (*lease)->read_exactly(std::span<char>(answer));
    if (!got) co_return fail(std::move(got.error()));
    co_return answer;
  }
  result<std::string> request(const endpoint& where, const std::string& text) {
    auto done = run_on(home(), ask(where, text));
    if (!done) return fail(error(errc::deadline_exceeded));
    return std::move(*done);
  }
  // One connection that was never lent.
  void warm(const endpoint& where) {
    ASSERT_TRUE(run([this, &where]() -> task<void> {
      auto stands = co_await backends().warm(where, 1, std::chrono::seconds(5));
      CO_ASSERT_OK(stands);
    }));
  }

  tls::shard_limits limits;
  tls::manual_wall_clock wall_clock{test_epoch_s};

 private:
  tls::shard_tls* here_ = nullptr;
  std::unique_ptr<tls_server> peer_;
};

}  // namespace conpool::test

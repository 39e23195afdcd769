// TLS in the pool, with servers and networks that are no help: what the server sees of our ends,
// refusals that come late, bytes that come slowly, and more of them than there are buffers.
#include <gtest/gtest.h>

#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <conpool/runtime/scope.h>

#include <tests/pool/tls_fixture.h>
#include <tests/support/relay.h>
#include <tests/support/server_process.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class pool_tls_peers : public pool_tls {
 protected:
  void TearDown() override {
    if (between_) {
      between_->stop();
      EXPECT_TRUE(until([this] { return between_->stopped(); }));
      settle();
    }
    between_.reset();
    pool_tls::TearDown();
  }
  // What the server's kernel reports behind the last byte: 0 for a FIN, or an errno.
  static int end_of(const tls_server::session& one) {
    char byte = 0;
    const ssize_t count = ::recv(one.peer->fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return count >= 0 ? static_cast<int>(count) : errno;
  }
  void expect_orderly_end(const tls_server::session& one) {
    ASSERT_TRUE(until([&] { return one.ended.has_value() && end_of(one) != EAGAIN; }));
    EXPECT_EQ(*one.ended, errc{}) << "without close_notify";
    EXPECT_EQ(end_of(one), 0) << "a reset instead of a FIN";
  }
  // The same server, through a relay.
  relay& between() {
    if (!between_) between_ = std::make_unique<relay>(home(), peer().at());
    return *between_;
  }
  endpoint through() {
    return between().at().with_profile(tls::profile::make(client_options()).value()).value();
  }

 private:
  std::unique_ptr<relay> between_;
};

TEST_F(pool_tls_peers, T29_a_close_notify_while_idle_is_answered_in_order) {
  const endpoint there = to();
  EXPECT_EQ(request(there, "hello").value(), "hello");
  settle();
  const auto session = peer().sessions().front();
  peer().end_all();
  expect_orderly_end(*session);
  EXPECT_EQ(totals().closed(close_reason::peer_closed), 1U);
}

TEST_F(pool_tls_peers, what_the_pool_ends_is_ended_in_order) {
  const endpoint there = to();
  EXPECT_EQ(request(there, "hello").value(), "hello");
  settle();
  const auto cleared = peer().sessions().front();
  backends().clear(there);
  expect_orderly_end(*cleared);

  EXPECT_EQ(request(there, "hello").value(), "hello");
  settle();
  const auto closed = peer().sessions().front();
  ASSERT_TRUE(run([this]() -> task<void> {
    auto done = co_await backends().close();
    EXPECT_TRUE(done);
  }));
  expect_orderly_end(*closed);
}

// TLS 1.3: the handshake is over for the client before the server has seen that there is no
// certificate. What was refused is not tried again by itself, and the endpoint is not failing.
class pool_tls_late_refusal : public pool_tls_peers {
 protected:
  void SetUp() override {
    pool_tls_peers::SetUp();
    tls::server_options options = server_options();
    options.clients = tls::client_certificates::required;
    options.client_trust = trust();
    serve(std::move(options));
  }
};

TEST_F(pool_tls_late_refusal, is_the_first_reads_error_and_neither_retried_nor_a_failed_connect) {
  pool_config config;
  config.breaker_failures = 2;
  configure(config);
  const endpoint there = to();
  for (unsigned i = 1; i <= 10; ++i) {
    const auto answer = request(there, "hello");
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error(), errc::client_certificate_refused) << answer.error().message();
    EXPECT_EQ(answer.error().where(), phase::read);
    EXPECT_NE(answer.error().detail().find("alert 116"), std::string_view::npos)
        << answer.error().message();
    settle();
    EXPECT_EQ(totals().created, i);
  }
  EXPECT_EQ(peer().accepted(), 10U);
  const pool_stats sum = totals();
  EXPECT_EQ(sum.handshakes, 10U);
  EXPECT_EQ(sum.connect_failures + sum.connect_timeouts + sum.handshakes_failed, 0U);
  EXPECT_EQ(sum.breaker_opened + sum.failed_fast, 0U);
  EXPECT_EQ(sum.idle, 0U);
}

TEST_F(pool_tls_late_refusal, of_a_certificate_that_is_not_the_servers_is_the_same) {
  const certificate stranger = authority("another root").issue({.common_name = "a stranger"});
  tls::profile_options options = client_options();
  options.certificate_chain_pem = stranger.chain_pem();
  options.private_key_pem = stranger.key_pem;
  const auto answer = request(to(std::move(options)), "hello");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), errc::client_certificate_refused) << answer.error().message();
  EXPECT_EQ(totals().connect_failures, 0U);
  // A caller with the right certificate is served meanwhile, at the same address.
  const certificate own = root().issue({.common_name = "a client"});
  options = client_options();
  options.certificate_chain_pem = own.chain_pem();
  options.private_key_pem = own.key_pem;
  EXPECT_EQ(request(to(std::move(options)), "hello").value(), "hello");
}

// Nobody asks for these, so nobody would be told: they are dialed again ever more slowly. Callers
// are not refused for it; each hears what the server says to its own connection.
TEST_F(pool_tls_late_refusal, of_what_is_kept_ready_puts_off_the_next_refill_and_no_caller) {
  pool_config config;
  config.min_idle_per_endpoint = 1;
  config.breaker_failures = 3;
  configure(config);
  const endpoint there = to();
  EXPECT_EQ(request(there, "hello").error(), errc::client_certificate_refused);
  for (unsigned steps = 0; steps < 600; ++steps) pass(100ms);
  const pool_stats sum = totals();
  EXPECT_EQ(sum.breaker_opened, 0U);
  EXPECT_NE(backends().stats(there)->last_error.find("alert 116"), std::string::npos);
  EXPECT_GE(peer().accepted(), 4U);
  EXPECT_LE(peer().accepted(), 80U) << "in a minute, in which no delay would make 600";
  EXPECT_EQ(sum.idle, 0U);
  const auto answer = request(there, "hello");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), errc::client_certificate_refused) << answer.error().message();
  EXPECT_EQ(answer.error().where(), phase::read);
  EXPECT_NE(answer.error().detail().find("alert 116"), std::string_view::npos)
      << answer.error().message();
}

// In TLS 1.2 the refusal is a part of the handshake, and a failed connect as any other.
TEST_F(pool_tls_late_refusal, comes_in_time_in_1_2) {
  tls::profile_options options = client_options();
  options.max_version = tls::version::tls_1_2;
  const auto answer = request(to(std::move(options)), "hello");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), errc::client_certificate_refused) << answer.error().message();
  EXPECT_EQ(answer.error().where(), phase::handshake);
  EXPECT_EQ(totals().handshakes_failed, 1U);
}

// One deadline covers the whole handshake, wherever the server begins to be slow.
TEST_F(pool_tls_peers, T34_a_handshake_of_a_byte_each_second_ends_at_the_timeout_at_every_stage) {
  const std::size_t base = here().resources().profiles();
  // The first byte, a header, in the ServerHello, behind it, in the certificate, nearly done.
  for (const std::size_t at_once : {0U, 5U, 60U, 140U, 400U, 600U}) {
    SCOPED_TRACE(at_once);
    configure({});
    between().slow_after(at_once);
    auto waiting = start_on(home(), ask(through(), "hello"));
    settle();
    const time_point began = home().now();
    ASSERT_TRUE(
        run_until(home(), [&] { return waiting->has_value(); }, [&] { clock().advance(20ms); }));
    ASSERT_FALSE(**waiting);
    EXPECT_EQ((*waiting)->error(), errc::handshake_timeout) << (*waiting)->error().message();
    EXPECT_LE(home().now() - began, 4s);  // connection_timeout is 3 s
    EXPECT_EQ(totals().connecting + totals().active + totals().idle, 0U);
    EXPECT_EQ(totals().created, totals().closed());
    ASSERT_TRUE(run_until(
        home(), [&] { return between().open() == 0 && peer().sessions().empty(); },
        [&] { clock().advance(20ms); }));
  }
  EXPECT_LE(here().resources().profiles(), base + 1);
  between().slow_after(SIZE_MAX);
  EXPECT_EQ(request(through(), "hello").value(), "hello");
}

// A record is on its way when the write is given up: no close_notify behind half of it.
TEST_F(pool_tls_peers, a_write_given_up_in_the_middle_is_truncation_for_the_server) {
  pool_config config;
  config.write_timeout = 1s;
  configure(config);
  const endpoint there = through();
  const std::string much(16 << 20, 'x');
  std::shared_ptr<tls_server::session> session;
  ASSERT_TRUE(run([&]() -> task<void> {
    auto lease = co_await backends().acquire(there);
    CO_ASSERT_OK(lease);
    while (peer().handshakes() == 0) co_await home().yield();
    session = peer().sessions().front();
    between().deaf(true);
    bool over = false;
    std::optional<errc> why;
    scope writers(home());
    writers.spawn([&]() -> task<void> {
      auto sent = co_await (*lease)->write(much);
      if (!sent) why = sent.error().kind();
      over = true;
    });
    while (!over) {
      co_await home().yield();
      clock().advance(1ms);
    }
    EXPECT_EQ(why, errc::write_timeout);
  }));
  EXPECT_EQ(totals().idle, 0U);
  between().deaf(false);
  ASSERT_TRUE(
      run_until(home(), [&] { return session->ended.has_value(); }, [&] { clock().advance(1ms); }));
  EXPECT_EQ(*session->ended, errc::truncated);
  EXPECT_GT(session->received, 0U);
  EXPECT_LT(session->received, much.size());
}

// The roots of an endpoint that has no profile of its own are the system's, as they are now.
TEST_F(pool_tls_peers, reloaded_roots_are_those_of_the_next_connection) {
  const temporary_folder files;
  const std::string ours = files.file("ours.pem", root().pem());
  const std::string others = files.file("others.pem", authority("another root").pem());
  const auto reload = [](const std::string& file) {
    ::setenv("SSL_CERT_FILE", file.c_str(), 1);
    ::unsetenv("SSL_CERT_DIR");
    EXPECT_TRUE(tls::trust_store::reload_system());
    ::unsetenv("SSL_CERT_FILE");
  };
  const endpoint there = peer().at();
  reload(ours);
  EXPECT_EQ(request(there, "hello").value(), "hello");
  backends().clear(there);
  EXPECT_EQ(request(there, "hello").value(), "hello");
  EXPECT_EQ(totals().resumed, 1U);

  // The same roots, read again: what stands stays, and no ticket of before is offered.
  reload(ours);
  EXPECT_EQ(request(there, "hello").value(), "hello");
  EXPECT_EQ(totals().handshakes, 2U);
  backends().clear(there);
  EXPECT_EQ(request(there, "hello").value(), "hello");
  EXPECT_EQ(totals().handshakes, 3U);
  EXPECT_EQ(totals().resumed, 1U);

  // Our root is no longer among them.
  reload(others);
  backends().clear(there);
  const auto refused = request(there, "hello");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), errc::certificate_unknown_issuer) << refused.error().message();
  reload(ours);
  clock().advance(6s);  // the backoff; then a trial connect stands
  ASSERT_TRUE(until([&] { return !backends().stats(there)->breaker_open; }));
  EXPECT_EQ(request(there, "hello").value(), "hello");
}

// Fewer receive buffers than connections, and small ones: each finds none at some time, and no
// byte is lost or mixed up for it.
class pool_tls_few_buffers : public pool_tls_peers {
 protected:
  pool_tls_few_buffers() {
    ring_settings.receive_buffers = 2;
    ring_settings.receive_buffer_bytes = 512;
  }
};

TEST_F(pool_tls_few_buffers, large_bodies_on_many_connections_arrive_whole) {
  constexpr unsigned connections = 8;
  constexpr std::size_t bytes = 300'000;
  pool_config config;
  config.max_connecting_per_endpoint = connections;
  configure(config);
  const endpoint there = to();
  std::vector<std::string> sent(connections);
  std::vector<std::string> got(connections, std::string(bytes, '\0'));
  std::uint32_t state = 1;
  for (std::string& text : sent) {
    text.resize(bytes);
    for (char& each : text)
      each = static_cast<char>((state = state * 1664525U + 1013904223U) >> 24);
  }
  unsigned whole = 0;
  const auto exchange = [&](unsigned which) -> task<void> {
    auto lease = co_await backends().acquire(there);
    CO_ASSERT_OK(lease);
    scope writers(home());
    writers.spawn([&]() -> task<void> {
      auto written = co_await (*lease)->write(sent[which]);
      EXPECT_TRUE(written);
    });
    auto read = co_await (*lease)->read_exactly(std::span<char>(got[which]));
    while (writers.running() > 0) co_await home().yield();
    CO_ASSERT_OK(read);
    ++whole;
  };
  scope callers(home());
  for (unsigned i = 0; i < connections; ++i) callers.spawn(exchange, i);
  ASSERT_TRUE(until([&] { return callers.running() == 0; }));
  EXPECT_EQ(whole, connections);
  for (unsigned i = 0; i < connections; ++i) EXPECT_TRUE(got[i] == sent[i]) << i;
  EXPECT_EQ(totals().created, connections);
  EXPECT_GT(home().ring().statistics().buffer_misses, 0U) << "there were buffers enough";
}

}  // namespace
}  // namespace conpool::test

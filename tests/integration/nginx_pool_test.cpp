// The pool over TLS against nginx, which ends idle connections before the pool would.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <utility>

#include <conpool/conpool.h>
#include <conpool/tls/detail/channel.h>

#include <tests/support/nginx_server.h>
#include <tests/support/pool_fixture.h>
#include <tests/support/relay.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t root_from_s = 1'577'836'800;  // 2020

class nginx_pool : public pool_fixture {
 protected:
  void SetUp() override {
    pool_fixture::SetUp();
    pool_config config;
    config.max_connections_per_endpoint = 1;
    configure(config);
  }

  static const authority& root() {
    static const authority made("nginx's root", root_from_s);
    return made;
  }
  static tls::profile_options options(std::string name = nginx_server::a) {
    static const tls::trust_ptr trust = root().trust();
    tls::profile_options options;
    options.trust = trust;
    options.verify_name = std::move(name);
    return options;
  }
  static endpoint at(std::uint16_t port, tls::profile_options how = options()) {
    return endpoint::parse("tls://127.0.0.1:" + std::to_string(port))
        .value()
        .with_profile(tls::profile::make(std::move(how)).value())
        .value();
  }

  // The answer to a request, or the error's text; over a connection that is released then.
  task<std::string> get(endpoint from, std::string end) {
    auto lease = co_await backends().acquire(from);
    if (!lease) co_return lease.error().message();
    const std::string name((*lease)->tls()->requested_name());
    auto sent = co_await (*lease)->write("GET / HTTP/1.1\r\nHost: " + name + "\r\n\r\n");
    if (!sent) co_return sent.error().message();
    std::string answer;
    char some[512];
    while (!answer.ends_with(end)) {
      auto got = co_await (*lease)->read(std::span<char>(some));
      if (!got) co_return answer + got.error().message();
      if (*got == 0) co_return answer;
      answer.append(some, *got);
    }
    co_return answer;
  }
  std::string request(const endpoint& from, const std::string& end = "end\n") {
    return run_on(home(), get(from, end)).value_or("no answer");
  }

  const nginx_server server_{root(), root_from_s};
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(nginx_pool, T29_a_close_notify_is_noticed_before_the_next_acquire) {
  const endpoint there = at(server_.port());
  for (const bool resumed : {false, true}) {
    const std::string answer = request(there);
    EXPECT_TRUE(has(answer, resumed ? " r. end" : " .. end")) << answer;
    // Its keep-alive ends after a second of its time; none of ours passes.
    ASSERT_TRUE(until([this] { return totals().idle == 0; }));
  }
  const pool_stats sum = totals();
  EXPECT_EQ(sum.closed(close_reason::peer_closed), 2U);
  EXPECT_EQ(sum.created, 2U);
  EXPECT_EQ(sum.handshakes, 2U);
  EXPECT_EQ(sum.resumed, 1U);
  EXPECT_EQ(sum.connect_failures, 0U);
}

TEST_F(nginx_pool, two_names_on_one_address_share_nothing) {
  const endpoint one = at(server_.port());
  const endpoint other = at(server_.port(), options(nginx_server::b));
  for (unsigned round = 0; round < 4; ++round) {
    std::string answer = request(one);
    EXPECT_TRUE(has(answer, "a.example saw a.example")) << answer;
    answer = request(other);
    EXPECT_TRUE(has(answer, "b.example saw b.example")) << answer;
  }
  EXPECT_EQ(totals().created, 2U);
  EXPECT_EQ(totals().handshakes, 2U);
  tls::profile_options crossed = options();
  crossed.server_name = nginx_server::b;
  const std::string answer = request(at(server_.port(), crossed));
  EXPECT_TRUE(has(answer, "for another name")) << answer;
}

TEST_F(nginx_pool, a_refusal_in_http_is_an_answer_and_its_connection_is_not_lent_again) {
  const endpoint stranger = at(server_.strict_port());
  for (unsigned times = 1; times <= 2; ++times) {
    const std::string answer = request(stranger, "</html>\r\n");
    EXPECT_TRUE(has(answer, "400 No required SSL certificate was sent")) << answer;
    ASSERT_TRUE(until([this] { return totals().idle == 0; }));
    EXPECT_EQ(totals().created, times);
  }
  EXPECT_EQ(totals().connect_failures + totals().handshakes_failed, 0U);

  const certificate own = root().issue({.common_name = "client.example", .from_s = root_from_s});
  tls::profile_options known = options();
  known.certificate_chain_pem = own.chain_pem();
  known.private_key_pem = own.key_pem;
  const endpoint there = at(server_.strict_port(), known);
  for (unsigned times = 1; times <= 2; ++times) {
    const std::string answer = request(there);
    EXPECT_TRUE(has(answer, "CN=client.example")) << answer;
  }
  EXPECT_EQ(totals().created, 3U);
  EXPECT_EQ(totals().idle, 1U);
}

TEST_F(nginx_pool, a_connection_of_tls_1_2_is_lent_again) {
  const endpoint there = at(server_.old_port());
  for (unsigned times = 1; times <= 3; ++times) {
    const std::string answer = request(there);
    EXPECT_TRUE(has(answer, "200 OK")) << answer;
  }
  EXPECT_EQ(totals().created, 1U);
  EXPECT_EQ(totals().hits, 2U);
}

// A load balancer's other server, say, which does not know the id and is no help.
TEST_F(nginx_pool, a_session_id_that_is_reset_is_followed_by_a_full_handshake) {
  relay between(home(), at(server_.old_port()));
  tls::profile_options only_1_2 = options();
  only_1_2.max_version = tls::version::tls_1_2;  // a client of TLS 1.3 would make up an id
  const endpoint there = between.at().with_profile(tls::profile::make(only_1_2).value()).value();
  const auto visit = [&] {
    const std::string answer = request(there);
    backends().clear(there);
    settle();
    return answer;
  };
  EXPECT_TRUE(has(visit(), " .. end"));
  EXPECT_TRUE(has(visit(), " r. end"));
  between.treat_sessions(on_session::reset);
  for (unsigned times = 1; times <= 4; ++times) {
    const std::string answer = visit();
    EXPECT_TRUE(has(answer, " .. end")) << answer;
  }
  EXPECT_EQ(totals().resumptions_failed, 1U);
  EXPECT_EQ(totals().resumed, 1U);
  EXPECT_EQ(totals().connect_failures, 0U);
  between.stop();
  EXPECT_TRUE(until([&] { return between.stopped(); }));
  settle();
}

}  // namespace
}  // namespace conpool::test

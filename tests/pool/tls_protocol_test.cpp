// Protocols over TLS: what ALPN chose decides how a connection is lent, and what is pushed to an
// idle one reaches its hook as plain bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <conpool/tls/handshake.h>

#include <tests/pool/tls_fixture.h>

namespace conpool::test {
namespace {

// As in HTTP, a connection carries many leases if the server speaks h2, and one otherwise.
struct by_alpn {
  struct state {};
  static constexpr std::uint32_t expected_leases = 100;
  access access_mode(const connection& fresh, const state&) {
    return fresh.tls()->alpn() == "h2" ? access::shared(100) : access::exclusive();
  }
};

struct takes_pushes {
  struct state {};
  std::string* seen;
  idle_data on_idle_data(connection&, state&, std::span<const std::byte> bytes) {
    seen->append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return seen->ends_with('!') ? idle_data::dirt : idle_data::keep;
  }
};

// As a database's client does, here without a word in the clear before: TLS is put on a connection
// that began without.
struct upgrades {
  struct state {};
  shard* home;
  tls::profile_ptr as;
  task<result<void>> on_connect(connection& to, state&) {
    auto secured = co_await tls::connect(to, as, home->now() + std::chrono::seconds(3));
    co_return secured;
  }
};

class pool_tls_protocol : public pool_tls {
 protected:
  template <typename P>
  pool make(P speaks) {
    pool_config config;
    config.max_connecting_per_endpoint = 16;
    return std::move(pool::create(home(), config, std::move(speaks)).value());
  }
  void close(pool& one) {
    ASSERT_TRUE(run([&one]() -> task<void> {
      auto closed = co_await one.close();
      EXPECT_TRUE(closed);
    }));
  }
  // The same server, as if it began in the clear.
  endpoint in_the_clear() {
    return endpoint::parse("tcp://127.0.0.1:" + std::to_string(peer().at().port())).value();
  }
  endpoint speaking(std::vector<std::string> protocols) {
    tls::profile_options options = client_options();
    options.alpn = std::move(protocols);
    return to(std::move(options));
  }
  // Eight callers at once, each of whom waits for the others; how many connects there were at most.
  std::uint32_t fan_out(pool& backends, const endpoint& where) {
    constexpr unsigned callers = 8;
    unsigned have = 0;
    unsigned gone = 0;
    for (unsigned i = 0; i < callers; ++i) {
      home().spawn([&]() -> task<void> {
        auto lease = co_await backends.acquire(where);
        CO_ASSERT_OK(lease);
        ++have;
        while (have < callers) co_await home().yield();
        ++gone;
      });
    }
    std::uint32_t most = 0;
    EXPECT_TRUE(run_until(
        home(), [&] { return gone == callers; },
        [&] { most = std::max(most, backends.totals().connecting); }));
    return most;
  }
};

TEST_F(pool_tls_protocol, T63_where_alpn_falls_to_h1_every_caller_gets_a_connection_of_its_own) {
  tls::server_options options = server_options();
  options.alpn = {"http/1.1"};
  serve(std::move(options));
  pool http = make(by_alpn{});
  // One connect for all of them; when it says h1, the other seven at once.
  EXPECT_EQ(fan_out(http, speaking({"h2", "http/1.1"})), 7U);
  EXPECT_EQ(http.totals().created, 8U);
  close(http);
}

TEST_F(pool_tls_protocol, T63_where_alpn_agrees_on_h2_one_connection_is_shared) {
  tls::server_options options = server_options();
  options.alpn = {"h2", "http/1.1"};
  serve(std::move(options));
  pool http = make(by_alpn{});
  EXPECT_EQ(fan_out(http, speaking({"h2", "http/1.1"})), 1U);
  EXPECT_EQ(http.totals().created, 1U);
  close(http);
}

TEST_F(pool_tls_protocol, a_connection_that_on_connect_upgraded_counts_as_a_handshake) {
  for (const bool careless : {false, true}) {
    tls::profile_options options = client_options();
    if (careless) {
      options = {};
      options.insecure = true;
    }
    pool one = make(upgrades{&home(), tls::profile::make(std::move(options)).value()});
    ASSERT_TRUE(run([&]() -> task<void> {
      auto lent = co_await one.acquire(in_the_clear());
      CO_ASSERT_OK(lent);
      EXPECT_NE((*lent)->tls(), nullptr);
      EXPECT_EQ((*lent)->tls()->insecure(), careless);
    }));
    EXPECT_EQ(one.totals().handshakes, 1U);
    EXPECT_EQ(one.totals().handshakes_failed, 0U);
    EXPECT_EQ(one.totals().insecure, careless ? 1U : 0U);
    close(one);
  }
}

TEST_F(pool_tls_protocol, a_certificate_that_on_connect_refused_keeps_its_kind_and_is_permanent) {
  pool one =
      make(upgrades{&home(), tls::profile::make(client_options("another.example.com")).value()});
  std::optional<error> why;
  ASSERT_TRUE(run([&]() -> task<void> {
    auto lent = co_await one.acquire(in_the_clear());
    if (!lent) why = std::move(lent.error());
  }));
  ASSERT_TRUE(why);
  EXPECT_EQ(*why, errc::certificate_host_mismatch) << why->message();
  EXPECT_TRUE(why->is_permanent());
  EXPECT_EQ(one.totals().handshakes, 0U);
  EXPECT_EQ(one.totals().handshakes_failed, 1U);
  close(one);
}

TEST_F(pool_tls_protocol, pushes_reach_the_hook_as_plain_bytes) {
  std::string seen;
  pool one = make(takes_pushes{&seen});
  const endpoint there = to();
  ASSERT_TRUE(run([&]() -> task<void> {
    auto stands = co_await one.warm(there, 1, std::chrono::seconds(5));
    CO_ASSERT_OK(stands);
  }));
  peer().send_to_all("invalidate");
  ASSERT_TRUE(until([&] { return seen == "invalidate"; }));
  peer().update_keys(false);
  settle();
  EXPECT_EQ(one.totals().idle, 1U);
  EXPECT_EQ(one.totals().pushes, 1U);
  peer().send_to_all("dirt!");
  ASSERT_TRUE(until([&] { return one.totals().closed() == 1; }));
  close(one);
}

}  // namespace
}  // namespace conpool::test

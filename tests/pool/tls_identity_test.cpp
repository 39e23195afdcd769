// A caller who asks for another identity never gets this one's connections or sessions.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include <conpool/runtime/detail/random.h>

#include <tests/pool/tls_fixture.h>

namespace conpool::test {
namespace {

class pool_tls_identity : public pool_tls {
 protected:
  // Two names, three lists of protocols, no client certificate or one of two; and the first of them
  // verified by another store of the same contents, and not at all.
  std::vector<endpoint> twenty_identities() {
    const certificate alice = root().issue({.common_name = "alice"});
    const certificate bob = root().issue({.common_name = "bob"});
    const certificate* const nobody = nullptr;
    std::vector<endpoint> where;
    for (const char* name : {"one.example.com", "two.example.com"}) {
      for (const char* protocol : {"", "h2", "http/1.1"}) {
        for (const certificate* own : {nobody, &alice, &bob}) {
          tls::profile_options as = client_options(name);
          if (*protocol != '\0') as.alpn = {protocol};
          if (own != nullptr) {
            as.certificate_chain_pem = own->chain_pem();
            as.private_key_pem = own->key_pem;
          }
          where.push_back(to(as));
        }
      }
    }
    tls::profile_options other_store = client_options("one.example.com");
    other_store.trust = root().trust();
    where.push_back(to(other_store));
    tls::profile_options careless = client_options("one.example.com");
    careless.insecure = true;
    where.push_back(to(careless));
    return where;
  }
};

TEST_F(pool_tls_identity, T31_twenty_identities_share_neither_connections_nor_sessions) {
  tls::server_options options = server_options();
  options.alpn = {"h2", "http/1.1"};
  options.clients = tls::client_certificates::optional;
  options.client_trust = trust();
  serve(std::move(options));
  peer().tell_whom(true);
  const std::vector<endpoint> where = twenty_identities();
  // One that must never get a connection, however many of the others there are.
  const endpoint wrong = to(client_options("three.example.com"));

  std::vector<std::string> expected(where.size());
  random_source random(31);
  std::uint64_t served = 0;
  const auto some_requests = [&]() -> task<void> {
    for (int i = 0; i < 100; ++i) {
      const std::size_t which = random.below(where.size());
      auto lease = co_await backends().acquire(where[which]);
      CO_ASSERT_OK(lease);
      auto sent = co_await (*lease)->write("who am I");
      CO_ASSERT_OK(sent);
      std::array<char, 256> memory{};
      auto got = co_await (*lease)->read(std::span<char>(memory));
      CO_ASSERT_OK(got);
      const std::string whom(memory.data(), *got);
      if (expected[which].empty()) expected[which] = whom;
      EXPECT_EQ(whom, expected[which]);
      if (whom == expected[which]) ++served;
      if (random.below(20) == 0) lease->discard();
    }
  };
  for (int round = 0; round < 100; ++round) {
    ASSERT_TRUE(run(some_requests)) << round;
    if (round % 20 != 0) continue;
    const auto refused = request(wrong, "who am I");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error(), errc::certificate_host_mismatch);
    clock().advance(std::chrono::seconds(6));  // the backoff
  }
  EXPECT_EQ(served, 10'000U);
  EXPECT_GT(totals().resumed, 300U);
  // Eighteen identities that the server can tell apart, and two that it cannot.
  std::vector<std::string> distinct(expected.begin(), expected.begin() + 18);
  std::ranges::sort(distinct);
  EXPECT_EQ(std::ranges::unique(distinct).size(), 0U);
  EXPECT_EQ(expected[18], expected[0]);
  EXPECT_EQ(expected[19], expected[0]);
  EXPECT_EQ(totals().insecure > 0, true);
  for (std::size_t i = 0; i < where.size(); ++i) {
    EXPECT_TRUE(backends().stats(where[i])->handshakes > 0) << i;
  }
}

TEST_F(pool_tls_identity, equal_profiles_are_one_identity) {
  const endpoint first = to(client_options());
  const endpoint second = to(client_options());
  EXPECT_EQ(first, second);
  EXPECT_EQ(first.hash(), second.hash());
  EXPECT_NE(first, peer().at());
  EXPECT_EQ(first.with_profile(nullptr).value(), peer().at());
  EXPECT_EQ(first.with_profile(nullptr).value().hash(), peer().at().hash());
  EXPECT_NE(first.to_string(), peer().at().to_string());
  EXPECT_EQ(first.text(), peer().at().text());
}

TEST_F(pool_tls_identity, a_profile_is_for_tls_only) {
  const auto profile = tls::profile::make(client_options()).value();
  for (const char* text : {"tcp://127.0.0.1:443", "unix:/run/peer"}) {
    const auto refused = endpoint::parse(text).value().with_profile(profile);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error(), errc::invalid_argument);
    EXPECT_EQ(refused.error().where(), phase::configure);
    EXPECT_EQ(refused.error().subject(), text);
    EXPECT_NE(refused.error().detail().find("tls://"), std::string_view::npos);
  }
}

}  // namespace
}  // namespace conpool::test

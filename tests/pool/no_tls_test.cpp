// A build without TLS (-Dtls=disabled): tls:// endpoints are known, and refused by all that would
// connect to one, with an error that says why; everything else works.
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <type_traits>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

class without_tls : public pool_fixture {
 protected:
  static void expect_refusal(const error& why) {
    EXPECT_EQ(why, errc::unsupported);
    EXPECT_EQ(why.subject(), "tls://127.0.0.1:443");
    EXPECT_NE(why.detail().find("-Dtls=disabled"), std::string_view::npos) << why.message();
  }
  const endpoint there_ = endpoint::parse("tls://127.0.0.1:443").value();
};

TEST_F(without_tls, an_acquire_is_refused_and_nothing_is_dialed) {
  ASSERT_TRUE(run([this]() -> task<void> {
    auto lease = co_await backends().acquire(there_);
    if (lease) {
      ADD_FAILURE() << "it was served";
    } else {
      expect_refusal(lease.error());
    }
  }));
  EXPECT_EQ(totals().created, 0U);
}

TEST_F(without_tls, warming_and_adopting_are_refused) {
  ASSERT_TRUE(run([this]() -> task<void> {
    auto stands = co_await backends().warm(there_, 1, std::chrono::seconds(1));
    if (stands) {
      ADD_FAILURE() << "it stands";
    } else {
      expect_refusal(stands.error());
    }
  }));
  EXPECT_EQ(backends().adopt(there_, 0).error(), errc::unsupported);
  EXPECT_EQ(totals().created, 0U);
}

TEST_F(without_tls, tcp_is_served_and_says_that_it_is_not_tls) {
  ASSERT_TRUE(run([this]() -> task<void> {
    auto lease = co_await backends().acquire(server().at());
    CO_ASSERT_OK(lease);
    EXPECT_EQ((*lease)->tls(), nullptr);
  }));
}

TEST(no_tls, an_endpoint_takes_no_profile) {
  const auto there = endpoint::parse("tls://127.0.0.1:443").value();
  const auto refused = there.with_profile(nullptr);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), errc::unsupported);
  EXPECT_EQ(refused.error().where(), phase::configure);
  EXPECT_EQ(refused.error().subject(), "tls://127.0.0.1:443");
  EXPECT_NE(refused.error().detail().find("-Dtls=disabled"), std::string_view::npos);
}

// The same program compiles and links with TLS and without.
TEST(no_tls, all_that_makes_something_of_tls_says_that_there_is_none) {
  EXPECT_FALSE(tls::available());
  EXPECT_EQ(tls::profile::make({}).error(), errc::unsupported);
  EXPECT_EQ(tls::trust_store::system().error(), errc::unsupported);
  EXPECT_EQ(tls::trust_store::reload_system().error(), errc::unsupported);
  EXPECT_EQ(tls::trust_store::from_pem("").error(), errc::unsupported);
  const auto from_file = tls::trust_store::from_file("/etc/ssl/cert.pem");
  EXPECT_EQ(from_file.error(), errc::unsupported);
  EXPECT_NE(from_file.error().detail().find("-Dtls=disabled"), std::string_view::npos);
  EXPECT_EQ(tls::trust_store::system_generation(), 0U);
  EXPECT_STREQ(tls::to_string(tls::version::tls_1_3), "TLS 1.3");
}

TEST_F(without_tls, handshakes_are_refused) {
  EXPECT_EQ(tls::server_profile::make(home(), {}).error(), errc::unsupported);
  ASSERT_TRUE(run([this]() -> task<void> {
    auto lease = co_await backends().acquire(server().at());
    CO_ASSERT_OK(lease);
    EXPECT_EQ(tls::of(**lease), nullptr);
    auto secured = co_await tls::connect(**lease, nullptr, home().now() + std::chrono::seconds(1));
    if (secured) {
      ADD_FAILURE() << "it was secured";
    } else {
      EXPECT_EQ(secured.error(), errc::unsupported);
    }
    auto accepted = co_await tls::accept(**lease, nullptr, home().now() + std::chrono::seconds(1));
    if (accepted) {
      ADD_FAILURE() << "it was accepted";
    } else {
      EXPECT_EQ(accepted.error(), errc::unsupported);
    }
  }));
}

// As any caller's code does with what it was given.
TEST(no_tls, what_is_told_of_a_connection_links) {
  const tls::connection_info* none = nullptr;
  const auto words = [](const tls::connection_info& of) {
    return std::string(of.cipher()) + std::string(of.alpn()) + std::string(of.requested_name()) +
           tls::to_string(of.version()) + (of.resumed() ? "resumed" : "") + of.peer() +
           std::to_string(of.peer_certificate().size());
  };
  EXPECT_EQ(none == nullptr ? std::string() : words(*none), "");
}

}  // namespace
}  // namespace conpool::test

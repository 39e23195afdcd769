// A build without TLS (-Dtls=disabled): tls:// endpoints are known, and refused by all that would
// connect to one, with an error that says why; everything else works.
#include <gtest/gtest.h>

#include <optional>

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

}  // namespace
}  // namespace conpool::test

// The breakers of many endpoints at once: what leaves in one submission.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>
#include <tests/support/silent_port.h>

namespace conpool::test {
namespace {

using breaker = pool_fixture;

TEST_F(breaker, probes_of_many_broken_endpoints_that_fall_due_together_leave_in_one_enter) {
  constexpr unsigned endpoints = 64;
  const silent_port nobody;
  pool_config config;
  config.breaker_failures = 1;
  configure(config);
  const std::string text = nobody.text();
  const std::string port = text.substr(text.rfind(':'));
  // Only 127.0.0.1 is bound; nobody else can listen on that port of its neighbours' behalf.
  ASSERT_TRUE(run([&]() -> task<void> {
    for (unsigned i = 1; i <= endpoints; ++i) {
      const endpoint to = endpoint::parse("tcp://127.0.1." + std::to_string(i) + port).value();
      auto refused = co_await backends().acquire(to);
      EXPECT_FALSE(refused);
      if (!refused) {
        EXPECT_EQ(refused.error(), errc::connect_failed);
      }
    }
  }));
  EXPECT_EQ(totals().breaker_opened, endpoints);
  settle();
  // Those whose backoff was drawn as nothing may have been tried already.
  const std::uint64_t tried = totals().created;
  clock().advance(config.connect_backoff_max);  // all are due
  const ring_statistics before = home().ring().statistics();
  while (totals().created < tried + endpoints) home().run_once(duration::zero());
  EXPECT_EQ(totals().connecting, endpoints);
  home().run_once(duration::zero());
  const ring_statistics& after = home().ring().statistics();
  EXPECT_GE(after.submissions - before.submissions, endpoints);
  EXPECT_LE(after.submitting_enters - before.submitting_enters, 2U);
  EXPECT_TRUE(until([&] { return totals().connecting == 0; }));
  EXPECT_EQ(totals().connect_failures, tried + endpoints);
}

}  // namespace
}  // namespace conpool::test

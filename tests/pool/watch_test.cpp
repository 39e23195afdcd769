// The idle watch: what happens to idle connections is known before they are lent, without asking.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

class idle_watch : public pool_fixture {
 protected:
  // One exchange over the pool; the error's message, empty if it went well.
  task<std::string> exchange() {
    auto lease = co_await backends().acquire(server().at());
    if (!lease) co_return lease.error().message();
    auto sent = co_await (*lease)->write("ping");
    if (!sent) co_return sent.error().message();
    std::array<char, 4> got{};
    auto read = co_await (*lease)->read_exactly(std::span<char>(got));
    if (!read) co_return read.error().message();
    co_return std::string(got.data(), got.size()) == "ping" ? "" : "wrong answer";
  }
};

TEST_F(idle_watch, T22_an_end_while_idle_is_counted_without_an_acquire) {
  make_idle(3);
  server().close_all();
  ASSERT_TRUE(until([&] { return totals().idle == 0; }));
  EXPECT_EQ(totals().closed(close_reason::peer_closed), 3U);
}

TEST_F(idle_watch, T23_a_reset_while_idle_is_counted_as_one) {
  make_idle(2);
  server().reset_all();
  ASSERT_TRUE(until([&] { return totals().idle == 0; }));
  EXPECT_EQ(totals().closed(close_reason::peer_reset), 2U);
}

TEST_F(idle_watch, T24_garbage_while_idle_closes_the_connection) {
  make_idle(1);
  server().send_to_all("surprise");
  ASSERT_TRUE(until([&] { return totals().idle == 0; }));
  EXPECT_EQ(totals().closed(close_reason::unexpected_data), 1U);
}

TEST_F(idle_watch, T26_an_end_is_seen_by_an_acquire_of_the_turn_that_has_not_harvested_it) {
  // The server closes inside the very turn in which the acquire follows: nothing was harvested in
  // between, so only the look at the acquire itself can tell.
  make_idle(1);
  ASSERT_TRUE(run([this]() -> task<void> {
    server().close_all();
    // The server's half of the close needs its own operation to end, which takes an enter; the
    // client's shard is the same one here, so only a second harvest finds the FIN.
    home().ring().enter(duration::zero());
    auto lease = co_await backends().acquire(server().at());
    CO_ASSERT_OK(lease);
    EXPECT_FALSE(lease->reused());
  }));
  EXPECT_EQ(totals().closed(close_reason::peer_closed), 1U);
}

TEST_F(idle_watch, a_server_that_closes_before_each_acquire_never_gets_a_dead_one_lent) {
  constexpr unsigned rounds = 1000;
  unsigned failures = 0;
  ASSERT_TRUE(run([this, &failures]() -> task<void> {
    for (unsigned round = 0; round < rounds; ++round) {
      auto asked = exchange();
      auto said = co_await asked;
      if (!said.empty()) {
        ++failures;
        ADD_FAILURE() << said;
      }
      server().close_all();
      // Until the server's side is really closed: its own read has to end first.
      while (server().open() > 0) co_await home().yield();
    }
  }));
  EXPECT_EQ(failures, 0U);
  ASSERT_TRUE(until([&] { return totals().idle == 0; }));
  EXPECT_EQ(totals().closed(close_reason::peer_closed), rounds);
  EXPECT_EQ(totals().created, rounds);
  EXPECT_EQ(totals().reused, 0U);
}

TEST_F(idle_watch, a_hit_makes_no_system_call_and_submits_nothing) {
  make_idle(1);
  settle();
  ASSERT_TRUE(run([this]() -> task<void> {
    const ring_statistics before = home().ring().statistics();
    for (int i = 0; i < 1000; ++i) {
      auto lease = co_await backends().acquire(server().at());
      CO_ASSERT_OK(lease);
      EXPECT_TRUE(lease->reused());
    }
    const ring_statistics& after = home().ring().statistics();
    EXPECT_EQ(after.enters, before.enters);
    EXPECT_EQ(after.submissions, before.submissions);
  }));
  EXPECT_EQ(totals().hits, 1000U);
  EXPECT_TRUE(home().ring().in_flight() > 0);
}

TEST_F(idle_watch, a_greeting_before_the_first_lease_belongs_to_that_lease) {
  server().greet_with("220 ready");
  ASSERT_TRUE(run([this]() -> task<void> {
    for (int round = 0; round < 3; ++round) {
      auto lease = co_await backends().acquire(server().at());
      CO_ASSERT_OK(lease);
      std::array<char, 9> got{};
      auto read = co_await (*lease)->read_exactly(std::span<char>(got));
      CO_ASSERT_OK(read);
      EXPECT_EQ(std::string(got.data(), got.size()), "220 ready");
      lease->discard();
    }
  }));
}

TEST_F(idle_watch, an_idle_connection_with_a_greeting_is_watched_for_the_end_behind_it) {
  pool_config config;
  config.server_speaks_first = true;
  configure(config);
  server().greet_with("hello");
  // A waiter that gives up leaves a connection nobody has used yet.
  bool ended = false;
  start(
      [this]() -> task<void> {
        auto lease = co_await backends().acquire(server().at(), std::chrono::milliseconds(10));
        EXPECT_FALSE(lease);
      },
      ended);
  home().run_once(duration::zero());
  clock().advance(std::chrono::milliseconds(20));
  ASSERT_TRUE(until([&] { return ended && totals().idle == 1 && server().open() == 1; }));
  settle();
  EXPECT_EQ(totals().idle, 1U) << "the greeting is not stray";
  server().close_all();
  ASSERT_TRUE(until([&] { return server().open() == 0 && totals().idle == 0; }))
      << "what is dead is not idle";
  pass(std::chrono::milliseconds(50));
  ASSERT_TRUE(run([this]() -> task<void> {
    auto lease = co_await backends().acquire(server().at());
    CO_ASSERT_OK(lease);
    std::array<char, 5> got{};
    auto read = co_await (*lease)->read_exactly(std::span<char>(got));
    CO_ASSERT_OK(read);
  }));
  EXPECT_EQ(totals().closed(close_reason::peer_closed), 1U);
}

TEST_F(idle_watch, without_validation_the_turn_still_finds_the_dead) {
  pool_config config;
  config.validation = validation_policy::none;
  configure(config);
  make_idle(2);
  server().close_all();
  ASSERT_TRUE(until([&] { return totals().idle == 0; }));
  EXPECT_EQ(totals().closed(close_reason::peer_closed), 2U);
}

TEST_F(idle_watch, more_arrivals_than_receive_buffers_are_all_recognised) {
  // 300 connections, 256 buffers: the last ones complete with ENOBUFS and are looked at directly.
  pool_config config;
  config.max_connections_per_endpoint = 300;
  config.max_waiters_per_endpoint = 300;
  configure(config);
  make_idle(300);
  server().send_to_all("x");
  // Not in one turn: so many take their time.
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::unexpected_data) == 300; }));
  EXPECT_EQ(totals().idle, 0U);
}

}  // namespace
}  // namespace conpool::test

// What the pool knows when it lends: a connection that ended, or got bytes that nobody asked for,
// while it was leased or between its return and the next acquire in the same turn, is not lent. The
// witness is the socket itself, asked by the test behind the pool's back.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>
#include <tests/support/raw_sockets.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

enum class mischief : std::uint8_t { end, reset, bytes };
constexpr std::array all_mischief{mischief::end, mischief::reset, mischief::bytes};

bool nothing_waits(const lease& lent) {
  char one = 0;
  return ::recv(lent->fd(), &one, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

class lends : public pool_fixture {
 protected:
  // An idle connection whose other end the test has.
  unique_fd adopt_one() {
    socket_pair both = tcp_pair();
    const auto done = backends().adopt(server().at(), both.near.release());
    EXPECT_OK(done);
    settle();
    return std::move(both.far);
  }
  static void does(mischief what, unique_fd& peer) {
    switch (what) {
      case mischief::end:
        peer.reset();
        break;
      case mischief::reset:
        peer.reset_connection();
        break;
      case mischief::bytes:
        send_all(peer, "stray");
        break;
    }
  }
  // A request and its answer, from a peer that the test plays.
  static task<void> talk(lease& over, unique_fd& peer) {
    auto sent = co_await over->write("ask");
    CO_ASSERT_OK(sent);
    std::array<char, 8> got{};
    EXPECT_EQ(::recv(peer.get(), got.data(), got.size(), 0), 3);
    send_all(peer, "answer");
    std::array<char, 6> answer{};
    auto read = co_await over->read_exactly(std::span<char>(answer));
    CO_ASSERT_OK(read);
  }
  void configure_for(validation_policy policy, std::uint32_t most) {
    pool_config config;
    config.validation = policy;
    config.max_connections_per_endpoint = most;
    configure(config);
  }
  static constexpr std::array policies{validation_policy::watch, validation_policy::probe};
};

TEST_F(lends, what_ended_during_a_lease_is_not_lent_in_the_turn_of_its_return) {
  for (const validation_policy policy : policies) {
    for (const mischief what : all_mischief) {
      configure_for(policy, 8);
      unique_fd peer = adopt_one();
      ASSERT_TRUE(run([&]() -> task<void> {
        auto first = co_await backends().acquire(server().at());
        CO_ASSERT_OK(first);
        auto talking = talk(*first, peer);
        co_await talking;
        const std::uint64_t id = (*first)->id();
        does(what, peer);
        first->release();
        auto second = co_await backends().acquire(server().at());
        CO_ASSERT_OK(second);
        EXPECT_NE((*second)->id(), id) << to_string(policy) << ", " << static_cast<int>(what);
        EXPECT_TRUE(nothing_waits(*second));
      }));
    }
  }
}

// The same, to a caller who waits at the limit.
TEST_F(lends, what_ended_during_a_lease_is_not_handed_over) {
  for (const validation_policy policy : policies) {
    for (const mischief what : all_mischief) {
      configure_for(policy, 1);
      unique_fd peer = adopt_one();
      caller* next = nullptr;
      std::uint64_t id = 0;
      ASSERT_TRUE(run([&]() -> task<void> {
        auto first = co_await backends().acquire(server().at());
        CO_ASSERT_OK(first);
        next = &call();
        auto talking = talk(*first, peer);
        co_await talking;
        id = (*first)->id();
        does(what, peer);
        first->release();
      }));
      ASSERT_TRUE(until([&] { return next->ended; }));
      ASSERT_OK(next->got);
      EXPECT_NE((*next->got)->id(), id) << to_string(policy) << ", " << static_cast<int>(what);
      EXPECT_TRUE(nothing_waits(*next->got));
      next->got->release();
    }
  }
}

TEST_F(lends, what_ends_between_a_return_and_the_acquire_behind_it_fails_no_request) {
  constexpr unsigned rounds = 200;
  configure_for(validation_policy::watch, 8);
  unsigned failed = 0;
  ASSERT_TRUE(run([&]() -> task<void> {
    for (unsigned i = 0; i < rounds; ++i) {
      socket_pair both = tcp_pair();
      const auto adopted = backends().adopt(server().at(), both.near.release());
      EXPECT_OK(adopted);
      auto first = co_await backends().acquire(server().at());
      CO_ASSERT_OK(first);
      if (first->operator->()->uses() == 2) {
        auto talking = talk(*first, both.far);
        co_await talking;
      }
      first->release();
      both.far.reset();
      auto second = co_await backends().acquire(server().at());
      CO_ASSERT_OK(second);
      if (!nothing_waits(*second)) ++failed;
      second->discard();
    }
  }));
  EXPECT_EQ(failed, 0U) << "of " << rounds;
}

// A shared connection that nobody reads is looked at for each lease, too.
struct shared_by_four {
  struct state {};
  access access_mode(const connection&, const state&) { return access::shared(4); }
};

// The kernel looks when the turn ends, and the turn that brings the answer may come much later.
TEST_F(lends, what_ends_behind_a_probes_look_is_not_lent_on_its_answer) {
  for (const mischief what : all_mischief) {
    configure_for(validation_policy::probe, 8);
    unique_fd peer = adopt_one();
    caller& asks = call();
    ASSERT_TRUE(until([this] { return totals().probes == 1; }));
    does(what, peer);
    clock().advance(1ms);
    ASSERT_TRUE(until([&] { return asks.ended; }));
    ASSERT_TRUE(asks.served());
    EXPECT_FALSE(asks.got->reused()) << static_cast<int>(what);
    EXPECT_TRUE(nothing_waits(*asks.got));
    EXPECT_EQ(totals().closed(), 1U);
    release_all();
  }
}

TEST_F(lends, a_shared_connection_that_has_ended_takes_no_further_lease) {
  for (const bool by_reset : {false, true}) {
    configure(pool_config(), shared_by_four());
    unique_fd peer = adopt_one();
    ASSERT_TRUE(run([&]() -> task<void> {
      auto first = co_await backends().acquire(server().at());
      CO_ASSERT_OK(first);
      auto talking = talk(*first, peer);
      co_await talking;
      does(by_reset ? mischief::reset : mischief::end, peer);
      auto second = co_await backends().acquire(server().at());
      CO_ASSERT_OK(second);
      EXPECT_NE((*second)->id(), (*first)->id());
    }));
  }
}

// A pool that is not to look does not.
TEST_F(lends, without_validation_the_caller_finds_out) {
  configure_for(validation_policy::none, 8);
  unique_fd peer = adopt_one();
  ASSERT_TRUE(run([&]() -> task<void> {
    auto first = co_await backends().acquire(server().at());
    CO_ASSERT_OK(first);
    auto talking = talk(*first, peer);
    co_await talking;
    const std::uint64_t id = (*first)->id();
    does(mischief::end, peer);
    first->release();
    auto second = co_await backends().acquire(server().at());
    CO_ASSERT_OK(second);
    EXPECT_EQ((*second)->id(), id);
  }));
}

// --- Connections that nobody has used yet

TEST_F(lends, a_page_on_a_connection_that_nobody_used_is_no_answer) {
  pool_config config;
  config.min_idle_per_endpoint = 2;
  config.refill_jitter = 0ms;
  configure(config);
  const endpoint_handle used = backends().handle(server().at());
  ASSERT_TRUE(until([&] { return totals().idle == 2 && server().open() == 2; }));
  settle();
  server().send_to_all("HTTP/1.1 408 Request Timeout\r\n\r\n");
  ASSERT_TRUE(until([&] { return closed(close_reason::unexpected_data) == 2; }));
  pass(1s);
  lease held = hold();
  EXPECT_TRUE(works(held));
}

TEST_F(lends, an_adopted_connection_has_been_used_unless_its_owner_says_otherwise) {
  unique_fd peer = adopt_one();
  send_all(peer, "late");
  ASSERT_TRUE(until([&] { return closed(close_reason::unexpected_data) == 1; }));
  socket_pair dirty = tcp_pair();
  send_all(dirty.far, "late");
  const auto refused = backends().adopt(server().at(), dirty.near.get());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), errc::unsolicited_data);

  pool_config config;
  config.server_speaks_first = true;
  configure(config);
  socket_pair fresh = tcp_pair();
  send_all(fresh.far, "220 hello");
  ASSERT_TRUE(backends().adopt(server().at(), fresh.near.release(), {.uses = 0}));
  lease first = hold();
  EXPECT_FALSE(first.reused());
}

TEST_F(lends, an_adopted_connections_age_and_idle_time_go_on) {
  pool_config config;
  config.max_idle_time = 10s;
  config.max_connection_lifetime = 60s;
  config.lifetime_jitter_percent = 0;
  configure(config);
  socket_pair rested = tcp_pair();
  ASSERT_TRUE(backends().adopt(server().at(), rested.near.release(), {.idle = 8s}));
  pass(1900ms);
  EXPECT_EQ(totals().idle, 1U);
  pass(200ms);
  ASSERT_TRUE(until([&] { return closed(close_reason::idle_timeout) == 1; }));
  socket_pair old = tcp_pair();
  ASSERT_TRUE(backends().adopt(server().at(), old.near.release(), {.age = 57s}));
  pass(2900ms);
  EXPECT_EQ(totals().idle, 1U);
  pass(200ms);
  ASSERT_TRUE(until([&] { return closed(close_reason::lifetime) == 1; }));
}

// --- Reads that end without a byte

TEST_F(lends, a_listener_that_waited_in_vain_leaves_its_connection_as_it_was) {
  const auto waits_in_vain = [](lease& held, bool by_read) -> task<void> {
    std::array<std::byte, 8> into{};
    result<void> waited{};
    if (by_read) {
      auto read = co_await held->read_some(into, 1, 50ms);
      EXPECT_FALSE(read);
    } else {
      auto readable = co_await held->wait_readable(50ms);
      EXPECT_TRUE(!readable && readable.error() == errc::read_timeout);
    }
  };
  for (const bool by_read : {true, false}) {
    lease held = hold();
    bool ended = false;
    start([&]() -> task<void> { return waits_in_vain(held, by_read); }, ended);
    settle();
    pass(60ms);
    ASSERT_TRUE(until([&] { return ended; }));
    held.release();
    EXPECT_EQ(totals().idle, 1U) << by_read;
  }
  EXPECT_EQ(totals().closed(), 0U);
}

// An answer may be owed once something was said: what a read did not get may still come.
TEST_F(lends, a_read_that_ends_within_an_exchange_breaks_it) {
  server().echo(false);
  lease held = hold();
  bool ended = false;
  start(
      [&]() -> task<void> {
        auto sent = co_await held->write("ask");
        EXPECT_OK(sent);
        server().send_to_all("half");
        std::array<char, 4> half{};
        auto first = co_await held->read_exactly(std::span<char>(half));
        EXPECT_OK(first);
        std::array<std::byte, 8> into{};
        auto rest = co_await held->read_some(into, 1, 50ms);
        EXPECT_FALSE(rest);
      },
      ended);
  ASSERT_TRUE(until([&] { return server().open() == 1; }));
  settle();
  pass(60ms);
  ASSERT_TRUE(until([&] { return ended; }));
  held.release();
  ASSERT_TRUE(until([&] { return closed(close_reason::interrupted) == 1; }));
}

TEST_F(lends, waiting_for_something_to_read_takes_nothing_of_it) {
  lease held = hold();
  ASSERT_TRUE(run([&]() -> task<void> {
    auto sent = co_await held->write("hello");
    CO_ASSERT_OK(sent);
    for (int i = 0; i < 2; ++i) {
      auto readable = co_await held->wait_readable(1s);
      CO_ASSERT_OK(readable);
    }
    std::array<char, 5> got{};
    auto read = co_await held->read_exactly(std::span<char>(got));
    CO_ASSERT_OK(read);
    EXPECT_EQ(std::string_view(got.data(), got.size()), "hello");
    server().close_all();
    auto ended = co_await held->wait_readable(1s);
    CO_ASSERT_OK(ended);
    std::array<std::byte, 4> more{};
    auto end = co_await held->read(more);
    CO_ASSERT_OK(end);
    EXPECT_EQ(*end, 0U);
  }));
}

}  // namespace
}  // namespace conpool::test

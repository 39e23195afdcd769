// Cancelling and timing out an acquire at every point of its life: nothing is lost.
//
// The life of an acquire is cut after each number of turns, from before its first to after its
// last, in every situation it can be in; the fixture then checks that the counts add up, that every
// descriptor is back and that the kernel has nothing left.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

enum class ending { cancelled, timed_out, discarded_pool };

struct situation {
  const char* name;
  const char* host;     // "127.0.0.1" is numeric, "localhost" has to be resolved
  bool hold_the_only;   // the cap is 1 and it is lent: the acquire has to wait
  bool release_midway;  // and it comes back while the acquire waits
};

constexpr situation situations[] = {
    {"connecting", "127.0.0.1", false, false},
    {"resolving", "localhost", false, false},
    {"waiting", "127.0.0.1", true, false},
    {"being handed a connection", "127.0.0.1", true, true},
};

class cancelled_acquire : public pool_fixture {
 protected:
  void cut(const situation& where, ending how, unsigned turns) {
    pool_config config;
    config.max_connections_per_endpoint = where.hold_the_only ? 1 : 4;
    configure(config);
    const std::string at = server().at().text();
    const endpoint to = endpoint::parse(where.host + at.substr(at.rfind(':'))).value();

    lease held;
    if (where.hold_the_only) {
      ASSERT_TRUE(run([&]() -> task<void> {
        auto one = co_await backends().acquire(to);
        CO_ASSERT_OK(one);
        held = std::move(*one);
      }));
    }
    bool ended = false;
    bool served = false;
    scope caller(home());
    caller.spawn([&]() -> task<void> {
      auto one = co_await backends().acquire(to);
      served = one.has_value();
      ended = true;
    });
    if (where.release_midway) {
      caller.spawn([&]() -> task<void> {
        held.release();
        co_return;
      });
    }
    for (unsigned turn = 0; turn < turns && !ended; ++turn) home().run_once(duration::zero());
    switch (how) {
      case ending::cancelled:
        caller.cancel();
        break;
      case ending::timed_out:
        clock().advance(10s);
        break;
      case ending::discarded_pool:
        break;
    }
    if (how == ending::discarded_pool) configure({});
    held.release();
    ASSERT_TRUE(run([&]() -> task<void> { co_await caller.join(); }));
    EXPECT_TRUE(ended);
    settle();
    EXPECT_TRUE(add_up(totals()));
    EXPECT_EQ(totals().active, 0U);
    EXPECT_EQ(totals().waiting, 0U);
    static_cast<void>(served);
  }
};

TEST_F(cancelled_acquire, at_any_turn_and_in_any_situation_nothing_is_lost) {
  for (const situation& where : situations) {
    for (const ending how : {ending::cancelled, ending::timed_out, ending::discarded_pool}) {
      for (unsigned turns = 0; turns < 12; ++turns) {
        SCOPED_TRACE(std::string(where.name) + ", ending " + std::to_string(static_cast<int>(how)) +
                     ", after " + std::to_string(turns) + " turns");
        cut(where, how, turns);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_F(cancelled_acquire, a_deadline_around_an_acquire_ends_it) {
  pool_config config;
  config.max_connections_per_endpoint = 1;
  configure(config);
  lease held;
  ASSERT_TRUE(run([&]() -> task<void> {
    auto one = co_await backends().acquire(server().at());
    CO_ASSERT_OK(one);
    held = std::move(*one);
  }));
  result<lease> got = fail(error(errc::invalid_argument));
  bool ended = false;
  start(
      [&]() -> task<void> {
        auto inner = [this]() -> task<result<lease>> {
          auto one = co_await backends().acquire(server().at());
          co_return std::move(one);
        };
        auto work = inner();
        got = co_await with_timeout(home(), 100ms, std::move(work));
      },
      ended);
  settle();
  pass(101ms);
  ASSERT_TRUE(until([&] { return ended; }));
  EXPECT_EQ(got.error(), errc::deadline_exceeded);
  EXPECT_EQ(totals().waiting, 0U);
  held.release();
}

}  // namespace
}  // namespace conpool::test

// Each event reaches the observer at its moment with its data; and an observer that meddles.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;
using kind = pool_event_kind;

struct told {
  explicit told(const pool_event& event)
      : what(event.kind),
        peer(event.peer.text()),
        connection(event.connection),
        reason(event.reason),
        held(event.held),
        line(event.where.line()) {
    if (event.why != nullptr) why = event.why->kind();
  }
  kind what;
  std::string peer;
  std::uint64_t connection;
  close_reason reason;
  duration held;
  unsigned line;
  errc why{};
};

class observers : public pool_fixture {
 protected:
  void listen() {
    backends().observe([this](const pool_event& event) { events_.emplace_back(event); });
  }
  void start_with(const pool_config& config) {
    configure(config);
    events_.clear();
    listen();
  }
  // The kinds of events since the last call, in order.
  std::vector<kind> heard() {
    settle();
    std::vector<kind> kinds;
    last_ = std::exchange(events_, {});
    for (const told& one : last_) {
      kinds.push_back(one.what);
      EXPECT_FALSE(one.peer.empty());
    }
    return kinds;
  }
  // The one event of a kind.
  const told& the(kind what) const {
    for (const told& one : last_) {
      if (one.what == what) return one;
    }
    ADD_FAILURE() << "not told: " << to_string(what);
    return last_.at(0);
  }
  using kinds = std::vector<kind>;

  std::vector<told> events_;
  std::vector<told> last_;
};

TEST_F(observers, a_life_of_a_connection_is_told_in_order) {
  start_with({});
  lease held = hold();
  EXPECT_EQ(heard(), (kinds{kind::waiter_queued, kind::created, kind::connected, kind::lent}));
  EXPECT_EQ(the(kind::created).peer, server().at().text());
  EXPECT_EQ(the(kind::connected).connection, held->id());
  EXPECT_EQ(the(kind::lent).connection, held->id());
  EXPECT_GT(the(kind::lent).line, 0U);
  held.release();
  EXPECT_EQ(heard(), kinds{kind::returned});
  lease again = hold();
  EXPECT_EQ(heard(), kinds{kind::lent}) << "a hit";
  EXPECT_EQ(the(kind::lent).connection, again->id());
  const std::uint64_t id = again->id();
  again.discard();
  EXPECT_EQ(heard(), (kinds{kind::returned, kind::closed}));
  EXPECT_EQ(the(kind::closed).connection, id);
  EXPECT_EQ(the(kind::closed).reason, close_reason::discarded);
}

TEST_F(observers, callers_that_give_up_and_a_full_queue_are_told) {
  pool_config config;
  config.max_connections_per_endpoint = 1;
  config.max_waiters_per_endpoint = 1;
  start_with(config);
  lease held = hold();
  heard();
  caller& late = call();
  EXPECT_EQ(heard(), kinds{kind::waiter_queued});
  EXPECT_EQ(refused(server().at()), errc::queue_full);
  EXPECT_EQ(heard(), kinds{kind::queue_full});
  pass(5s);
  EXPECT_TRUE(late.ended);
  EXPECT_EQ(heard(), kinds{kind::waiter_timed_out});
  EXPECT_EQ(the(kind::waiter_timed_out).why, errc::acquire_timeout);
  scope leaving(home());
  leaving.spawn([this]() -> task<void> {
    auto got = co_await backends().acquire(server().at());
    EXPECT_FALSE(got);
  });
  settle();
  leaving.cancel();
  EXPECT_EQ(heard(), (kinds{kind::waiter_queued, kind::waiter_cancelled}));
  EXPECT_EQ(the(kind::waiter_cancelled).why, errc::cancelled);
  ASSERT_TRUE(run([&]() -> task<void> { co_await leaving.join(); }));
}

TEST_F(observers, failed_connects_and_the_breaker_are_told) {
  pool_config config;
  config.breaker_failures = 1;
  config.connect_backoff_min = 1ms;
  config.connect_backoff_max = 1ms;
  start_with(config);
  const endpoint to = endpoint::parse("unix:@conpool-test-observed").value();
  EXPECT_EQ(refused(to), errc::connect_failed);
  EXPECT_EQ(heard(), (kinds{kind::waiter_queued, kind::created, kind::connect_failed,
                            kind::breaker_opened}));
  EXPECT_EQ(the(kind::connect_failed).why, errc::connect_failed);
  EXPECT_EQ(the(kind::breaker_opened).why, errc::connect_failed);
  EXPECT_EQ(the(kind::breaker_opened).peer, to.text());
  EXPECT_EQ(refused(to), errc::breaker_open);
  add_server(to);
  // There must be demand for a connection: warm() asks past the breaker.
  bool warmed = false;
  start(
      [&]() -> task<void> {
        auto work = backends().warm(to, 1);
        auto done = co_await work;
        CO_ASSERT_OK(done);
      },
      warmed);
  settle();
  pass(5ms);
  ASSERT_TRUE(until([&] { return warmed; }));
  EXPECT_EQ(heard(), (kinds{kind::created, kind::connected, kind::breaker_closed}));
}

TEST_F(observers, leaks_are_told_and_the_forgetting_of_an_endpoint) {
  pool_config config;
  config.leak_threshold = 10s;
  config.max_idle_time = 20s;
  config.max_endpoint_idle_time = 60s;
  start_with(config);
  lease held = hold();
  const std::uint64_t id = held->id();
  heard();
  pass(10s);
  EXPECT_EQ(heard(), kinds{kind::leak_suspected});
  EXPECT_EQ(the(kind::leak_suspected).held, 10s);
  EXPECT_EQ(the(kind::leak_suspected).connection, id);
  held.release();
  EXPECT_EQ(heard(), (kinds{kind::leak_returned, kind::returned}));
  EXPECT_EQ(the(kind::leak_returned).connection, id);
  EXPECT_EQ(the(kind::returned).held, 10s);
  EXPECT_EQ(the(kind::returned).line, the(kind::leak_returned).line);
  EXPECT_GT(the(kind::returned).line, 0U);
  pass(20s);
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(heard(), kinds{kind::closed});
  EXPECT_EQ(the(kind::closed).reason, close_reason::idle_timeout);
  pass(61s);
  EXPECT_EQ(heard(), kinds{kind::endpoint_forgotten});
  EXPECT_EQ(the(kind::endpoint_forgotten).peer, server().at().text());
}

struct pings_and_pushes {
  struct state {};
  bool* healthy;
  task<result<void>> ping(connection&, state&) {
    if (*healthy) co_return result<void>{};
    co_return fail(error(errc::io_failed));
  }
  idle_data on_idle_data(connection&, state&, std::span<const std::byte>) {
    return idle_data::keep;
  }
};

TEST_F(observers, pings_that_fail_and_pushes_that_are_kept_are_told) {
  bool healthy = true;
  auto made = pool::create(home(), {}, pings_and_pushes{&healthy});
  ASSERT_TRUE(made);
  pool speaking = std::move(*made);
  ASSERT_TRUE(run([&]() -> task<void> {
    auto got = co_await speaking.acquire(server().at());
    CO_ASSERT_OK(got);
  }));
  ASSERT_TRUE(until([&] { return server().open() == 1; }));
  speaking.observe([this](const pool_event& event) { events_.emplace_back(event); });
  server().send_to_all("news");
  ASSERT_TRUE(until([&] { return speaking.totals().pushes == 1; }));
  EXPECT_EQ(heard(), kinds{kind::push_kept});
  EXPECT_EQ(the(kind::push_kept).connection, 1U);
  healthy = false;
  ASSERT_TRUE(run([&]() -> task<void> {
    auto work = speaking.validate(server().at());
    auto report = co_await work;
    CO_ASSERT_OK(report);
  }));
  ASSERT_TRUE(until([&] { return speaking.totals().closing == 0; }));
  EXPECT_EQ(heard(), (kinds{kind::ping_failed, kind::closed}));
  EXPECT_EQ(the(kind::ping_failed).connection, 1U);
  EXPECT_EQ(the(kind::closed).reason, close_reason::ping_failed);
}

TEST_F(observers, every_kind_has_a_name_of_its_own) {
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(kind::endpoint_forgotten); ++i) {
    const std::string name = to_string(static_cast<kind>(i));
    EXPECT_NE(name, "unknown");
    for (const std::string& other : names) EXPECT_NE(name, other);
    names.push_back(name);
  }
}

// --- An observer that meddles

TEST_F(observers, T75_an_observer_may_acquire_release_and_clear) {
  pool_config config;
  config.max_connections_per_endpoint = 2;
  configure(config);
  lease first = hold();
  lease second = hold();
  std::optional<lease> taken;
  unsigned heard_closed = 0;
  scope acquired(home());
  backends().observe([&](const pool_event& event) {
    if (event.kind == kind::returned && second) {
      second.release();  // a release within the telling of a release
    } else if (event.kind == kind::closed) {
      ++heard_closed;
      if (heard_closed > 1) return;
      backends().clear_all();
      acquired.spawn([&]() -> task<void> {
        auto got = co_await backends().acquire(server().at());
        CO_ASSERT_OK(got);
        taken.emplace(std::move(*got));
      });
      throw std::runtime_error("an observer's own trouble");
    }
  });
  first.discard();
  ASSERT_TRUE(until([&] { return taken.has_value(); }));
  EXPECT_TRUE(works(*taken));
  EXPECT_FALSE(second);
  EXPECT_EQ(totals().observer_exceptions, 1U);
  EXPECT_EQ(closed(close_reason::cleared), 1U);
  EXPECT_TRUE(add_up(totals()));
  taken.reset();
  backends().observe({});
  ASSERT_TRUE(run([&]() -> task<void> { co_await acquired.join(); }));
}

TEST_F(observers, T75_an_exception_of_an_observer_ends_no_telling) {
  unsigned heard = 0;
  backends().observe([&](const pool_event&) {
    ++heard;
    throw heard;  // NOLINT: of no type that anybody expects
  });
  hold().release();
  settle();
  EXPECT_EQ(heard, 5U);  // queued, created, connected, lent, returned
  EXPECT_EQ(totals().observer_exceptions, 5U);
  backends().observe({});
}

TEST_F(observers, T75_an_observer_may_replace_itself) {
  auto alive = std::make_shared<int>(0);
  unsigned by_first = 0;
  unsigned by_second = 0;
  backends().observe([&, alive](const pool_event&) {
    ++by_first;
    backends().observe([&](const pool_event&) { ++by_second; });
    EXPECT_EQ(alive.use_count(), 2) << "it was destroyed in its own call";
  });
  lease held = hold();
  settle();
  EXPECT_EQ(by_first, 1U);
  EXPECT_EQ(alive.use_count(), 1) << "and it is gone afterwards";
  const unsigned before = by_second;
  held.release();
  settle();
  EXPECT_EQ(by_first, 1U);
  EXPECT_EQ(by_second, before + 1);
  backends().observe({});
  EXPECT_EQ(hold()->uses(), 2U);
  settle();
  EXPECT_EQ(by_second, before + 1);
}

TEST_F(observers, T75_an_observer_may_end_its_pool) {
  auto made = pool::create(home(), {});
  ASSERT_TRUE(made);
  auto mortal = std::make_unique<pool>(std::move(*made));
  unsigned heard = 0;
  mortal->observe([&](const pool_event& event) {
    ++heard;
    if (event.kind == kind::lent) mortal.reset();
  });
  bool ended = false;
  std::optional<lease> held;
  start(
      [&]() -> task<void> {
        auto got = co_await mortal->acquire(server().at());
        CO_ASSERT_OK(got);
        held.emplace(std::move(*got));
      },
      ended);
  ASSERT_TRUE(until([&] { return ended && mortal == nullptr; }));
  ASSERT_TRUE(held);
  EXPECT_TRUE(works(*held));
  const unsigned before = heard;
  held.reset();
  settle();
  EXPECT_EQ(heard, before + 2) << "returned and closed: it hears as long as there is something";
}

TEST_F(observers, T75_an_observer_may_pause_resize_and_resume) {
  lease held = hold();
  unsigned rounds = 0;
  backends().observe([&](const pool_event& event) {
    if (event.kind != kind::returned || ++rounds > 3) return;
    backends().pause();
    pool_config config = backends().config();
    config.max_connections_per_endpoint = rounds;
    config.leak_threshold = std::chrono::milliseconds(rounds % 2);
    EXPECT_TRUE(backends().reconfigure(config));
    backends().resume();
  });
  for (int i = 0; i < 5; ++i) {
    held.release();
    settle();
    held = hold();
  }
  EXPECT_TRUE(works(held));
  EXPECT_TRUE(add_up(totals()));
  backends().observe({});
}

TEST_F(observers, what_a_slow_observer_misses_is_counted) {
  hold().release();
  unsigned heard = 0;
  backends().observe([&](const pool_event&) { ++heard; });
  constexpr unsigned lends = 3000;  // in one turn, each told of twice
  ASSERT_TRUE(run([&]() -> task<void> {
    for (unsigned i = 0; i < lends; ++i) {
      auto got = co_await backends().acquire(server().at());
      CO_ASSERT_OK(got);
    }
  }));
  settle();
  EXPECT_EQ(heard, event_queue::pending_events_max);
  EXPECT_EQ(totals().events_dropped, 2 * lends - heard);
  hold().release();
  settle();
  EXPECT_EQ(heard, event_queue::pending_events_max + 2) << "and then it hears again";
  backends().observe({});
}

}  // namespace
}  // namespace conpool::test

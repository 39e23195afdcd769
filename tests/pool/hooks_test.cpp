// What hooks may do: anything, at any time. And the hooks that talk after a lease and before an
// end.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/descriptors.h>
#include <tests/support/pool_fixture.h>
#include <tests/support/raw_sockets.h>
#include <tests/support/run.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

// What the test lets the hooks do; what they were called for.
struct deeds {
  std::function<bool(connection&)> on_acquire;
  std::function<bool(connection&)> on_release;
  std::function<void(connection&)> on_close;
  std::function<void()> on_access;
  std::function<task<bool>(connection&)> clean;
  std::function<task<bool>(connection&, close_reason)> recover;
  std::function<task<void>(connection&)> farewell;
  bool needs_cleaning = true;
  bool state_throws = false;
  bool shares = true;
  unsigned runs_ended = 0;
  unsigned states = 0;
  unsigned closed = 0;
  std::string pushed;
};
deeds* current = nullptr;

struct counted_state {
  counted_state() {
    if (current->state_throws) throw std::runtime_error("no state today");
    ++current->states;
  }
  ~counted_state() { --current->states; }
  std::vector<lease> kept;  // leases of the same pool
};

struct plain_hooks {
  using state = counted_state;
  bool on_acquire(connection& one, state&) {
    return !current->on_acquire || current->on_acquire(one);
  }
  bool on_release(connection& one, state&) {
    return !current->on_release || current->on_release(one);
  }
  void on_close(connection& one, state&, close_reason) noexcept {
    ++current->closed;
    if (current->on_close) current->on_close(one);
  }
  idle_data on_idle_data(connection&, state&, std::span<const std::byte> bytes) {
    current->pushed.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return idle_data::keep;
  }
};

struct shared_hooks {
  using state = counted_state;
  access access_mode(const connection&, const state&) {
    if (current->on_access) current->on_access();
    return current->shares ? access::shared(8) : access::exclusive();
  }
  // It is there until the pool lets go of the connection.
  task<void> run(connection& one, state&) {
    [[maybe_unused]] auto rested = co_await one.home().sleep_for(1h);
    ++current->runs_ended;
  }
  bool on_release(connection& one, state&) {
    return !current->on_release || current->on_release(one);
  }
  bool on_acquire(connection& one, state&) {
    return !current->on_acquire || current->on_acquire(one);
  }
};

struct talking_hooks {
  using state = counted_state;
  bool needs_cleaning(const connection&, const state&) { return current->needs_cleaning; }
  task<bool> on_release(connection& one, state&) {
    if (!current->clean) co_return true;
    auto work = current->clean(one);
    auto clean = co_await work;
    co_return clean;
  }
  task<bool> recover(connection& one, state&, close_reason why) {
    if (!current->recover) co_return false;
    auto work = current->recover(one, why);
    auto saved = co_await work;
    co_return saved;
  }
  task<void> farewell(connection& one, state&) {
    if (!current->farewell) co_return;
    auto work = current->farewell(one);
    co_await work;
  }
  void on_close(connection&, state&, close_reason) noexcept { ++current->closed; }
};

class hooks : public pool_fixture {
 protected:
  void SetUp() override {
    current = &does_;
    pool_fixture::SetUp();
  }
  void TearDown() override {
    does_.on_acquire = does_.on_release = {};
    does_.on_close = {};
    does_.on_access = {};
    pool_fixture::TearDown();
    EXPECT_EQ(does_.states, 0U);
  }
  // Sends and reads back, within a hook.
  static task<bool> round_trip(connection& over) {
    auto sent = co_await over.write("clean");
    if (!sent) co_return false;
    std::array<char, 5> got{};
    auto read = co_await over.read_exactly(std::span<char>(got));
    co_return read.has_value();
  }
  // Never ends by itself.
  static task<bool> hang(connection& over) {
    auto slept = co_await over.home().sleep_for(1h);
    co_return slept.has_value();
  }
  // An exchange that is cut short: what was asked is not answered.
  void cut_short(lease& held) {
    bool ended = false;
    server().echo(false);
    start(
        [&]() -> task<void> {
          auto sent = co_await held->write("query");
          EXPECT_OK(sent);
          std::array<std::byte, 5> got{};
          auto read = co_await held->read_some(got, 5, 20ms);
          EXPECT_FALSE(read);
        },
        ended);
    settle();
    settle();
    pass(30ms);
    ASSERT_TRUE(until([&] { return ended; }));
    server().echo(true);
  }

  pool_config config_;
  deeds does_;
};

// --- Anything, at any time

TEST_F(hooks, a_hook_may_retire_its_connection) {
  for (const validation_policy policy : {validation_policy::watch, validation_policy::probe}) {
    config_.validation = policy;
    configure(config_, plain_hooks());
    does_.on_release = [](connection& one) {
      one.retire();
      return true;
    };
    hold().release();
    ASSERT_TRUE(until([&] { return closed(close_reason::retired) == 1; }));
    does_.on_release = {};
    hold().release();
    settle();
    unsigned asked = 0;
    does_.on_acquire = [&asked](connection& one) {
      if (++asked == 1) one.retire();
      return true;
    };
    lease other = hold();
    EXPECT_EQ(asked, 2U);
    EXPECT_TRUE(works(other));
    ASSERT_TRUE(until([&] { return closed(close_reason::retired) == 2; }));
    does_.on_acquire = {};
  }
}

TEST_F(hooks, the_last_lease_of_a_shared_connection_may_retire_it) {
  configure(config_, shared_hooks());
  does_.on_release = [](connection& one) {
    one.retire();
    return true;
  };
  hold(3);
  EXPECT_EQ(totals().leases, 3U);
  held_.clear();
  ASSERT_TRUE(until([&] { return closed(close_reason::retired) == 1; }));
  EXPECT_EQ(totals().leases, 0U);
}

TEST_F(hooks, a_hook_may_discard_clear_or_close) {
  using deed = std::function<void(connection&)>;
  const std::array<deed, 5> all{
      [](connection& one) { one.mark(connection::discarded); },
      [](connection& one) { one.begin_close(); },
      [this](connection&) { backends().clear_all(leased::keep); },
      [this](connection&) { backends().clear_all(leased::break_off); },
      [this](connection& one) {
        backends().clear_all(leased::break_off);
        one.retire();
      },
  };
  for (std::size_t i = 0; i < all.size(); ++i) {
    SCOPED_TRACE(i);
    for (const bool at_release : {false, true}) {
      configure(config_, plain_hooks());
      hold(3);
      held_.clear();
      settle();
      unsigned asked = 0;
      const auto once = [&](connection& one) {
        if (++asked == 1) all[i](one);
        return true;
      };
      (at_release ? does_.on_release : does_.on_acquire) = once;
      lease held = hold();
      EXPECT_TRUE(works(held));
      held.release();
      lease other = hold();
      EXPECT_TRUE(works(other));
      EXPECT_GE(asked, 1U);
      does_.on_release = does_.on_acquire = {};
    }
  }
}

TEST_F(hooks, access_mode_may_clear_or_close_while_its_connection_comes_in) {
  using deed = std::function<void()>;
  const std::array<deed, 3> all{
      [this] { backends().clear_all(leased::keep); },
      [this] { backends().clear_all(leased::break_off); },
      [this] { [[maybe_unused]] auto closing = backends().close(); },
  };
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (const bool shares : {true, false}) {
      SCOPED_TRACE(std::to_string(i) + (shares ? ", shared" : ", exclusive"));
      does_.shares = shares;
      configure(config_, shared_hooks());
      unsigned asked = 0;
      does_.on_access = [&] {
        if (++asked == 1) all[i]();
      };
      caller& one = call();
      ASSERT_TRUE(until([&] {
        pass(10ms);
        return one.ended;
      }));
      EXPECT_EQ(one.got.has_value(), i < 2);
      EXPECT_TRUE(!one.got || works(*one.got));
      one.got = fail(error(errc::cancelled));
      does_.on_access = {};
      close_pool();
      EXPECT_EQ(totals().created, totals().closed());
    }
  }
}

TEST_F(hooks, a_hook_may_close_the_pool_while_a_caller_waits) {
  config_.max_connections_per_endpoint = 1;
  configure(config_, plain_hooks());
  lease held = hold();
  caller& next = call();
  settle();
  does_.on_acquire = [this](connection&) {
    [[maybe_unused]] auto closing = backends().close();
    return true;
  };
  held.release();
  ASSERT_TRUE(until([&] { return next.ended; }));
  ASSERT_FALSE(next.got);
  EXPECT_EQ(next.got.error(), errc::pool_closed);
  does_.on_acquire = {};
}

TEST_F(hooks, a_caller_may_be_cancelled_by_the_hook_that_is_asked_for_it) {
  config_.max_connections_per_endpoint = 1;
  configure(config_, plain_hooks());
  lease held = hold();
  scope within(home());
  caller& next = call_in(&within, server().at());
  caller& last = call();
  settle();
  unsigned asked = 0;
  does_.on_acquire = [&](connection&) {
    if (++asked == 1) within.cancel();
    return true;
  };
  held.release();
  ASSERT_TRUE(until([&] { return next.ended && last.ended; }));
  EXPECT_FALSE(next.got);
  EXPECT_OK(last.got);
  ASSERT_TRUE(run([&]() -> task<void> { co_await within.join(); }));
}

// What a state keeps is given back while somebody walks over the pool's connections.
TEST_F(hooks, a_state_may_keep_leases_of_the_same_pool) {
  configure(config_, plain_hooks());
  lease first = hold();
  lease second = hold();
  first->state<plain_hooks>().kept.push_back(std::move(second));
  first.release();
  backends().clear_all(leased::keep);
  ASSERT_TRUE(until([&] { return totals().created == totals().closed(); }));
  EXPECT_EQ(does_.closed, 2U);
}

TEST_F(hooks, on_close_may_clear_the_pool) {
  configure(config_, plain_hooks());
  hold(4);
  held_.clear();
  settle();
  does_.on_close = [this](connection&) {
    backends().clear_all(leased::break_off);
  };
  hold(2);
  backends().clear_all(leased::break_off);
  held_.clear();
  ASSERT_TRUE(until([&] { return totals().closed() == 4; }));
}

TEST_F(hooks, a_state_that_cannot_be_made_is_a_failed_connect) {
  const std::size_t before = open_descriptors();
  configure(config_, plain_hooks());
  does_.state_throws = true;
  const error why = refused(server().at());
  EXPECT_EQ(why, errc::connect_failed);
  EXPECT_TRUE(says(why, "no state today")) << why.message();
  EXPECT_EQ(totals().connecting, 0U);
  does_.state_throws = false;
  ASSERT_TRUE(until([&] { return server().open() == 0; }));
  EXPECT_EQ(open_descriptors(), before);
  pass(1s);
  lease held = hold();
  EXPECT_TRUE(works(held));
}

// A lease is all that is left: the hooks are asked by whoever ends it, without the shard.
TEST(hooks_end, a_lease_that_outlives_its_closed_pool_and_its_shard_ends_well) {
  deeds does;
  current = &does;
  lease left;
  socket_pair both = tcp_pair();
  {
    auto home = shard::create().value();
    ASSERT_OK(home->attach());
    auto backends = pool::create(*home, {}, plain_hooks()).value();
    const endpoint to = endpoint::parse("tcp://127.0.0.1:1").value();
    ASSERT_OK(backends.adopt(to, both.near.release()));
    home->spawn([&]() -> task<void> {
      auto got = co_await backends.acquire(to);
      CO_ASSERT_OK(got);
      left = std::move(*got);
      auto closed = co_await backends.close();
      EXPECT_TRUE(closed);
    });
    ASSERT_TRUE(run_until(*home, [&] { return static_cast<bool>(left) && backends.closed(); }));
    home->stop();
    ASSERT_TRUE(run_until(*home, [&] { return home->stopped(); }));
  }
  EXPECT_EQ(does.closed, 0U);
  left.release();
  EXPECT_EQ(does.closed, 1U);
  EXPECT_EQ(does.states, 0U);
}

// --- with_connection

TEST_F(hooks, with_connection_takes_a_lease_and_leaves_the_neighbours_alone) {
  configure(config_, shared_hooks());
  hold().release();
  std::vector<std::uint64_t> ids;
  bool go = false;
  unsigned ended = 0;
  const auto use = [&](connection& one) -> task<result<void>> {
    ids.push_back(one.id());
    while (!go) co_await home().yield();
    co_return result<void>{};
  };
  bool done = false;
  for (unsigned i = 0; i < 4; ++i) {
    start(
        [&]() -> task<void> {
          auto work = backends().with_connection(server().at(), std::ref(use));
          auto got = co_await work;
          EXPECT_OK(got);
          ++ended;
        },
        done);
  }
  ASSERT_TRUE(until([&] { return ids.size() == 4; }));
  EXPECT_EQ(totals().created, 1U);
  go = true;
  ASSERT_TRUE(until([&] { return ended == 4; }));
  EXPECT_EQ(totals().idle, 1U);
}

TEST_F(hooks, a_success_of_with_connection_does_not_undo_a_neighbours_discard) {
  configure(config_, shared_hooks());
  lease neighbour = hold();
  ASSERT_TRUE(run([&]() -> task<void> {
    const auto use = [&](connection&) -> task<result<void>> {
      neighbour.discard();
      co_return result<void>{};
    };
    auto work = backends().with_connection(server().at(), std::ref(use));
    auto got = co_await work;
    CO_ASSERT_OK(got);
  }));
  ASSERT_TRUE(until([&] { return closed(close_reason::discarded) == 1; }));
}

TEST_F(hooks, with_connection_discards_what_a_function_that_throws_leaves) {
  configure(config_, plain_hooks());
  ASSERT_TRUE(run([&]() -> task<void> {
    const auto use = [](connection&) -> task<result<void>> {
      throw std::runtime_error("half way");
      co_return result<void>{};
    };
    bool thrown = false;
    try {
      auto work = backends().with_connection(server().at(), std::ref(use));
      auto got = co_await work;
      EXPECT_FALSE(got);
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    EXPECT_TRUE(thrown);
  }));
  ASSERT_TRUE(until([&] { return closed(close_reason::discarded) == 1; }));
}

// --- Cleaning

TEST_F(hooks, what_needs_no_cleaning_is_not_cleaned) {
  configure(config_, talking_hooks());
  unsigned cleaned = 0;
  does_.clean = [&](connection& one) {
    ++cleaned;
    return round_trip(one);
  };
  does_.needs_cleaning = false;
  hold().release();
  EXPECT_EQ(totals().idle, 1U) << "at once";
  EXPECT_EQ(cleaned, 0U);
  does_.needs_cleaning = true;
  hold().release();
  ASSERT_TRUE(until([&] { return totals().idle == 1; }));
  EXPECT_EQ(cleaned, 1U);
}

TEST_F(hooks, more_returns_than_may_be_cleaned_at_once_wait_and_none_is_closed) {
  config_.max_releasing_per_endpoint = 8;
  configure(config_, talking_hooks());
  unsigned at_once = 0;
  unsigned most = 0;
  does_.clean = [&](connection& one) -> task<bool> {
    most = std::max(most, ++at_once);
    auto talk = round_trip(one);
    auto well = co_await talk;
    --at_once;
    co_return well;
  };
  hold(24);
  held_.clear();
  ASSERT_TRUE(until([&] { return totals().idle == 24; }));
  EXPECT_EQ(totals().closed(), 0U);
  EXPECT_EQ(most, 8U);
}

TEST_F(hooks, a_connection_that_is_being_cleaned_is_capacity_on_its_way) {
  configure(config_, talking_hooks());
  does_.clean = [&](connection& one) {
    return round_trip(one);
  };
  hold(2);
  held_.clear();
  EXPECT_EQ(totals().idle, 0U);
  lease one = hold();
  lease another = hold();
  EXPECT_EQ(totals().created, 2U) << "no connect was begun for callers whom these serve";
}

TEST_F(hooks, close_returns_when_the_last_hook_has_ended_and_on_close_has_run) {
  configure(config_, talking_hooks());
  does_.clean = [&](connection& one) {
    return hang(one);
  };
  hold(3);
  held_.clear();
  settle();
  bool ended = false;
  start([this]() -> task<void> { co_await backends().close(); }, ended);
  settle();
  EXPECT_FALSE(ended);
  pass(config_.release_timeout + 1ms);
  ASSERT_TRUE(until([&] { return ended; }));
  EXPECT_EQ(does_.closed, 3U);
  EXPECT_EQ(totals().created, totals().closed());
}

// --- Recovering

TEST_F(hooks, what_a_lease_left_in_the_middle_may_be_recovered) {
  configure(config_, talking_hooks());
  std::vector<close_reason> asked;
  does_.recover = [&](connection& one, close_reason why) {
    asked.push_back(why);
    return round_trip(one);
  };
  lease held = hold();
  const std::uint64_t id = held->id();
  cut_short(held);
  held.release();
  ASSERT_TRUE(until([&] { return totals().idle == 1; }));
  EXPECT_EQ(asked, (std::vector{close_reason::interrupted}));
  lease again = hold();
  EXPECT_EQ(again->id(), id);
  EXPECT_TRUE(works(again));
  EXPECT_EQ(totals().closed(), 0U);
}

TEST_F(hooks, what_cannot_be_recovered_is_closed_for_the_first_reason) {
  using deed = std::function<task<bool>(connection&)>;
  const std::array<deed, 3> all{
      [](connection&) -> task<bool> { co_return false; },
      [](connection& one) { return hang(one); },
      [](connection&) -> task<bool> {
        throw std::runtime_error("no");
        co_return true;
      },
  };
  for (std::size_t i = 0; i < all.size(); ++i) {
    SCOPED_TRACE(i);
    configure(config_, talking_hooks());
    does_.recover = [&](connection& one, close_reason) {
      return all[i](one);
    };
    lease held = hold();
    cut_short(held);
    held.release();
    settle();
    pass(config_.release_timeout + 1ms);
    ASSERT_TRUE(until([&] { return closed(close_reason::interrupted) == 1; }));
  }
}

TEST_F(hooks, a_discarded_lease_is_not_recovered) {
  configure(config_, talking_hooks());
  unsigned asked = 0;
  does_.recover = [&](connection& one, close_reason) {
    ++asked;
    return round_trip(one);
  };
  lease held = hold();
  held.discard();
  ASSERT_TRUE(until([&] { return closed(close_reason::discarded) == 1; }));
  EXPECT_EQ(asked, 0U);
}

TEST_F(hooks, recovery_stays_within_the_limits) {
  config_.max_connections_per_endpoint = 4;
  config_.max_releasing_per_endpoint = 2;
  configure(config_, talking_hooks());
  does_.recover = [&](connection& one, close_reason) {
    return round_trip(one);
  };
  for (unsigned round = 0; round < 5; ++round) {
    hold(4);
    for (lease& one : held_) cut_short(one);
    held_.clear();
    caller& next = call();
    ASSERT_TRUE(until([&] { return next.ended; }));
    EXPECT_OK(next.got);
    next.got->release();
    ASSERT_TRUE(until([&] { return totals().idle == 4; }));
  }
  EXPECT_EQ(totals().created, 4U);
}

// --- Farewell

TEST_F(hooks, a_healthy_connection_says_farewell_before_the_pool_closes_it) {
  config_.max_idle_time = 1s;
  configure(config_, talking_hooks());
  std::string said;
  does_.farewell = [&](connection& one) -> task<void> {
    auto talk = round_trip(one);
    auto well = co_await talk;
    said += well ? "bye " : "cut ";
  };
  hold(2);
  held_.clear();
  ASSERT_TRUE(until([&] { return totals().idle == 2; }));
  pass(1100ms);
  ASSERT_TRUE(until([&] { return closed(close_reason::idle_timeout) == 2; }));
  EXPECT_EQ(said, "bye bye ");
  lease held = hold();
  held.release();
  ASSERT_TRUE(until([&] { return totals().idle == 1; }));
  ASSERT_TRUE(run([this]() -> task<void> { co_await backends().close(); }));
  EXPECT_EQ(said, "bye bye bye ") << "close() ends after the last farewell";
  EXPECT_EQ(does_.closed, 3U);
}

TEST_F(hooks, nobody_says_farewell_on_what_is_broken_or_discarded) {
  configure(config_, talking_hooks());
  unsigned said = 0;
  does_.farewell = [&](connection&) -> task<void> {
    ++said;
    co_return;
  };
  hold().discard();
  hold().release();
  settle();
  server().close_all();
  ASSERT_TRUE(until([&] { return totals().closed() == 2; }));
  EXPECT_EQ(said, 0U);
}

TEST_F(hooks, a_peer_that_does_not_listen_to_a_farewell_holds_nobody_up_for_long) {
  config_.max_releasing_per_endpoint = 2;
  configure(config_, talking_hooks());
  does_.farewell = [&](connection& one) -> task<void> {
    auto work = hang(one);
    co_await work;
  };
  hold(4);
  held_.clear();
  ASSERT_TRUE(until([&] { return totals().idle == 4; }));
  bool ended = false;
  start([this]() -> task<void> { co_await backends().close(); }, ended);
  for (unsigned i = 0; i < 2; ++i) {
    settle();
    EXPECT_FALSE(ended);
    pass(config_.release_timeout + 1ms);
  }
  ASSERT_TRUE(until([&] { return ended; }));
  EXPECT_EQ(does_.closed, 4U);
}

// --- A push during a lease

TEST_F(hooks, a_push_during_a_lease_that_reads_nothing_is_the_protocols) {
  configure(config_, plain_hooks());
  lease held = hold();
  ASSERT_TRUE(until([&] { return server().open() == 1; }));
  server().send_to_all(">news\n");
  settle();
  settle();
  held.release();
  ASSERT_TRUE(until([&] { return totals().idle == 1; }));
  EXPECT_EQ(totals().closed(), 0U);
}

}  // namespace
}  // namespace conpool::test

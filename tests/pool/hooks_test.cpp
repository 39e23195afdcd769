// What hooks may do: anything, at any time.
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

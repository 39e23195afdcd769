// The queue between a pool and its observer, alone: order, what is kept alive, what is dropped, and
// an observer that tells, throws or replaces itself.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <numeric>
#include <source_location>
#include <stdexcept>
#include <utility>
#include <vector>

#include <conpool/pool/detail/event_queue.h>
#include <conpool/runtime/shard.h>

#include <tests/support/shard_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

// What a queue is a part of.
class owner final : public reference_counted {
 public:
  owner(shard& home, bool& gone) : events(*this, home), gone_(&gone) {}
  conpool::event_queue events;

 private:
  ~owner() override { *gone_ = true; }
  bool* gone_;
};

class event_queue : public shard_fixture {
 protected:
  using numbers = std::vector<std::uint64_t>;

  void SetUp() override {
    shard_fixture::SetUp();
    keep_ = counted_pointer(*new owner(home(), gone_));
  }
  void TearDown() override {
    if (keep_) keep_->events.set({});
    keep_ = {};
    settle();
    EXPECT_TRUE(gone_);
    shard_fixture::TearDown();
  }

  conpool::event_queue& events() { return keep_->events; }
  void listen() {
    events().set([this](const pool_event& event) { heard_.push_back(event.connection); });
  }
  void tell(std::uint64_t connection) { tell(events(), connection); }
  static void tell(conpool::event_queue& to, std::uint64_t connection) {
    conpool::event_queue::record event;
    event.kind = pool_event_kind::connected;
    event.peer = endpoint::parse("tcp://127.0.0.1:1").value();
    event.connection = connection;
    to.tell(std::move(event));
  }
  void let_go() { keep_ = {}; }
  bool gone() const { return gone_; }
  numbers& heard() { return heard_; }

 private:
  bool gone_ = false;
  counted_pointer<owner> keep_;
  numbers heard_;
};

TEST_F(event_queue, events_are_told_in_order_and_from_the_ready_queue) {
  listen();
  for (std::uint64_t i = 1; i <= 5; ++i) tell(i);
  EXPECT_EQ(heard(), numbers{});
  settle();
  EXPECT_EQ(heard(), (numbers{1, 2, 3, 4, 5}));
  tell(6);
  settle();
  EXPECT_EQ(heard().back(), 6U);
}

TEST_F(event_queue, an_event_carries_all_that_it_was_told_with) {
  unsigned told = 0;
  unsigned line = 0;
  events().set([&](const pool_event& event) {
    ++told;
    EXPECT_EQ(event.kind, pool_event_kind::connect_failed);
    EXPECT_EQ(event.peer.text(), "tcp://127.0.0.1:1");
    EXPECT_EQ(event.reason, close_reason::vetoed);
    EXPECT_EQ(event.held, 3s);
    line = event.where.line();
    ASSERT_NE(event.why, nullptr);
    EXPECT_EQ(*event.why, errc::connect_timeout);
  });
  conpool::event_queue::record event;
  event.kind = pool_event_kind::connect_failed;
  event.peer = endpoint::parse("tcp://127.0.0.1:1").value();
  event.reason = close_reason::vetoed;
  event.held = 3s;
  event.why.emplace(errc::connect_timeout, phase::connect);
  event.where = std::source_location::current();
  const unsigned told_at = event.where.line();
  events().tell(std::move(event));
  settle();
  EXPECT_EQ(told, 1U);
  EXPECT_EQ(line, told_at);
}

TEST_F(event_queue, without_an_observer_nothing_is_kept) {
  EXPECT_FALSE(events().observed());
  tell(1);
  settle();
  tell(2);
  listen();
  EXPECT_TRUE(events().observed());
  settle();
  EXPECT_EQ(heard(), numbers{});
  EXPECT_EQ(events().dropped(), 0U);
}

TEST_F(event_queue, its_owner_lives_until_what_waits_has_been_told) {
  listen();
  tell(1);
  tell(2);
  let_go();
  EXPECT_FALSE(gone());
  settle();
  EXPECT_EQ(heard(), (numbers{1, 2}));
  EXPECT_TRUE(gone());
}

TEST_F(event_queue, what_comes_beyond_the_most_that_may_wait_is_dropped_and_counted) {
  listen();
  constexpr std::uint64_t most = conpool::event_queue::pending_events_max;
  for (std::uint64_t i = 1; i <= most + 3; ++i) tell(i);
  EXPECT_EQ(events().dropped(), 3U);
  settle();
  numbers first(most);
  std::iota(first.begin(), first.end(), 1U);
  EXPECT_EQ(heard(), first) << "the newest are dropped";
  tell(0);
  settle();
  EXPECT_EQ(heard().size(), most + 1);
  EXPECT_EQ(events().dropped(), 3U);
}

// Writes 0 when its turn on the ready queue has come.
struct marker : ready_node {
  explicit marker(std::vector<std::uint64_t>& list) : ready_node(&marker::note), into(&list) {}
  static void note(ready_node& node) noexcept { static_cast<marker&>(node).into->push_back(0); }
  std::vector<std::uint64_t>* into;
};

TEST_F(event_queue, what_an_observer_brings_about_is_told_behind_what_is_ready_by_then) {
  events().set([this](const pool_event& event) {
    heard().push_back(event.connection);
    if (event.connection == 1) tell(10);
  });
  tell(1);
  tell(2);
  marker others(heard());
  home().ready().push(others);
  settle();
  EXPECT_EQ(heard(), (numbers{1, 2, 0, 10}));
}

TEST_F(event_queue, a_new_observer_does_not_hear_what_came_before_it) {
  unsigned by_first = 0;
  events().set([&](const pool_event&) { ++by_first; });
  tell(1);
  listen();
  tell(2);
  settle();
  EXPECT_EQ(by_first, 0U);
  EXPECT_EQ(heard(), numbers{2});
}

TEST_F(event_queue, an_observer_that_replaces_itself_lives_until_it_returns) {
  std::weak_ptr<int> seen;
  unsigned by_first = 0;
  events().set([this, &by_first, &seen, kept = std::make_shared<int>(1)](const pool_event&) {
    ++by_first;
    seen = kept;
    listen();
    EXPECT_FALSE(seen.expired()) << "it was destroyed in its own call";
  });
  tell(1);
  tell(2);
  settle();
  EXPECT_EQ(by_first, 1U) << "the rest was told to an observer that is gone";
  EXPECT_EQ(heard(), numbers{});
  EXPECT_TRUE(seen.expired());
  tell(3);
  settle();
  EXPECT_EQ(heard(), numbers{3});
}

TEST_F(event_queue, an_observer_may_end_itself) {
  unsigned told = 0;
  events().set([&](const pool_event&) {
    ++told;
    events().set({});
  });
  tell(1);
  settle();
  EXPECT_FALSE(events().observed());
  tell(2);
  settle();
  EXPECT_EQ(told, 1U);
}

TEST_F(event_queue, an_exception_is_counted_and_ends_no_telling) {
  events().set([this](const pool_event& event) {
    heard().push_back(event.connection);
    throw std::runtime_error("an observer's own trouble");
  });
  tell(1);
  tell(2);
  settle();
  EXPECT_EQ(heard(), (numbers{1, 2}));
  EXPECT_EQ(events().exceptions(), 2U);
}

}  // namespace
}  // namespace conpool::test

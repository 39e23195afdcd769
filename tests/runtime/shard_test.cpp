// The shard's turn: sleeping, fairness, posts from other threads, what run_once() returns.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <conpool/runtime/scope.h>
#include <conpool/runtime/socket.h>

#include <tests/support/raw_sockets.h>
#include <tests/support/shard_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

using shards = shard_fixture;

task<void> sleep_and_note(shard& home, duration time, std::vector<int>& order, int number) {
  auto slept = co_await home.sleep_for(time);
  EXPECT_TRUE(slept);
  order.push_back(number);
}

// Counts its deliveries.
struct counting_mail : mail {
  counting_mail() noexcept : mail(&counting_mail::deliver) {}
  static void deliver(mail& item) noexcept { ++static_cast<counting_mail&>(item).delivered; }
  unsigned delivered = 0;
};

TEST_F(shards, sleepers_wake_in_the_order_of_their_deadlines) {
  std::vector<int> order;
  home().spawn(sleep_and_note, std::ref(home()), 30ms, std::ref(order), 3);
  home().spawn(sleep_and_note, std::ref(home()), 10ms, std::ref(order), 1);
  home().spawn(sleep_and_note, std::ref(home()), 20ms, std::ref(order), 2);
  settle();
  pass(10ms);
  EXPECT_EQ(order, std::vector<int>{1});
  pass(1h);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST_F(shards, a_sleep_never_ends_early) {
  std::vector<int> order;
  home().spawn(sleep_and_note, std::ref(home()), 1500us, std::ref(order), 1);
  settle();
  pass(1499us);
  EXPECT_TRUE(order.empty());
  pass(501us);  // timers run in ticks of a millisecond
  EXPECT_EQ(order.size(), 1U);
}

TEST_F(shards, sleeping_for_no_time_or_until_the_past_ends_in_the_next_turn) {
  ASSERT_TRUE(run([this]() -> task<void> {
    auto none = co_await home().sleep_for(0ms);
    EXPECT_TRUE(none);
    auto negative = co_await home().sleep_for(-1h);
    EXPECT_TRUE(negative);
    auto past = co_await home().sleep_until(home().now() - 1s);
    EXPECT_TRUE(past);
  }));
}

TEST_F(shards, sleeping_for_ever_ends_with_the_shard) {
  errc how{};
  bool ended = false;
  start(
      [&]() -> task<void> {
        auto slept = co_await home().sleep_for(duration::max());
        how = slept ? errc{} : slept.error().kind();
      },
      ended);
  settle();
  EXPECT_FALSE(ended);
  end();
  EXPECT_TRUE(ended);
  EXPECT_EQ(how, errc::shard_stopped);
}

TEST_F(shards, yielding_tasks_take_turns) {
  std::vector<int> order;
  const auto take_turns = [](shard& on, std::vector<int>& into, int number) -> task<void> {
    for (int i = 0; i < 3; ++i) {
      into.push_back(number);
      co_await on.yield();
    }
  };
  home().spawn(take_turns, std::ref(home()), std::ref(order), 1);
  home().spawn(take_turns, std::ref(home()), std::ref(order), 2);
  settle();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 1, 2, 1, 2}));
}

TEST_F(shards, tasks_that_always_yield_do_not_keep_the_kernel_from_being_served) {
  socket_pair pair = tcp_pair();
  socket peer = adopt(pair.near);
  bool got = false;
  bool spinner_ended = false;
  start(
      [&]() -> task<void> {
        while (!got) co_await home().yield();
      },
      spinner_ended);
  bool reader_ended = false;
  start(
      [&]() -> task<void> {
        std::array<char, 4> memory;
        auto count = co_await peer->read(std::span<char>(memory));
        CO_ASSERT_OK(count);
        got = true;
      },
      reader_ended);
  settle();
  send_all(pair.far, "x");
  EXPECT_TRUE(until([&] { return spinner_ended && reader_ended; }));
}

TEST_F(shards, a_turn_with_nothing_to_do_returns_false_and_does_not_enter_the_kernel) {
  settle();
  const std::uint64_t enters = home().ring().statistics().enters;
  EXPECT_FALSE(home().run_once(0ms));
  EXPECT_EQ(home().ring().statistics().enters, enters);
}

TEST_F(shards, a_turn_that_leaves_ready_tasks_returns_true) {
  bool ended = false;
  start(
      [this]() -> task<void> {
        // More yields than a turn runs.
        for (int i = 0; i < 5000; ++i) co_await home().yield();
      },
      ended);
  EXPECT_TRUE(home().run_once(0ms));
  unsigned turns = 0;
  while (home().run_once(0ms) && turns < turns_max) ++turns;
  EXPECT_TRUE(ended);
  EXPECT_GT(turns, 0U);
}

TEST_F(shards, one_turn_submits_all_that_its_tasks_started_with_one_enter) {
  std::vector<socket_pair> pairs;
  std::vector<socket> peers;
  for (int i = 0; i < 20; ++i) {
    pairs.push_back(tcp_pair());
    peers.push_back(adopt(pairs.back().near));
  }
  const auto write_one = [](socket& to) -> task<void> {
    auto sent = co_await to->write("x");
    EXPECT_TRUE(sent);
  };
  settle();
  for (socket& peer : peers) home().spawn(write_one, std::ref(peer));
  const ring_statistics before = home().ring().statistics();
  home().run_once(0ms);
  const ring_statistics after = home().ring().statistics();
  EXPECT_EQ(after.enters, before.enters + 1);
  EXPECT_EQ(after.submissions, before.submissions + 20);
  settle();
}

TEST_F(shards, next_deadline_is_never_later_than_the_next_sleeper) {
  settle();
  EXPECT_FALSE(home().next_deadline());
  std::vector<int> order;
  home().spawn(sleep_and_note, std::ref(home()), 40ms, std::ref(order), 1);
  settle();
  ASSERT_TRUE(home().next_deadline());
  EXPECT_EQ(*home().next_deadline(), clock().now() + 40ms);
  home().spawn(sleep_and_note, std::ref(home()), 10h, std::ref(order), 2);
  settle();
  pass(40ms);
  EXPECT_EQ(order.size(), 1U);
  for (unsigned moves = 0; order.size() < 2 && moves < 100; ++moves) {
    ASSERT_TRUE(home().next_deadline());
    clock().set(*home().next_deadline());
    settle();
  }
  EXPECT_EQ(order.size(), 2U);
  EXPECT_FALSE(home().next_deadline());
}

TEST_F(shards, now_is_read_once_a_turn) {
  const time_point before = home().now();
  clock().advance(5s);
  EXPECT_EQ(home().now(), before);
  home().run_once(0ms);
  EXPECT_EQ(home().now(), before + 5s);
}

TEST_F(shards, current_is_the_shard_only_inside_its_turn) {
  EXPECT_EQ(shard::current(), nullptr);
  shard* inside = nullptr;
  ASSERT_TRUE(run([&]() -> task<void> {
    inside = shard::current();
    co_return;
  }));
  EXPECT_EQ(inside, &home());
  EXPECT_EQ(shard::current(), nullptr);
}

TEST_F(shards, mail_of_its_own_thread_is_delivered_in_the_next_turn) {
  counting_mail item;
  home().post(item);
  EXPECT_EQ(item.delivered, 0U);
  home().run_once(0ms);
  EXPECT_EQ(item.delivered, 1U);
}

// Two mails, the second sent when the first has been delivered: whether the first one comes before
// or after the shard falls asleep, no turn may wait to the end of its time.
void expect_mail_wakes(shard& home, duration max_wait) {
  struct signal_mail : mail {
    signal_mail() noexcept : mail(&signal_mail::deliver) {}
    static void deliver(mail& item) noexcept {
      auto& self = static_cast<signal_mail&>(item);
      self.delivered = true;
      self.arrived.release();
    }
    bool delivered = false;
    std::binary_semaphore arrived{0};
  };
  settle(home);
  signal_mail first;
  counting_mail second;
  std::thread sender([&] {
    home.post(first);
    first.arrived.acquire();
    home.post(second);
  });
  unsigned turns = 0;
  while (!first.delivered && turns < 3) {
    home.run_once(max_wait);
    ++turns;
  }
  EXPECT_TRUE(first.delivered);
  EXPECT_TRUE(run_until(home, [&] { return first.delivered && second.delivered == 1; }));
  sender.join();
}

TEST_F(shards, mail_from_another_thread_wakes_a_sleeping_shard) {
  for (int round = 0; round < 50; ++round) expect_mail_wakes(home(), 1h);
}

TEST_F(shards, a_turn_may_wait_for_ever) {
  expect_mail_wakes(home(), duration::max());
}

TEST_F(shards, ten_thousand_mails_from_two_threads_all_arrive) {
  constexpr std::size_t each = 5000;
  std::vector<counting_mail> first(each);
  std::vector<counting_mail> second(each);
  const auto send = [this](std::vector<counting_mail>& mails) {
    for (counting_mail& item : mails) home().post(item);
  };
  std::thread one(send, std::ref(first));
  std::thread two(send, std::ref(second));
  EXPECT_TRUE(until([&] { return first.back().delivered + second.back().delivered == 2; }));
  one.join();
  two.join();
  for (std::size_t i = 0; i < each; ++i) ASSERT_EQ(first[i].delivered + second[i].delivered, 2U);
}

TEST_F(shards, mail_from_a_shard_on_the_same_thread_wakes_the_other) {
  auto made = shard::create({.clock = &clock()});
  ASSERT_TRUE(made);
  shard& other = **made;
  test::settle(other);
  settle();
  counting_mail item;
  ASSERT_TRUE(run([&]() -> task<void> {
    other.post(item);
    co_return;
  }));
  EXPECT_TRUE(run_until(other, [&] { return item.delivered == 1; }));
}

TEST_F(shards, two_shards_turned_alternately_by_one_thread_talk_to_each_other) {
  auto made = shard::create({.id = 1, .clock = &clock()});
  ASSERT_TRUE(made);
  shard& other = **made;
  ASSERT_TRUE(other.attach());
  socket_pair pair = tcp_pair();
  socket here = adopt(pair.near);
  socket there(other, pair.far.release(), "other");
  shard* seen = nullptr;
  other.spawn([&]() -> task<void> {
    for (int i = 0; i < 10; ++i) {
      std::array<char, 4> memory;
      auto got = co_await there->read_exactly(std::span<char>(memory));
      CO_ASSERT_OK(got);
      seen = shard::current();
      auto sent = co_await there->write(std::string_view(memory.data(), memory.size()));
      CO_ASSERT_OK(sent);
    }
  });
  bool ended = false;
  start(
      [&]() -> task<void> {
        for (int i = 0; i < 10; ++i) {
          auto sent = co_await here->write("ping");
          CO_ASSERT_OK(sent);
          std::array<char, 4> memory;
          auto got = co_await here->read_exactly(std::span<char>(memory));
          CO_ASSERT_OK(got);
          EXPECT_EQ(shard::current(), &home());
        }
      },
      ended);
  EXPECT_TRUE(run_until(home(), [&] { return ended; }, [&] { other.run_once(0ms); }));
  EXPECT_EQ(seen, &other);
  EXPECT_EQ(other.id(), 1U);
}

TEST_F(shards, a_task_spawned_before_the_first_turn_runs_in_it) {
  auto made = shard::create({.clock = &clock()});
  ASSERT_TRUE(made);
  bool ran = false;
  (*made)->spawn([&]() -> task<void> {
    ran = true;
    co_return;
  });
  EXPECT_TRUE(run_until(**made, [&] { return ran; }));
}

// Every reading is 100 us after the one before: time passes only by being asked for.
class stepping_clock final : public clock_source {
 public:
  time_point now() noexcept override { return now_ += 100us; }

 private:
  time_point now_{1h};
};

TEST_F(shards, busy_polling_finds_what_arrives_without_a_wait) {
  auto made = shard::create({.busy_poll = std::chrono::hours(1)});
  ASSERT_TRUE(made);
  shard& other = **made;
  ASSERT_TRUE(other.attach());
  socket_pair pair = tcp_pair();
  socket peer(other, pair.near.release(), "peer");
  std::binary_semaphore arrived{0};
  int got = 0;
  other.spawn([&]() -> task<void> {
    for (int i = 0; i < 2; ++i) {
      std::array<char, 1> memory;
      auto count = co_await peer->read(std::span<char>(memory));
      CO_ASSERT_OK(count);
      ++got;
      arrived.release();
    }
  });
  test::settle(other);
  std::thread sender([&] {
    send_all(pair.far, "1");
    arrived.acquire();
    send_all(pair.far, "2");
  });
  while (got < 1) other.run_once(1h);
  EXPECT_EQ(other.ring().statistics().waits, 0U);
  EXPECT_TRUE(run_until(other, [&] { return got == 2; }));
  sender.join();
}

TEST_F(shards, busy_polling_and_sleeping_together_take_no_longer_than_the_wait) {
  stepping_clock steps;
  auto made = shard::create({.clock = &steps, .busy_poll = 10ms});
  ASSERT_TRUE(made);
  (*made)->run_once(1ms);
  EXPECT_EQ((*made)->ring().statistics().waits, 0U);
}

TEST_F(shards, busy_polling_ends_although_the_clock_stands_still) {
  create({.busy_poll = 1ms});
  settle();
  EXPECT_FALSE(home().run_once(1ms));
  EXPECT_EQ(home().ring().statistics().waits, 1U);
}

}  // namespace
}  // namespace conpool::test

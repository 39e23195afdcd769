// A shard driven by a foreign loop: epoll on its descriptor, level-triggered, and next_deadline().
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <conpool/runtime/event.h>
#include <conpool/runtime/socket.h>

#include <tests/support/descriptors.h>
#include <tests/support/expect.h>
#include <tests/support/raw_sockets.h>
#include <tests/support/run.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

// The shard keeps the machine's time here: the loop's timeout is real.
class own_loop : public ::testing::Test {
 protected:
  void SetUp() override {
    descriptors_before_ = open_descriptors();
    auto made = shard::create({});
    ASSERT_OK(made);
    home_ = std::move(*made);
    ASSERT_TRUE(home_->attach());
    poller_.reset(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event watched{};
    watched.events = EPOLLIN;
    ASSERT_EQ(::epoll_ctl(poller_.get(), EPOLL_CTL_ADD, home_->fd(), &watched), 0);
  }
  void TearDown() override {
    home_->stop();
    EXPECT_TRUE(loop_until([this] { return home_->stopped(); }));
    EXPECT_EQ(home_->ring().in_flight(), 0U);
    poller_.reset();
    home_.reset();
    EXPECT_EQ(open_descriptors(), descriptors_before_) << "a descriptor was leaked";
  }

  shard& home() { return *home_; }
  unsigned waits() const { return waits_; }

  // Turns until nothing more is to do; the descriptor is not readable then.
  void rest() {
    for (unsigned turns = 0; turns < turns_max && home().run_once(duration::zero()); ++turns) {
    }
    EXPECT_FALSE(readable());
  }
  // Whether the descriptor is readable now.
  bool readable() {
    epoll_event event{};
    return ::epoll_wait(poller_.get(), &event, 1, 0) == 1;
  }

  // As the header says to: turn while there is more, then wait for the descriptor or the deadline.
  // A wait without a deadline is bounded only so that a lost wake-up fails instead of hanging.
  template <typename Done>
  bool loop_until(Done done) {
    for (unsigned rounds = 0; rounds < 1000; ++rounds) {
      unsigned turns = 0;
      while (home_->run_once(duration::zero()) && turns < turns_max) ++turns;
      if (done()) return true;
      int timeout_ms = 10'000;
      if (const std::optional<time_point> next = home_->next_deadline()) {
        const auto left = *next - std::chrono::steady_clock::now();
        const auto whole = std::chrono::ceil<std::chrono::milliseconds>(left).count();
        timeout_ms = static_cast<int>(std::clamp<std::int64_t>(whole, 0, timeout_ms));
      }
      ++waits_;
      epoll_event event{};
      const int ready = ::epoll_wait(poller_.get(), &event, 1, timeout_ms);
      if (ready == 0 && !home_->next_deadline()) return false;  // nothing came: a lost wake-up
    }
    return done();
  }

 private:
  std::size_t descriptors_before_ = 0;
  std::unique_ptr<shard> home_;
  unique_fd poller_;
  unsigned waits_ = 0;
};

TEST_F(own_loop, runs_tasks_and_timers) {
  bool ended = false;
  home().spawn([&]() -> task<void> {
    auto slept = co_await home().sleep_for(2ms);
    EXPECT_TRUE(slept);
    ended = true;
  });
  EXPECT_TRUE(loop_until([&] { return ended; }));
  EXPECT_FALSE(home().next_deadline());
}

TEST_F(own_loop, serves_sockets_on_both_sides) {
  socket_pair pair = tcp_pair();
  bool echoed = false;
  bool ended = false;
  home().spawn([&]() -> task<void> {
    socket far(home(), pair.far.release(), "far");
    std::array<char, 5> memory;
    auto got = co_await far->read_exactly(std::span<char>(memory));
    CO_ASSERT_OK(got);
    auto sent = co_await far->write(std::string_view(memory.data(), memory.size()));
    CO_ASSERT_OK(sent);
    echoed = true;
  });
  home().spawn([&]() -> task<void> {
    socket near(home(), pair.near.release(), "near");
    auto sent = co_await near->write("hello");
    CO_ASSERT_OK(sent);
    std::array<char, 5> memory;
    auto got = co_await near->read_exactly(std::span<char>(memory));
    CO_ASSERT_OK(got);
    ended = true;
  });
  EXPECT_TRUE(loop_until([&] { return echoed && ended; }));
}

TEST_F(own_loop, a_peer_on_another_thread_makes_the_descriptor_readable) {
  socket_pair pair = tcp_pair();
  bool ended = false;
  home().spawn([&]() -> task<void> {
    socket near(home(), pair.near.release(), "near");
    near->post_receive();
    std::array<char, 4> memory;
    auto got = co_await near->read_exactly(std::span<char>(memory));
    CO_ASSERT_OK(got);
    ended = true;
  });
  // A turn without more to do: from here on only the descriptor tells.
  while (home().run_once(0ms)) {
  }
  std::thread peer([&] { send_all(pair.far, "ping"); });
  EXPECT_TRUE(loop_until([&] { return ended; }));
  peer.join();
}

TEST_F(own_loop, a_post_from_another_thread_makes_the_descriptor_readable) {
  struct noted : mail {
    noted() noexcept : mail(&noted::deliver) {}
    static void deliver(mail& item) noexcept { static_cast<noted&>(item).delivered = true; }
    bool delivered = false;
  };
  for (int round = 0; round < 20; ++round) {
    noted item;
    while (home().run_once(0ms)) {
    }
    std::thread sender([&] { home().post(item); });
    EXPECT_TRUE(loop_until([&] { return item.delivered; }));
    sender.join();
  }
}

TEST_F(own_loop, a_post_from_a_shard_on_another_thread_makes_the_descriptor_readable) {
  struct noted : mail {
    noted() noexcept : mail(&noted::deliver) {}
    static void deliver(mail& item) noexcept { static_cast<noted&>(item).delivered = true; }
    bool delivered = false;
  };
  for (int round = 0; round < 20; ++round) {
    noted item;
    while (home().run_once(0ms)) {
    }
    std::thread sender([&] {
      auto other = shard::create({}).value();
      const auto send = [](shard& to, mail& posted) -> task<void> {
        to.post(posted);
        co_return;
      };
      run_on(*other, send(home(), item));
    });
    EXPECT_TRUE(loop_until([&] { return item.delivered; }));
    sender.join();
  }
}

TEST_F(own_loop, a_task_spawned_outside_of_a_turn_makes_the_descriptor_readable) {
  rest();
  bool ran = false;
  home().spawn([&]() -> task<void> {
    ran = true;
    co_return;
  });
  EXPECT_TRUE(readable());
  EXPECT_TRUE(loop_until([&] { return ran; }));
  rest();
}

TEST_F(own_loop, a_task_woken_outside_of_a_turn_makes_the_descriptor_readable) {
  event gate(home());
  bool passed = false;
  home().spawn([&]() -> task<void> {
    auto waited = co_await gate.wait();
    EXPECT_TRUE(waited);
    passed = true;
  });
  rest();
  gate.set();
  EXPECT_TRUE(readable());
  EXPECT_TRUE(loop_until([&] { return passed; }));
}

TEST_F(own_loop, a_node_for_the_next_turn_queued_outside_of_one_makes_the_descriptor_readable) {
  struct noted : ready_node {
    noted() noexcept : ready_node(&noted::go) {}
    static void go(ready_node& node) noexcept { static_cast<noted&>(node).ran = true; }
    bool ran = false;
  };
  rest();
  noted node;
  home().run_next_turn(node);
  EXPECT_TRUE(readable());
  EXPECT_TRUE(loop_until([&] { return node.ran; }));
}

TEST_F(own_loop, a_timer_armed_outside_of_a_turn_makes_the_descriptor_readable) {
  struct noted : timer_node {
    noted() noexcept : timer_node(&noted::fire) {}
    static void fire(timer_node& node) noexcept { static_cast<noted&>(node).fired = true; }
    bool fired = false;
  };
  rest();
  noted timer;
  home().timers().arm(timer, home().now() + 1ms);
  EXPECT_TRUE(readable());
  EXPECT_TRUE(loop_until([&] { return timer.fired; }));
}

TEST_F(own_loop, an_operation_started_outside_of_a_turn_makes_the_descriptor_readable) {
  struct noted : operation {
    noted() noexcept : operation(&noted::done) {}
    static void done(operation& op) noexcept { static_cast<noted&>(op).ended = true; }
    bool ended = false;
  };
  rest();
  std::array<noted, 3> several;
  for (noted& one : several) home().ring().nop(one);
  EXPECT_TRUE(readable());
  EXPECT_TRUE(loop_until([&] { return several[0].ended && several[1].ended && several[2].ended; }));
  // And after a turn once more.
  rest();
  noted again;
  home().ring().nop(again);
  EXPECT_TRUE(readable());
  EXPECT_TRUE(loop_until([&] { return again.ended; }));
}

TEST_F(own_loop, a_stop_outside_of_a_turn_makes_the_descriptor_readable) {
  rest();
  home().stop();
  EXPECT_TRUE(readable());
}

TEST_F(own_loop, what_happens_in_a_turn_leaves_the_descriptor_alone) {
  bool ended = false;
  home().spawn([&]() -> task<void> {
    auto slept = co_await home().sleep_for(1ms);
    EXPECT_TRUE(slept);
    ended = true;
  });
  EXPECT_TRUE(loop_until([&] { return ended; }));
  rest();
}

TEST_F(own_loop, a_turn_of_another_shard_may_spawn_here) {
  auto other = shard::create({}).value();
  rest();
  bool ran = false;
  const auto spawn_there = [](shard& there, bool& done) -> task<void> {
    there.spawn(
        [](bool& flag) -> task<void> {
          flag = true;
          co_return;
        },
        std::ref(done));
    co_return;
  };
  EXPECT_TRUE(run_on(*other, spawn_there(home(), ran)));
  EXPECT_TRUE(readable());
  EXPECT_TRUE(loop_until([&] { return ran; }));
}

TEST_F(own_loop, an_idle_shard_does_not_spin_the_loop) {
  bool ended = false;
  home().spawn([&]() -> task<void> {
    auto slept = co_await home().sleep_for(30ms);
    EXPECT_TRUE(slept);
    ended = true;
  });
  EXPECT_TRUE(loop_until([&] { return ended; }));
  // Once for the deadline, and a few times for the wheel's levels; not once a microsecond.
  EXPECT_LE(waits(), 8U);
}

// The wait is measured from its own beginning, not from that of the turn before it.
TEST_F(own_loop, a_timer_is_not_late_by_the_length_of_the_turn_before_it) {
  std::optional<time_point> woken;
  time_point due{};
  home().spawn([&]() -> task<void> {
    due = home().now() + 600ms;
    auto slept = co_await home().sleep_until(due);
    EXPECT_TRUE(slept);
    woken = std::chrono::steady_clock::now();
  });
  home().spawn([&]() -> task<void> {
    const time_point until = home().now() + 500ms;
    while (std::chrono::steady_clock::now() < until) {
    }
    co_return;
  });
  for (unsigned turns = 0; turns < turns_max && !woken; ++turns) home().run_once(10s);
  ASSERT_TRUE(woken);
  EXPECT_LT(*woken - due, 400ms);  // else it would be 500 ms
}

}  // namespace
}  // namespace conpool::test

#include <conpool/runtime/detail/mailbox.h>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

namespace conpool {
namespace {

constexpr std::size_t all = std::numeric_limits<std::size_t>::max();

struct letter : mail {
  letter(int n, std::vector<int>& target) : mail(&on_delivered), number(n), log(&target) {}

  static void on_delivered(mail& item) noexcept {
    auto& self = static_cast<letter&>(item);
    self.log->push_back(self.number);
    if (self.then) self.then(self);
  }

  int number;
  std::vector<int>* log;
  std::function<void(letter&)> then;
};

class mailboxes : public ::testing::Test {
 protected:
  mailbox box_;
  std::vector<int> log_;
  letter a_{1, log_}, b_{2, log_}, c_{3, log_};
};

TEST_F(mailboxes, an_empty_one_delivers_nothing) {
  EXPECT_EQ(box_.drain(all), 0u);
}

TEST_F(mailboxes, delivers_in_the_order_of_pushes) {
  EXPECT_FALSE(box_.push(a_));
  EXPECT_FALSE(box_.push(b_));
  EXPECT_FALSE(box_.push(c_));
  EXPECT_EQ(box_.drain(all), 3u);
  EXPECT_EQ(log_, (std::vector{1, 2, 3}));
  EXPECT_EQ(box_.drain(all), 0u);
}

TEST_F(mailboxes, what_is_beyond_the_limit_stays_in_order_for_the_next_call) {
  letter d(4, log_);
  for (letter* item : {&a_, &b_, &c_}) EXPECT_FALSE(box_.push(*item));
  EXPECT_EQ(box_.drain(0), 0u);
  EXPECT_EQ(box_.drain(2), 2u);
  EXPECT_EQ(log_, (std::vector{1, 2}));
  EXPECT_FALSE(box_.push(d));
  EXPECT_FALSE(box_.push(a_));
  EXPECT_EQ(box_.drain(2), 2u);
  EXPECT_EQ(box_.drain(2), 1u);
  EXPECT_EQ(log_, (std::vector{1, 2, 3, 4, 1}));
}

TEST_F(mailboxes, mail_pushed_while_delivering_waits_for_the_next_call) {
  a_.then = [&](letter& self) {
    EXPECT_FALSE(box_.push(self));
  };
  EXPECT_FALSE(box_.push(a_));
  EXPECT_FALSE(box_.push(b_));
  EXPECT_EQ(box_.drain(all), 2u);
  EXPECT_EQ(log_, (std::vector{1, 2}));
  a_.then = nullptr;
  EXPECT_EQ(box_.drain(all), 1u);
  EXPECT_EQ(log_, (std::vector{1, 2, 1}));
}

TEST_F(mailboxes, mail_may_be_destroyed_by_its_delivery) {
  auto once = std::make_unique<letter>(9, log_);
  once->then = [&](letter&) {
    const auto keep = std::move(once->then);
    once.reset();
  };
  EXPECT_FALSE(box_.push(*once));
  EXPECT_FALSE(box_.push(a_));
  EXPECT_EQ(box_.drain(all), 2u);
  EXPECT_EQ(once, nullptr);
}

TEST_F(mailboxes, only_the_first_push_after_falling_asleep_asks_for_a_wake) {
  ASSERT_TRUE(box_.prepare_to_sleep());
  EXPECT_TRUE(box_.push(a_));
  EXPECT_FALSE(box_.push(b_));
  box_.awake();
  EXPECT_FALSE(box_.push(c_));
  EXPECT_EQ(box_.drain(all), 3u);
  EXPECT_EQ(log_, (std::vector{1, 2, 3}));

  ASSERT_TRUE(box_.prepare_to_sleep());
  EXPECT_TRUE(box_.push(a_));
  EXPECT_EQ(box_.drain(all), 1u);
}

TEST_F(mailboxes, does_not_fall_asleep_on_mail) {
  EXPECT_FALSE(box_.push(a_));
  EXPECT_FALSE(box_.prepare_to_sleep());
  EXPECT_FALSE(box_.push(b_));  // still awake
  EXPECT_EQ(box_.drain(1), 1u);
  EXPECT_FALSE(box_.prepare_to_sleep());  // b_ was collected but not delivered
  EXPECT_EQ(box_.drain(1), 1u);
  EXPECT_TRUE(box_.prepare_to_sleep());
  box_.awake();
}

TEST_F(mailboxes, after_a_wake_for_other_reasons_pushes_ask_for_none) {
  ASSERT_TRUE(box_.prepare_to_sleep());
  box_.awake();
  EXPECT_FALSE(box_.push(a_));
  box_.awake();  // harmless
  EXPECT_EQ(box_.drain(all), 1u);
}

TEST_F(mailboxes, draining_while_asleep_keeps_the_announcement) {
  ASSERT_TRUE(box_.prepare_to_sleep());
  EXPECT_EQ(box_.drain(all), 0u);
  EXPECT_TRUE(box_.push(a_));
  EXPECT_EQ(box_.drain(all), 1u);
}

#ifndef NDEBUG
TEST_F(mailboxes, misuse_is_asserted) {
  EXPECT_FALSE(box_.push(a_));
  EXPECT_DEATH(static_cast<void>(box_.push(a_)), "already in a mailbox");
  EXPECT_DEATH(box_.~mailbox(), "died with mail");
  EXPECT_DEATH(a_.~letter(), "still in a mailbox");
  EXPECT_EQ(box_.drain(all), 1u);
  ASSERT_TRUE(box_.prepare_to_sleep());
  EXPECT_DEATH(static_cast<void>(box_.prepare_to_sleep()), "twice");
  box_.awake();
}
#endif

// Two senders and an owner that sleeps on an eventfd whenever it may.
class letter_exchange {
 public:
  static constexpr int senders = 2;
  static constexpr int letters = 20'000;  // of each sender

  letter_exchange() : wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    for (int sender = 0; sender < senders; ++sender) {
      for (int n = 0; n < letters; ++n) mails_[sender].emplace_back(*this, sender, n);
    }
  }
  ~letter_exchange() { ::close(wake_fd_); }

  // Each sender pushes in bursts of `burst`; with `wait`, it lets each burst arrive before the
  // next, so that the owner gets to sleep between them.
  void run(int burst, bool wait) {
    std::vector<std::thread> threads;
    for (int sender = 0; sender < senders; ++sender) {
      threads.emplace_back([this, sender, burst, wait] { send(sender, burst, wait); });
    }
    own();
    for (std::thread& thread : threads) thread.join();
    EXPECT_FALSE(out_of_order_);
    for (int sender = 0; sender < senders; ++sender) EXPECT_EQ(received_[sender], letters);
    EXPECT_EQ(wakes_asked_for_.load(), wakes_seen_);
    EXPECT_EQ(box_.drain(all), 0u);
  }

 private:
  struct numbered : mail {
    numbered(letter_exchange& to, int from, int n)
        : mail(&on_delivered), exchange(to), sender(from), number(n) {}
    static void on_delivered(mail& item) noexcept {
      auto& self = static_cast<numbered&>(item);
      letter_exchange& exchange = self.exchange;
      // content is written without synchronisation but the mailbox's own
      if (self.content != self.number + 1) exchange.out_of_order_ = true;
      if (exchange.received_[self.sender]++ != self.number) exchange.out_of_order_ = true;
      exchange.arrived_[self.sender].store(self.number + 1, std::memory_order_relaxed);
    }
    letter_exchange& exchange;
    int sender;
    int number;
    int content = 0;
  };

  void send(int sender, int burst, bool wait) {
    for (int n = 0; n < letters; ++n) {
      numbered& item = mails_[sender][static_cast<std::size_t>(n)];
      item.content = n + 1;
      if (box_.push(item)) {
        wakes_asked_for_.fetch_add(1);
        const std::uint64_t one = 1;
        EXPECT_EQ(::write(wake_fd_, &one, sizeof one), ssize_t{sizeof one});
      }
      if ((n + 1) % burst != 0) continue;
      std::this_thread::yield();
      while (wait && !gave_up_ && arrived_[sender].load(std::memory_order_relaxed) <= n) {
        std::this_thread::yield();
      }
    }
  }

  void own() {
    int total = 0;
    while (total < senders * letters) {
      total += static_cast<int>(box_.drain(64));
      if (total == senders * letters || !box_.prepare_to_sleep()) continue;
      if (!wait_for_wake()) return;
      box_.awake();
    }
  }

  // Waits for a wake. The time-out is the test's failure, not a part of its work.
  bool wait_for_wake() {
    pollfd poll_for = {wake_fd_, POLLIN, 0};
    const int minute_ms = 60'000;
    if (::poll(&poll_for, 1, minute_ms) != 1) {
      ADD_FAILURE() << "a wake was lost";
      gave_up_ = true;
      return false;
    }
    std::uint64_t wakes = 0;
    EXPECT_EQ(::read(wake_fd_, &wakes, sizeof wakes), ssize_t{sizeof wakes});
    EXPECT_EQ(wakes, 1u) << "more than one wake for one sleep";
    wakes_seen_ += static_cast<int>(wakes);
    return true;
  }

  mailbox box_;
  int wake_fd_;
  std::deque<numbered> mails_[senders];
  std::atomic<int> arrived_[senders] = {};
  std::atomic<int> wakes_asked_for_ = 0;
  std::atomic<bool> gave_up_ = false;
  // The owner's.
  int received_[senders] = {};
  int wakes_seen_ = 0;
  bool out_of_order_ = false;
};

TEST(mailbox_stress, nothing_is_lost_or_reordered_under_load) {
  letter_exchange().run(1000, false);
}

TEST(mailbox_stress, no_wake_is_lost_or_doubled_when_the_owner_sleeps_often) {
  letter_exchange().run(1, true);
}

TEST(mailbox_stress, no_wake_is_lost_with_small_bursts) {
  letter_exchange().run(7, true);
}

}  // namespace
}  // namespace conpool

// How shards are woken by mail, and what a wake-up may touch when its shard is gone.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <array>
#include <memory>
#include <utility>

#include <conpool/runtime/shard.h>

#include <tests/support/raw_sockets.h>
#include <tests/support/shard_fixture.h>

namespace conpool::test {
namespace {

using wakes = shard_fixture;

struct noted : mail {
  noted() noexcept : mail(&noted::deliver) {}
  static void deliver(mail& item) noexcept { static_cast<noted&>(item).delivered = true; }
  bool delivered = false;
};

bool readable(const unique_fd& fd) {
  pollfd watched{.fd = fd.get(), .events = POLLIN, .revents = 0};
  return ::poll(&watched, 1, 0) == 1;
}

// The wake-up leaves with the end of the sender's turn. By then its target has taken the mail, has
// ended, and other files have its numbers.
TEST_F(wakes, a_wake_up_for_a_shard_that_is_gone_reaches_no_other_descriptor) {
  auto other = shard::create({}).value();
  test::settle(*other);  // it sleeps now
  noted item;
  std::array<unique_fd, 8> newcomers;
  ASSERT_TRUE(run([&]() -> task<void> {
    other->post(item);
    while (!item.delivered) other->run_once(duration::zero());
    other.reset();
    for (unique_fd& one : newcomers) one.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    co_return;
  }));
  test::settle(home());
  EXPECT_EQ(home().ring().in_flight(), 1U) << "something of the wake-up was left";  // its own read
  for (const unique_fd& one : newcomers) EXPECT_FALSE(readable(one));
}

TEST_F(wakes, a_sleeping_shard_is_woken_by_another_one) {
  auto other = shard::create({}).value();
  test::settle(*other);
  noted item;
  ASSERT_TRUE(run([&]() -> task<void> {
    other->post(item);
    co_return;
  }));
  EXPECT_TRUE(run_until(*other, [&] { return item.delivered; }));
}

}  // namespace
}  // namespace conpool::test

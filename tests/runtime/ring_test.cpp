// The ring against the kernel: results, full queues, cancellation, the look for completions.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include <conpool/runtime/detail/ring.h>

#include <tests/support/descriptors.h>
#include <tests/support/expect.h>
#include <tests/support/raw_sockets.h>
#include <tests/support/run.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

// Counts its completions.
struct recorded : operation {
  recorded() noexcept : operation(&recorded::done) {}
  static void done(operation& op) noexcept { ++static_cast<recorded&>(op).calls; }
  unsigned calls = 0;
};

bool readable(int fd) {
  pollfd watched{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&watched, 1, 0) == 1;
}

class rings : public ::testing::Test {
 protected:
  void SetUp() override {
    descriptors_before_ = open_descriptors();
    create({});
  }
  void TearDown() override {
    if (ring_) {
      EXPECT_EQ(ring_->in_flight(), 0U);
    }
    ring_.reset();
    EXPECT_EQ(open_descriptors(), descriptors_before_) << "a descriptor was leaked";
  }

  static std::unique_ptr<ring> open(const ring_options& options) {
    auto made = ring::create(options);
    EXPECT_OK(made);
    EXPECT_TRUE((*made)->enable());
    return std::move(*made);
  }
  void create(const ring_options& options) {
    ring_.reset();
    ring_ = open(options);
  }
  ring& kernel() { return *ring_; }

  // Enters and harvests until nothing is in flight; false if something stays.
  bool finish() {
    for (unsigned turns = 0; turns < turns_max && ring_->in_flight() > 0; ++turns) {
      ring_->enter(turn_wait);
      ring_->harvest();
    }
    return ring_->in_flight() == 0;
  }

  static std::span<std::byte> bytes(std::span<char> memory) {
    return std::as_writable_bytes(memory);
  }

 private:
  std::size_t descriptors_before_ = 0;
  std::unique_ptr<ring> ring_;
};

TEST_F(rings, nop_completes_with_zero) {
  recorded op;
  kernel().nop(op);
  EXPECT_TRUE(op.in_flight());
  EXPECT_TRUE(kernel().needs_enter());
  ASSERT_TRUE(finish());
  EXPECT_EQ(op.calls, 1U);
  EXPECT_EQ(op.returned(), 0);
  EXPECT_FALSE(op.in_flight());
  EXPECT_FALSE(kernel().needs_enter());
}

TEST_F(rings, nop_completes_with_the_result_it_was_given) {
  recorded positive;
  recorded negative;
  kernel().nop(positive, 42);
  kernel().nop(negative, -EIO);
  ASSERT_TRUE(finish());
  if (positive.returned() == -EINVAL) GTEST_SKIP() << "needs Linux 6.12";
  EXPECT_EQ(positive.returned(), 42);
  EXPECT_EQ(negative.returned(), -EIO);
}

TEST_F(rings, an_operation_may_be_started_again_by_its_handler) {
  struct repeated : operation {
    explicit repeated(ring& kernel) noexcept : operation(&repeated::again), on(&kernel) {}
    static void again(operation& op) noexcept {
      auto& self = static_cast<repeated&>(op);
      if (++self.calls < 10) self.on->nop(self);
    }
    ring* on;
    unsigned calls = 0;
  };
  repeated op(kernel());
  kernel().nop(op);
  ASSERT_TRUE(finish());
  EXPECT_EQ(op.calls, 10U);
}

TEST_F(rings, memory_bytes_counts_at_least_the_receive_buffers) {
  const ring_options defaults;
  EXPECT_GE(kernel().memory_bytes(),
            std::size_t{defaults.receive_buffers} * defaults.receive_buffer_bytes);
}

TEST_F(rings, a_full_submission_queue_is_flushed_and_every_operation_completes) {
  create({.sq_entries = 4});
  std::deque<recorded> ops(1000);
  for (recorded& op : ops) kernel().nop(op);
  ASSERT_TRUE(finish());
  for (const recorded& op : ops) ASSERT_EQ(op.calls, 1U);
  const ring_statistics& counted = kernel().statistics();
  EXPECT_EQ(counted.submissions, 1000U);
  EXPECT_EQ(counted.completions, 1000U);
  EXPECT_EQ(counted.flushes, 249U);  // the last four leave with an ordinary enter
  EXPECT_GE(counted.enters, counted.flushes);
}

TEST_F(rings, an_overflown_completion_queue_loses_nothing) {
  create({.sq_entries = 4, .cq_entries = 4});
  std::deque<recorded> ops(500);
  for (recorded& op : ops) kernel().nop(op);
  EXPECT_TRUE(kernel().completions_pending());
  ASSERT_TRUE(finish());
  for (const recorded& op : ops) ASSERT_EQ(op.calls, 1U);
  EXPECT_EQ(kernel().statistics().completions, 500U);
  EXPECT_GT(kernel().statistics().overflows, 0U);
}

TEST_F(rings, receives_that_complete_all_at_once_survive_a_tiny_completion_queue) {
  create({.sq_entries = 8, .cq_entries = 8});
  constexpr std::size_t count = 100;
  std::deque<recorded> ops(count);
  std::vector<socket_pair> pairs;
  std::array<char, count> got{};
  for (std::size_t i = 0; i < count; ++i) {
    pairs.push_back(unix_pair());
    kernel().receive(ops[i], pairs[i].near.get(), bytes({&got[i], 1}));
  }
  kernel().enter(0ms);
  for (const socket_pair& pair : pairs) send_all(pair.far, "x");
  ASSERT_TRUE(finish());
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_EQ(ops[i].calls, 1U);
    ASSERT_EQ(ops[i].returned(), 1);
    ASSERT_EQ(got[i], 'x');
  }
}

TEST_F(rings, one_harvest_takes_more_deferred_completions_than_one_enter_runs) {
  constexpr std::size_t count = 200;
  std::deque<recorded> ops(count);
  std::vector<socket_pair> pairs;
  std::array<char, count> got{};
  for (std::size_t i = 0; i < count; ++i) {
    pairs.push_back(unix_pair());
    kernel().receive(ops[i], pairs[i].near.get(), bytes({&got[i], 1}));
  }
  kernel().enter(0ms);
  ASSERT_EQ(kernel().harvest(), 0U);
  for (const socket_pair& pair : pairs) send_all(pair.far, "x");
  EXPECT_EQ(kernel().harvest(), count);
  EXPECT_EQ(kernel().in_flight(), 0U);
  EXPECT_FALSE(kernel().completions_pending());
}

TEST_F(rings, a_bad_operation_fails_alone) {
  recorded before;
  recorded bad;
  recorded after;
  std::array<char, 1> memory;
  kernel().nop(before);
  kernel().receive(bad, -1, bytes(memory));
  kernel().nop(after);
  kernel().enter(0ms);
  kernel().harvest();
  EXPECT_EQ(before.calls, 1U);
  EXPECT_EQ(bad.returned(), -EBADF);
  EXPECT_EQ(after.calls, 1U);
}

TEST_F(rings, cancelling_a_receive_that_waits_ends_it_and_takes_no_bytes) {
  const socket_pair pair = tcp_pair();
  std::array<char, 8> memory{};
  recorded op;
  kernel().receive(op, pair.near.get(), bytes(memory));
  kernel().enter(0ms);
  kernel().cancel(op);
  EXPECT_TRUE(op.cancel_requested());
  EXPECT_EQ(kernel().in_flight(), 2U);
  ASSERT_TRUE(finish());
  EXPECT_EQ(op.calls, 1U);
  EXPECT_EQ(op.returned(), -ECANCELED);
  send_all(pair.far, "later");
  EXPECT_EQ(receive_now(pair.near), "later");
}

TEST_F(rings, cancelling_a_receive_that_has_completed_keeps_its_bytes) {
  const socket_pair pair = tcp_pair();
  std::array<char, 8> memory{};
  recorded op;
  kernel().receive(op, pair.near.get(), bytes(memory));
  kernel().enter(0ms);
  send_all(pair.far, "bytes");
  kernel().enter(0ms);  // completed, and not harvested yet
  ASSERT_EQ(op.calls, 0U);
  kernel().cancel(op);
  ASSERT_TRUE(finish());
  EXPECT_EQ(op.calls, 1U);
  EXPECT_EQ(op.returned(), 5);
  EXPECT_EQ(std::string_view(memory.data(), 5), "bytes");
}

TEST_F(rings, cancelling_while_the_completion_is_deferred_ends_it_once) {
  const socket_pair pair = tcp_pair();
  std::array<char, 8> memory{};
  recorded op;
  kernel().receive(op, pair.near.get(), bytes(memory));
  kernel().enter(0ms);
  send_all(pair.far, "bytes");  // the wake-up waits for the next enter
  kernel().cancel(op);
  ASSERT_TRUE(finish());
  EXPECT_EQ(op.calls, 1U);
  // Either came first; nothing is lost in both.
  if (op.returned() == -ECANCELED) {
    EXPECT_EQ(receive_now(pair.near), "bytes");
  } else {
    EXPECT_EQ(op.returned(), 5);
  }
}

TEST_F(rings, cancelling_an_operation_that_was_not_submitted_yet_ends_it) {
  const socket_pair pair = tcp_pair();
  std::array<char, 8> memory{};
  recorded op;
  kernel().receive(op, pair.near.get(), bytes(memory));
  kernel().cancel(op);
  ASSERT_TRUE(finish());
  EXPECT_EQ(op.calls, 1U);
  EXPECT_EQ(op.returned(), -ECANCELED);
}

TEST_F(rings, cancelling_twice_asks_the_kernel_once) {
  const socket_pair pair = tcp_pair();
  recorded op;
  kernel().receive_posted(op, pair.near.get());
  kernel().enter(0ms);
  kernel().cancel(op);
  kernel().cancel(op);
  EXPECT_EQ(kernel().in_flight(), 2U);
  ASSERT_TRUE(finish());
  EXPECT_EQ(op.calls, 1U);
  EXPECT_EQ(op.returned(), -ECANCELED);
}

TEST_F(rings, cancelling_what_is_not_in_flight_does_nothing) {
  recorded op;
  kernel().cancel(op);
  EXPECT_EQ(kernel().in_flight(), 0U);
  EXPECT_FALSE(kernel().needs_enter());
  kernel().nop(op);
  ASSERT_TRUE(finish());
  kernel().cancel(op);
  EXPECT_EQ(kernel().in_flight(), 0U);
}

TEST_F(rings, an_operation_that_was_cancelled_can_be_started_again) {
  const socket_pair pair = tcp_pair();
  std::array<char, 8> memory{};
  recorded op;
  kernel().receive(op, pair.near.get(), bytes(memory));
  kernel().cancel(op);
  ASSERT_TRUE(finish());
  kernel().receive(op, pair.near.get(), bytes(memory));
  EXPECT_FALSE(op.cancel_requested());
  send_all(pair.far, "x");
  ASSERT_TRUE(finish());
  EXPECT_EQ(op.calls, 2U);
  EXPECT_EQ(op.returned(), 1);
}

// The three things that end an idle connection, each seen without a system call.
TEST_F(rings, the_look_for_completions_sees_fin_reset_and_stray_byte_without_a_system_call) {
  struct ending {
    const char* name;
    void (*happen)(unique_fd&);
    int result;
  };
  const std::array<ending, 3> endings = {{
      {"FIN", [](unique_fd& fd) { fd.reset(); }, 0},
      {"RST", [](unique_fd& fd) { fd.reset_connection(); }, -ECONNRESET},
      {"stray byte", [](unique_fd& fd) { send_all(fd, "x"); }, 1},
  }};
  for (const ending& each : endings) {
    SCOPED_TRACE(each.name);
    socket_pair pair = tcp_pair();
    recorded op;
    kernel().receive_posted(op, pair.near.get());
    kernel().enter(0ms);
    kernel().harvest();
    EXPECT_FALSE(kernel().completions_pending());
    const std::uint64_t enters = kernel().statistics().enters;
    each.happen(pair.far);
    EXPECT_TRUE(kernel().completions_pending());
    EXPECT_EQ(kernel().statistics().enters, enters);
    kernel().harvest();
    ASSERT_EQ(op.calls, 1U);
    EXPECT_EQ(op.returned(), each.result);
    EXPECT_FALSE(kernel().completions_pending());
    if (op.has_buffer()) kernel().recycle_buffer(op.buffer_id());
  }
}

TEST_F(rings, a_posted_receive_brings_its_bytes_in_a_buffer) {
  const socket_pair pair = tcp_pair();
  recorded op;
  kernel().receive_posted(op, pair.near.get());
  kernel().enter(0ms);
  send_all(pair.far, "hello");
  ASSERT_TRUE(finish());
  ASSERT_TRUE(op.has_buffer());
  ASSERT_EQ(op.returned(), 5);
  const auto got = kernel().buffer(op.buffer_id(), 5);
  EXPECT_EQ(std::memcmp(got.data(), "hello", 5), 0);
  EXPECT_FALSE(op.socket_nonempty());
  kernel().recycle_buffer(op.buffer_id());
}

TEST_F(rings, a_posted_receive_tells_when_bytes_are_left) {
  create({.receive_buffers = 2, .receive_buffer_bytes = 64});
  const socket_pair pair = tcp_pair();
  recorded op;
  kernel().receive_posted(op, pair.near.get());
  kernel().enter(0ms);
  send_all(pair.far, std::string(65, 'x'));
  ASSERT_TRUE(finish());
  EXPECT_EQ(op.returned(), 64);
  EXPECT_TRUE(op.socket_nonempty());
  kernel().recycle_buffer(op.buffer_id());
}

TEST_F(rings, without_a_free_buffer_a_posted_receive_says_so_and_the_bytes_stay) {
  create({.receive_buffers = 1, .receive_buffer_bytes = 64});
  const socket_pair first = tcp_pair();
  const socket_pair second = tcp_pair();
  recorded holder;
  recorded misses;
  kernel().receive_posted(holder, first.near.get());
  kernel().receive_posted(misses, second.near.get());
  kernel().enter(0ms);
  send_all(first.far, "first");
  kernel().enter(0ms);
  kernel().harvest();
  ASSERT_TRUE(holder.has_buffer());
  send_all(second.far, "second");
  ASSERT_TRUE(finish());
  EXPECT_EQ(misses.returned(), -ENOBUFS);
  EXPECT_FALSE(misses.has_buffer());
  EXPECT_EQ(kernel().statistics().buffer_misses, 1U);

  std::array<char, 16> memory{};
  recorded direct;
  kernel().receive(direct, second.near.get(), bytes(memory));
  ASSERT_TRUE(finish());
  ASSERT_EQ(direct.returned(), 6);
  EXPECT_EQ(std::string_view(memory.data(), 6), "second");

  kernel().recycle_buffer(holder.buffer_id());
  kernel().receive_posted(misses, second.near.get());
  kernel().enter(0ms);
  send_all(second.far, "third");
  ASSERT_TRUE(finish());
  EXPECT_EQ(misses.returned(), 5);
  EXPECT_TRUE(misses.has_buffer());
}

TEST_F(rings, buffers_go_round_many_times) {
  create({.receive_buffers = 2, .receive_buffer_bytes = 64});
  const socket_pair pair = tcp_pair();
  recorded op;
  for (unsigned round = 0; round < 100; ++round) {
    kernel().receive_posted(op, pair.near.get());
    kernel().enter(0ms);
    const std::string sent = "round " + std::to_string(round);
    send_all(pair.far, sent);
    ASSERT_TRUE(finish());
    ASSERT_EQ(op.returned(), static_cast<int>(sent.size()));
    const auto got = kernel().buffer(op.buffer_id(), sent.size());
    ASSERT_EQ(std::memcmp(got.data(), sent.data(), sent.size()), 0);
    kernel().recycle_buffer(op.buffer_id());
  }
  EXPECT_EQ(kernel().statistics().buffer_misses, 0U);
}

TEST_F(rings, a_poll_completes_with_what_is_ready) {
  const socket_pair pair = unix_pair();
  recorded op;
  kernel().poll(op, pair.near.get(), POLLIN);
  kernel().enter(0ms);
  kernel().harvest();
  EXPECT_EQ(op.calls, 0U);
  send_all(pair.far, "x");
  ASSERT_TRUE(finish());
  EXPECT_NE(op.returned() & POLLIN, 0);
}

TEST_F(rings, a_connection_is_made_accepted_and_used) {
  const raw_listener door = listen_on_loopback(8);
  const unique_fd near(kernel().open_socket(AF_INET));
  recorded connecting;
  recorded accepting;
  kernel().accept(accepting, door.fd.get());
  kernel().connect(connecting, near.get(), reinterpret_cast<const sockaddr*>(&door.address),
                   sizeof door.address);
  ASSERT_TRUE(finish());
  EXPECT_EQ(connecting.returned(), 0);
  ASSERT_GE(accepting.returned(), 0);
  const unique_fd far(accepting.returned());
  recorded sending;
  kernel().send(sending, near.get(), std::as_bytes(std::span("hello", 5)));
  ASSERT_TRUE(finish());
  EXPECT_EQ(sending.returned(), 5);
  EXPECT_EQ(kernel().peek(far.get()), 1);
  EXPECT_EQ(receive_now(far), "hello");
  EXPECT_EQ(kernel().peek(far.get()), -EAGAIN);
  EXPECT_EQ(kernel().shutdown(near.get()), 0);
  EXPECT_EQ(kernel().peek(far.get()), 0);
}

TEST_F(rings, a_wake_completes_on_the_other_ring) {
  const std::unique_ptr<ring> other = open({});
  kernel().wake(other->waker());
  EXPECT_EQ(kernel().in_flight(), 1U);
  EXPECT_FALSE(other->completions_pending());
  kernel().enter(0ms);
  EXPECT_TRUE(other->completions_pending());
  EXPECT_EQ(other->harvest(), 1U);
  EXPECT_EQ(kernel().harvest(), 1U);  // the answer, until which the other ring is kept
  EXPECT_EQ(kernel().in_flight(), 0U);
  EXPECT_FALSE(readable(other->waker().event_fd()));
}

TEST_F(rings, a_wake_that_the_kernel_refuses_goes_through_the_eventfd) {
  auto other = ring::create({});
  ASSERT_TRUE(other);  // not enabled: it takes no messages
  kernel().wake((*other)->waker());
  kernel().enter(0ms);
  kernel().harvest();
  EXPECT_TRUE(readable((*other)->waker().event_fd()));
}

TEST_F(rings, a_wake_keeps_the_descriptors_of_its_target_until_it_is_answered) {
  const std::size_t before = open_descriptors();
  auto other = ring::create({});
  ASSERT_TRUE(other);  // not enabled: the wake is refused, and goes to the eventfd
  kernel().wake((*other)->waker());
  other->reset();
  // Whatever is opened now would get the numbers of what was closed.
  std::array<unique_fd, 8> newcomers;
  for (unique_fd& one : newcomers) one.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  kernel().enter(0ms);
  kernel().harvest();
  for (const unique_fd& one : newcomers) EXPECT_FALSE(readable(one.get()));
  for (unique_fd& one : newcomers) one.reset();
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(rings, its_signal_is_readable_when_there_is_something_to_harvest) {
  const socket_pair pair = tcp_pair();
  std::array<char, 8> memory;
  recorded op;
  pollfd watched{.fd = kernel().signal_fd(), .events = POLLIN, .revents = 0};
  ASSERT_GE(watched.fd, 0);
  EXPECT_EQ(kernel().signal_fd(), watched.fd);
  EXPECT_EQ(::poll(&watched, 1, 0), 1);  // from the start, for what was pending before
  kernel().mute_signal();
  kernel().receive(op, pair.near.get(), bytes(memory));
  kernel().enter(0ms);
  kernel().harvest();
  kernel().unmute_signal();
  EXPECT_EQ(::poll(&watched, 1, 0), 0);
  std::thread peer([&] { send_all(pair.far, "x"); });
  EXPECT_EQ(::poll(&watched, 1, 10'000), 1);  // wakes who waits already
  EXPECT_EQ(::poll(&watched, 1, 0), 1);       // level-triggered
  peer.join();
  kernel().mute_signal();
  kernel().harvest();
  EXPECT_EQ(op.calls, 1U);
  kernel().unmute_signal();
  EXPECT_EQ(::poll(&watched, 1, 0), 0);
}

TEST_F(rings, what_happens_while_its_signal_is_muted_is_seen_by_the_look) {
  const socket_pair pair = tcp_pair();
  std::array<char, 8> memory;
  recorded op;
  pollfd watched{.fd = kernel().signal_fd(), .events = POLLIN, .revents = 0};
  kernel().mute_signal();
  kernel().receive(op, pair.near.get(), bytes(memory));
  kernel().enter(0ms);
  send_all(pair.far, "x");
  kernel().unmute_signal();
  EXPECT_EQ(::poll(&watched, 1, 0), 0);
  EXPECT_TRUE(kernel().completions_pending());
  ASSERT_TRUE(finish());
}

TEST_F(rings, a_wait_without_completions_ends_when_its_time_is_over) {
  kernel().enter(1ms);
  EXPECT_EQ(kernel().statistics().waits, 1U);
  EXPECT_EQ(kernel().harvest(), 0U);
}

TEST_F(rings, a_wait_ends_at_once_if_a_completion_is_there) {
  recorded op;
  kernel().nop(op);
  kernel().enter(1h);
  kernel().harvest();
  EXPECT_EQ(op.calls, 1U);
}

}  // namespace
}  // namespace conpool::test

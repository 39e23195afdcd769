// The ways out of a lease: discard() and detach().
#include <gtest/gtest.h>

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <string>
#include <utility>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

class detach : public pool_fixture {
 protected:
  void SetUp() override {
    pool_fixture::SetUp();
    pool_config config;
    config.max_connections_per_endpoint = 1;
    configure(config);
  }
  std::optional<detached> take_out(lease& held) {
    std::optional<detached> out;
    EXPECT_TRUE(run([&]() -> task<void> {
      auto work = held.detach();
      auto taken = co_await work;
      CO_ASSERT_OK(taken);
      out.emplace(std::move(*taken));
    }));
    return out;
  }
  errc refused_to_detach(lease& held) {
    errc why{};
    EXPECT_TRUE(run([&]() -> task<void> {
      auto work = held.detach();
      auto taken = co_await work;
      if (!taken) why = taken.error().kind();
    }));
    return why;
  }
  // What the server echoes, read without the library.
  std::string echoed(int fd, const std::string& text) {
    EXPECT_EQ(::send(fd, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    std::string got;
    EXPECT_TRUE(until([&] {
      std::array<char, 64> some{};
      const ssize_t count = ::recv(fd, some.data(), some.size(), MSG_DONTWAIT);
      if (count > 0) got.append(some.data(), static_cast<std::size_t>(count));
      return got.size() >= text.size();
    }));
    return got;
  }
};

TEST_F(detach, T49_a_discarded_connection_is_not_reused) {
  lease held = hold();
  const std::uint64_t id = held->id();
  caller& waiting = call();
  settle();
  held.discard();
  ASSERT_TRUE(until([&] { return waiting.ended; })) << "its place was not freed";
  ASSERT_TRUE(waiting.served());
  EXPECT_NE((*waiting.got)->id(), id);
  EXPECT_FALSE(waiting.got->reused());
  EXPECT_EQ(closed(close_reason::discarded), 1U);
}

TEST_F(detach, T49_a_detached_descriptor_lives_on_and_its_slot_is_freed) {
  lease held = hold();
  caller& waiting = call();
  ASSERT_TRUE(until([&] { return server().open() == 1; }));
  // Its receive is posted: detach() has to end that before it hands over the descriptor.
  ASSERT_TRUE(held->receive_posted());
  std::optional<detached> out = take_out(held);
  ASSERT_TRUE(out);
  EXPECT_FALSE(held);
  ASSERT_TRUE(until([&] { return waiting.ended; })) << "its place was not freed";
  ASSERT_TRUE(waiting.served());
  EXPECT_FALSE(waiting.got->reused());
  EXPECT_EQ(closed(close_reason::detached), 1U);
  EXPECT_EQ(server().open(), 2U) << "its server has not seen it end";

  const int fd = out->release();
  EXPECT_TRUE(out->unread().empty());
  // If the receive were still posted, it would take the answer.
  EXPECT_EQ(echoed(fd, "hello"), "hello");
  waiting.got->release();
  backends().clear_all();
  settle();
  EXPECT_EQ(echoed(fd, "again"), "again") << "the pool still had a hand on it";
  ::close(fd);
}

TEST_F(detach, T49_unread_bytes_come_along_with_a_detached_descriptor) {
  lease held = hold();
  ASSERT_TRUE(until([&] { return server().open() == 1; }));
  server().send_to_all("first");
  ASSERT_TRUE(until([&] { return (held->conditions() & stream::has_data) != 0; }));
  std::array<char, 2> some{};
  ASSERT_TRUE(run([&]() -> task<void> {
    auto read = co_await held->read_exactly(std::span<char>(some));
    CO_ASSERT_OK(read);
  }));
  std::optional<detached> out = take_out(held);
  ASSERT_TRUE(out);
  const std::string unread(reinterpret_cast<const char*>(out->unread().data()),
                           out->unread().size());
  EXPECT_EQ(std::string(some.data(), some.size()) + unread, "first");
  EXPECT_EQ(echoed(out->fd(), "second"), "second");
}

TEST_F(detach, T49_a_detached_descriptor_that_nobody_takes_is_closed) {
  lease held = hold();
  ASSERT_TRUE(until([&] { return server().open() == 1; }));
  {
    std::optional<detached> out = take_out(held);
    ASSERT_TRUE(out);
  }
  EXPECT_TRUE(until([&] { return server().open() == 0; }));
}

TEST_F(detach, a_lease_that_cannot_be_detached_stays_what_it_was) {
  lease held = hold();
  std::array<char, 4> into{};
  bool ended = false;
  result<std::size_t> read = 0U;
  start([&]() -> task<void> { read = co_await held->read_exactly(std::span<char>(into)); }, ended);
  settle();
  EXPECT_EQ(refused_to_detach(held), errc::invalid_argument);
  ASSERT_TRUE(held);
  server().send_to_all("mine");
  ASSERT_TRUE(until([&] { return ended; }));
  EXPECT_TRUE(read) << "the read went on";
  server().reset_all();
  settle();
  ASSERT_TRUE(run([&]() -> task<void> {
    auto late = co_await held->read(std::span<char>(into));
    EXPECT_FALSE(late);
  }));
  EXPECT_EQ(refused_to_detach(held), errc::connection_reset);
  ASSERT_TRUE(held);
  held.release();
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(closed(close_reason::detached), 0U);
}

}  // namespace
}  // namespace conpool::test

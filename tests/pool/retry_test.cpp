// A request that is sent again, because the connection that was kept for it was over.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class retry : public pool_fixture {
 protected:
  using step = std::function<task<result<std::string>>(connection&)>;

  void SetUp() override {
    pool_fixture::SetUp();
    hold().release();  // what the first call gets was lent before
  }
  // The first call does `first`, others ask for an echo.
  result<std::string> ask(request kind, const step& first, const acquire_options& how = {}) {
    result<std::string> got = fail(error(errc::invalid_argument));
    EXPECT_TRUE(run([&]() -> task<void> {
      const auto function = [&](connection& peer) {
        ids_.push_back(peer.id());
        return ids_.size() == 1 ? first(peer) : exchange(peer, "again");
      };
      auto work = retry_if_stale(backends(), server().at(), kind, function, how);
      auto done = co_await work;
      got = std::move(done);
    }));
    return got;
  }
  // The server ends the connection before it answers.
  task<result<std::string>> ends_unanswered(connection& peer) {
    server().echo(false);
    auto sent = co_await peer.write("hello");
    EXPECT_OK(sent);
    server().close_all();
    std::array<char, 5> got{};
    auto read = co_await peer.read_exactly(std::span<char>(got));
    server().echo(true);
    if (!read) co_return fail(std::move(read.error()));
    co_return std::string(got.data(), got.size());
  }
  step ends() {
    return [this](connection& peer) {
      return ends_unanswered(peer);
    };
  }

  std::vector<std::uint64_t> ids_;
};

TEST_F(retry, what_ended_before_a_byte_of_the_answer_is_asked_again_on_a_new_connection) {
  const auto got = ask(request::repeatable, ends());
  ASSERT_OK(got);
  EXPECT_EQ(*got, "again");
  ASSERT_EQ(ids_.size(), 2U);
  EXPECT_NE(ids_[0], ids_[1]);
  EXPECT_EQ(totals().created, 2U);
  settle();
  EXPECT_EQ(totals().idle, 1U) << "the second one is kept";
}

TEST_F(retry, what_may_reach_the_server_only_once_is_not_asked_again_once_it_was_sent) {
  const auto got = ask(request::once, ends());
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::connection_closed);
  EXPECT_EQ(ids_.size(), 1U);
}

TEST_F(retry, what_was_not_sent_is_asked_again_whatever_it_is) {
  const auto got = ask(request::once, [this](connection& peer) -> task<result<std::string>> {
    server().reset_all();
    std::array<char, 1> byte{};
    auto read = co_await peer.read_exactly(std::span<char>(byte));
    if (!read) co_return fail(std::move(read.error()));
    co_return "";
  });
  ASSERT_OK(got);
  EXPECT_EQ(ids_.size(), 2U);
}

TEST_F(retry, a_new_connection_that_ends_is_the_servers_word) {
  server().close_all();
  ASSERT_TRUE(until([&] { return totals().closed() == 1; }));
  const auto got = ask(request::repeatable, ends());
  ASSERT_FALSE(got);
  EXPECT_EQ(ids_.size(), 1U);
}

TEST_F(retry, nothing_is_asked_again_behind_the_first_byte_of_an_answer) {
  const auto got = ask(request::repeatable, [this](connection& peer) -> task<result<std::string>> {
    auto first = exchange(peer, "a");
    auto begun = co_await first;
    EXPECT_OK(begun);
    auto rest = ends_unanswered(peer);
    auto outcome = co_await rest;
    co_return outcome;
  });
  ASSERT_FALSE(got);
  EXPECT_EQ(ids_.size(), 1U);
}

TEST_F(retry, nor_where_the_beginning_of_an_answer_waits_in_a_reader) {
  const auto got = ask(request::repeatable, [this](connection& peer) -> task<result<std::string>> {
    auto sent = co_await peer.write("half a line");
    EXPECT_OK(sent);
    buffered_reader in(peer);
    auto some = co_await in.peek(4);
    EXPECT_OK(some);
    server().close_all();
    auto line = co_await in.read_until("\n");
    if (!line) co_return fail(std::move(line.error()));
    co_return std::string(*line);
  });
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::connection_closed);
  EXPECT_EQ(ids_.size(), 1U);
}

TEST_F(retry, another_failure_is_the_answer) {
  const auto got = ask(request::repeatable, [](connection&) -> task<result<std::string>> {
    co_return fail(error(errc::io_failed).with_detail("the server says no"));
  });
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::io_failed);
  EXPECT_EQ(ids_.size(), 1U);
}

TEST_F(retry, an_exception_comes_out_and_the_connection_is_closed) {
  EXPECT_TRUE(run([&]() -> task<void> {
    const auto function = [](connection&) -> task<result<void>> {
      throw std::runtime_error("half way");
      co_return result<void>{};
    };
    bool thrown = false;
    try {
      auto work = retry_if_stale(backends(), server().at(), request::repeatable, function);
      auto got = co_await work;
      EXPECT_FALSE(got);
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    EXPECT_TRUE(thrown);
  }));
  ASSERT_TRUE(until([&] { return closed(close_reason::discarded) == 1; }));
}

TEST_F(retry, it_is_asked_once_more_and_not_for_ever) {
  unsigned calls = 0;
  EXPECT_TRUE(run([&]() -> task<void> {
    const auto function = [&](connection& peer) {
      ++calls;
      return ends_unanswered(peer);
    };
    auto work = retry_if_stale(backends(), server().at(), request::repeatable, function);
    auto got = co_await work;
    EXPECT_FALSE(got);
  }));
  EXPECT_EQ(calls, 2U);
}

TEST_F(retry, what_the_second_acquire_says_is_the_answer) {
  const auto got = ask(request::repeatable, [this](connection& peer) {
    backends().pause(while_paused::fail);
    return ends_unanswered(peer);
  });
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::pool_paused) << got.error().message();
  EXPECT_EQ(ids_.size(), 1U);
}

}  // namespace
}  // namespace conpool::test

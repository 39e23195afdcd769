// Redis as a protocol of the pool (examples/redis_protocol.h) against a real server.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <conpool/conpool.h>
#include <examples/redis_protocol.h>

#include <tests/support/pool_fixture.h>
#include <tests/support/redis_server.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class redis_pool : public pool_fixture {
 protected:
  void SetUp() override {
    redis_ = std::make_unique<redis_server>();
    pool_fixture::SetUp();
    speak({});
  }
  void TearDown() override {
    pool_fixture::TearDown();
    redis_.reset();
  }
  void speak(redis_protocol speaks) {
    speaks.invalidated = [this](std::string_view key) {
      invalidated_.emplace_back(key);
    };
    configure(config_, std::move(speaks));
  }
  void hold(unsigned count) { pool_fixture::hold(count, redis_->at()); }
  template <typename... Words>
  std::string ask(lease& over, const Words&... words) {
    std::string got;
    EXPECT_TRUE(run([&]() -> task<void> {
      auto asked = redis_command(*over, redis_protocol::words(words...));
      auto reply = co_await asked;
      CO_ASSERT_OK(reply);
      got = *reply;
    }));
    return got;
  }
  validation_report validate() {
    validation_report report;
    EXPECT_TRUE(run([&]() -> task<void> {
      auto asking = backends().validate(redis_->at());
      auto made = co_await asking;
      CO_ASSERT_OK(made);
      report = *made;
    }));
    return report;
  }

  pool_config config_;
  std::unique_ptr<redis_server> redis_;
  std::vector<std::string> invalidated_;
};

TEST_F(redis_pool, logs_in_with_resp3_and_selects_its_database) {
  redis_protocol speaks;
  speaks.database = 2;
  speak(speaks);
  hold(1);
  EXPECT_EQ(ask(held_[0], "SET", "here", "two"), "+OK\r\n");
  EXPECT_EQ(ask(held_[0], "GET", "nowhere"), "_\r\n") << "RESP3's own null";
  held_.clear();
  speak({});
  hold(1);
  EXPECT_EQ(ask(held_[0], "GET", "here"), "_\r\n") << "another database";
}

TEST_F(redis_pool, a_login_that_the_server_refuses_is_a_failed_connect_with_its_words) {
  redis_protocol speaks;
  speaks.database = 4711;
  speak(speaks);
  ASSERT_TRUE(run([this]() -> task<void> {
    auto lease = co_await backends().acquire(redis_->at());
    EXPECT_FALSE(lease);
    if (lease) co_return;
    EXPECT_EQ(lease.error(), errc::io_failed) << "its own kind";
    EXPECT_NE(lease.error().message().find("DB index"), std::string::npos)
        << lease.error().message();
  }));
}

TEST_F(redis_pool, T25_a_push_while_idle_reaches_the_cache) {
  hold(2);
  EXPECT_EQ(ask(held_[0], "SET", "key", "old"), "+OK\r\n");
  EXPECT_EQ(ask(held_[0], "GET", "key"), "$3\r\nold\r\n");
  lease writer = std::move(held_[1]);
  held_.clear();  // the reader is idle
  EXPECT_EQ(ask(writer, "SET", "key", "new"), "+OK\r\n");
  ASSERT_TRUE(until([&] { return !invalidated_.empty(); }));
  EXPECT_EQ(invalidated_, std::vector<std::string>{"key"});
  ASSERT_TRUE(until([&] { return totals().idle == 1; }));
  EXPECT_EQ(totals().pushes, 1U);
  hold(1);
  EXPECT_TRUE(held_[0].reused());
  EXPECT_EQ(ask(held_[0], "GET", "key"), "$3\r\nnew\r\n");
}

TEST_F(redis_pool, a_push_in_front_of_a_reply_is_no_part_of_it) {
  hold(2);
  EXPECT_EQ(ask(held_[0], "GET", "key"), "_\r\n");
  EXPECT_EQ(ask(held_[1], "SET", "key", "new"), "+OK\r\n");
  EXPECT_EQ(ask(held_[0], "ECHO", "reply"), "$5\r\nreply\r\n");
  EXPECT_EQ(invalidated_, std::vector<std::string>{"key"});
}

TEST_F(redis_pool, pings_tell_whether_it_is_alive) {
  hold(3);
  held_.clear();
  EXPECT_EQ(validate().alive, 3U);
  EXPECT_EQ(totals().pings, 3U);
  EXPECT_EQ(totals().idle, 3U);
}

TEST_F(redis_pool, pings_under_a_policy_and_with_pushes_between) {
  config_.validation = validation_policy::ping;
  speak({});
  hold(2);
  EXPECT_EQ(ask(held_[0], "GET", "key"), "_\r\n");
  lease writer = std::move(held_[1]);
  held_.clear();
  pass(2s);
  EXPECT_EQ(ask(writer, "SET", "key", "new"), "+OK\r\n");
  hold(1);
  EXPECT_TRUE(held_[0].reused());
  EXPECT_GE(totals().pings + totals().pushes, 1U);
  EXPECT_EQ(invalidated_, std::vector<std::string>{"key"});
}

TEST_F(redis_pool, what_was_not_asked_for_and_is_no_push_is_dirt) {
  hold(1);
  // A reply that comes after its caller has gone, as with a client that pipelines and miscounts.
  ASSERT_TRUE(run([this]() -> task<void> {
    auto sent = co_await held_[0]->write("BLPOP nothing-there 0.01\r\n");
    CO_ASSERT_OK(sent);
    held_[0]->clear(stream::wrote_last);
    held_.clear();
  }));
  EXPECT_EQ(totals().idle, 1U);
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::unexpected_data) == 1; }));
}

TEST_F(redis_pool, a_reply_that_was_not_read_keeps_the_connection_from_being_lent_again) {
  hold(1);
  held_[0]->expect_answers();
  held_.clear();
  ASSERT_TRUE(until([&] { return totals().closed(close_reason::unanswered) == 1; }));
}

TEST_F(redis_pool, a_server_that_is_killed_takes_the_tracked_keys_with_it_and_comes_back) {
  hold(2);
  held_.clear();
  redis_->kill();
  ASSERT_TRUE(until([&] { return totals().idle == 0 && totals().closing == 0; }));
  EXPECT_EQ(invalidated_, (std::vector<std::string>{"", ""})) << "nobody tracks them any more";
  redis_->restart();
  hold(1);
  EXPECT_FALSE(held_[0].reused());
  EXPECT_EQ(ask(held_[0], "ECHO", "again"), "$5\r\nagain\r\n");
}

TEST_F(redis_pool, a_server_that_is_killed_during_a_validation_is_reported) {
  hold(2);
  held_.clear();
  settle();
  redis_->kill();
  const validation_report report = validate();
  EXPECT_EQ(report.checked, report.alive + report.closed(close_reason::peer_closed) +
                                report.closed(close_reason::peer_reset) +
                                report.closed(close_reason::ping_failed));
  EXPECT_EQ(report.alive, 0U);
  redis_->restart();  // its log is a descriptor, too
}

}  // namespace
}  // namespace conpool::test

// PostgreSQL as a protocol of the pool (tests/support/postgres_client.h) against a real server: a
// query that is cancelled costs no connection, and nothing of one lease reaches the next.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <conpool/conpool.h>
#include <conpool/runtime/deadline.h>

#include <tests/support/pool_fixture.h>
#include <tests/support/postgres_client.h>
#include <tests/support/postgres_server.h>
#include <tests/support/postgres_wire.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

constexpr const char* pooled_sessions =
    "select count(*) from pg_stat_activity where application_name = 'pooled'";

class postgres : public pool_fixture {
 protected:
  static void SetUpTestSuite() {
    if (postgres_server::is_installed()) server_ = std::make_unique<postgres_server>();
  }
  static void TearDownTestSuite() { server_.reset(); }

  void SetUp() override {
    pool_fixture::SetUp();
    if (server_ == nullptr) GTEST_SKIP() << "PostgreSQL is not installed: scripts/deps test";
    // Time is set by hand, and the server takes its own.
    config_.acquire_timeout = config_.read_timeout = config_.write_timeout = 24h;
    config_.connection_timeout = config_.release_timeout = 1h;
    config_.max_idle_time = config_.max_connection_lifetime = 0ms;
    speak();
  }
  void speak() {
    speaks_.port = server_->port();
    speaks_.seen = std::make_shared<postgres_protocol::figures>();
    configure(config_, speaks_);
  }
  void hold(unsigned count) { pool_fixture::hold(count, server_->at()); }
  const postgres_protocol::figures& seen() const { return *speaks_.seen; }

  // The first value of the answer, or the error's text.
  static task<std::string> ask(lease& over, std::string sql) {
    auto asked = postgres_query(*over, std::move(sql));
    auto rows = co_await asked;
    if (!rows) co_return rows.error().message();
    co_return rows->empty() ? std::string("no rows") : rows->front();
  }
  std::string answer(lease& over, std::string sql) {
    return run_on(home(), ask(over, std::move(sql))).value_or("no answer");
  }
  // Asks something that takes long, and gives up after `patience` of the test's time.
  task<void> give_up(lease& over, std::string sql, duration patience) {
    auto asked = postgres_query(*over, std::move(sql));
    auto rows = co_await with_timeout(home(), patience, std::move(asked));
    EXPECT_FALSE(rows);
    if (rows) co_return;
    EXPECT_EQ(rows.error(), errc::deadline_exceeded) << rows.error().message();
  }
  task<void> give_up_and_return(lease over, std::string sql) {
    auto giving_up = give_up(over, std::move(sql), 5ms);
    co_await giving_up;
  }
  // Turns until done() is true, while the test's time goes on by a millisecond a turn.
  template <typename Done>
  bool as_time_goes_on(Done done) {
    return run_until(home(), std::move(done), [this] { clock().advance(1ms); });
  }

  static inline std::unique_ptr<postgres_server> server_;
  pool_config config_;
  postgres_protocol speaks_;
};

// --- a query that is cancelled

struct cancelling_client {
  unsigned cancelled = 0;
  unsigned answered = 0;
  std::vector<std::string> wrong;
};

TEST_F(postgres, sixty_queries_that_are_cancelled_cost_no_connection_and_mix_no_answers) {
  constexpr unsigned clients = 12;
  constexpr unsigned rounds = 5;
  config_.max_connections_per_endpoint = 4;
  speak();
  const std::size_t logins_before = server_->logged("application_name=pooled");
  cancelling_client sum;
  scope tasks(home());
  for (unsigned client = 0; client < clients; ++client) {
    tasks.spawn(
        [this, &sum](unsigned number) -> task<void> {
          for (unsigned round = 0; round < rounds; ++round) {
            {
              auto lease = co_await backends().acquire(server_->at());
              CO_ASSERT_OK(lease);
              auto giving_up = give_up(*lease, "select pg_sleep(10)", 5ms);
              co_await giving_up;
              ++sum.cancelled;
            }
            auto lease = co_await backends().acquire(server_->at());
            CO_ASSERT_OK(lease);
            const std::string own = std::to_string(1000 * number + round);
            auto asking = ask(*lease, "select " + own);
            auto got = co_await asking;
            if (got == own) ++sum.answered;
            if (got != own) sum.wrong.push_back(got + " instead of " + own);
          }
        },
        client);
  }
  std::string sessions_most = "0";
  unsigned turns = 0;
  ASSERT_TRUE(as_time_goes_on([&] {
    if (++turns % 64 == 0) {
      sessions_most = std::max(sessions_most, server_->ask(pooled_sessions).front());
    }
    // The last ones of all are still being recovered when their callers are done.
    return tasks.running() == 0 && totals().idle == totals().created;
  }));
  EXPECT_EQ(sum.cancelled, clients * rounds);
  EXPECT_EQ(sum.answered, clients * rounds);
  EXPECT_EQ(sum.wrong, std::vector<std::string>());
  EXPECT_LE(sessions_most, "4");
  EXPECT_LE(server_->logged("application_name=pooled") - logins_before, 4U);
  EXPECT_LE(totals().created, 4U);
  EXPECT_EQ(totals().closed(), 0U);
  EXPECT_EQ(seen().recovered, clients * rounds);
  hold(4);
  for (lease& one : held_) EXPECT_EQ(answer(one, "select 'well'"), "well");
}

TEST_F(postgres, an_answer_that_was_not_read_is_read_away_and_the_connection_is_kept) {
  hold(1);
  const std::string session = answer(held_[0], "select pg_backend_pid()");
  ASSERT_TRUE(run([this]() -> task<void> {
    lease one = std::move(held_[0]);
    one->expect_answers();
    const std::string query = spell_postgres('Q', "select 1");
    auto sent = co_await one->write(query);
    CO_ASSERT_OK(sent);
  }));
  held_.clear();
  hold(1);
  EXPECT_EQ(answer(held_[0], "select pg_backend_pid()"), session);
  EXPECT_EQ(seen().recovered, 1U);
  EXPECT_EQ(totals().created, 1U);
}

TEST_F(postgres, a_connection_that_cannot_be_recovered_is_closed_and_no_lease_gets_it) {
  config_.max_connections_per_endpoint = 1;
  speak();
  hold(1);
  const std::string session = answer(held_[0], "select pg_backend_pid()");
  bool given_up = false;
  start(
      [this]() -> task<void> {
        lease one = std::move(held_[0]);
        auto giving_up = give_up(one, "select pg_sleep(10)", 5ms);
        co_await giving_up;
        one->state<postgres_protocol>().process = 1;  // the cancel request is not for this session
      },
      given_up);
  ASSERT_TRUE(as_time_goes_on([&] { return given_up; }));
  held_.clear();
  clock().advance(config_.release_timeout);
  ASSERT_TRUE(until([this] { return totals().closed(close_reason::interrupted) == 1; }));
  hold(1);
  EXPECT_NE(answer(held_[0], "select pg_backend_pid()"), session);
}

// --- what a lease leaves behind

TEST_F(postgres, a_transaction_that_was_left_open_is_rolled_back_before_the_next_lease) {
  config_.max_connections_per_endpoint = 1;
  speak();
  hold(1);
  const std::string session = answer(held_[0], "select pg_backend_pid()");
  EXPECT_EQ(answer(held_[0], "create table if not exists notes (text text)"), "no rows");
  EXPECT_EQ(answer(held_[0], "begin"), "no rows");
  EXPECT_EQ(answer(held_[0], "insert into notes values ('half')"), "no rows");
  EXPECT_EQ(answer(held_[0], "select count(*) from notes"), "1");
  held_.clear();
  hold(1);
  EXPECT_EQ(answer(held_[0], "select pg_backend_pid()"), session);
  EXPECT_EQ(answer(held_[0], "select count(*) from notes"), "0");
  EXPECT_EQ(held_[0]->state<postgres_protocol>().transaction, 'I');
  EXPECT_EQ(seen().rolled_back, 1U);
  held_.clear();
  hold(1);
  EXPECT_EQ(seen().rolled_back, 1U) << "nothing was left open the second time";
}

TEST_F(postgres, a_query_that_is_cancelled_in_a_transaction_takes_the_transaction_with_it) {
  config_.max_connections_per_endpoint = 1;
  speak();
  hold(1);
  const std::string session = answer(held_[0], "select pg_backend_pid()");
  EXPECT_EQ(answer(held_[0], "begin"), "no rows");
  bool given_up = false;
  start(
      [this]() -> task<void> {
        auto giving_up = give_up_and_return(std::move(held_[0]), "select pg_sleep(10)");
        co_await giving_up;
      },
      given_up);
  ASSERT_TRUE(as_time_goes_on([&] { return given_up; }));
  held_.clear();
  hold(1);
  EXPECT_EQ(answer(held_[0], "select pg_backend_pid()"), session);
  EXPECT_EQ(held_[0]->state<postgres_protocol>().transaction, 'I');
  EXPECT_EQ(seen().recovered, 1U);
  EXPECT_EQ(seen().rolled_back, 1U);
}

TEST_F(postgres, no_more_connections_are_cleaned_at_a_time_than_the_configuration_says) {
  config_.max_releasing_per_endpoint = 2;
  config_.max_connecting_per_endpoint = 6;
  speak();
  hold(6);
  for (lease& one : held_) EXPECT_EQ(answer(one, "begin"), "no rows");
  held_.clear();
  ASSERT_TRUE(until([this] { return totals().idle == 6; }));
  EXPECT_EQ(seen().rolled_back, 6U);
  EXPECT_EQ(seen().most, 2U);
}

TEST_F(postgres, no_more_connections_are_recovered_at_a_time_than_the_configuration_says) {
  config_.max_releasing_per_endpoint = 2;
  config_.max_connecting_per_endpoint = 6;
  speak();
  hold(6);
  scope tasks(home());
  for (lease& one : held_) {
    tasks.spawn(
        [this](lease own) { return give_up_and_return(std::move(own), "select pg_sleep(10)"); },
        std::move(one));
  }
  held_.clear();
  ASSERT_TRUE(as_time_goes_on([&] { return tasks.running() == 0 && totals().idle == 6; }));
  EXPECT_EQ(seen().recovered, 6U);
  EXPECT_EQ(seen().most, 2U);
  EXPECT_EQ(totals().closed(), 0U);
}

// --- the beginning and the end of a session

TEST_F(postgres, the_server_is_told_when_a_healthy_connection_is_closed) {
  std::vector<std::string> sessions;
  hold(4);
  for (lease& one : held_) sessions.push_back(answer(one, "select pg_backend_pid()"));
  held_.clear();
  backends().clear(server_->at());
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(seen().farewells, 4U);
  hold(2);
  for (lease& one : held_) sessions.push_back(answer(one, "select pg_backend_pid()"));
  held_.clear();
  close_pool();
  EXPECT_EQ(seen().farewells, 6U);
  for (const std::string& session : sessions) {
    // The server logs when it gets to it.
    const std::string of_it = "[" + session + "] LOG:  ";
    EXPECT_TRUE(until([&] { return server_->logged(of_it + "disconnection: ") == 1; })) << session;
    EXPECT_EQ(server_->logged(of_it + "unexpected EOF"), 0U);
    EXPECT_EQ(server_->logged(of_it + "could not receive"), 0U);
  }
}

TEST_F(postgres, a_login_that_the_server_refuses_keeps_its_code_and_its_words) {
  const auto refusal = [this](std::string_view user, std::string_view password,
                              std::string_view database) {
    speaks_.user = user;
    speaks_.password = password;
    speaks_.database = database;
    speak();
    return refused(server_->at());
  };
  const error nobody = refusal("nobody", "", "postgres");
  EXPECT_EQ(nobody, errc::io_failed);
  EXPECT_TRUE(nobody.is_permanent());
  EXPECT_TRUE(says(nobody, "28000: role \"nobody\" does not exist"));
  const error wrong = refusal("locked", "wrong", "postgres");
  EXPECT_EQ(wrong, errc::io_failed);
  EXPECT_TRUE(wrong.is_permanent());
  EXPECT_TRUE(says(wrong, "28P01: password authentication failed for user \"locked\""));
  const error nowhere = refusal("conpool", "", "nowhere");
  EXPECT_EQ(nowhere, errc::io_failed);
  EXPECT_TRUE(nowhere.is_permanent());
  EXPECT_TRUE(says(nowhere, "3D000: database \"nowhere\" does not exist"));
  speaks_.user = "locked";
  speaks_.password = "right";
  speaks_.database = "postgres";
  speak();
  hold(1);
  EXPECT_EQ(answer(held_[0], "select current_user"), "locked");
}

}  // namespace
}  // namespace conpool::test

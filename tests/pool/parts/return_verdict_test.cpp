// Whether a connection may be lent again, and if not, why: each condition alone, and which of two
// is told.
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <conpool/pool/detail/return_verdict.h>

#include <tests/pool/parts/parts_fixture.h>
#include <tests/support/toy_codec.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;
namespace verdict = conpool::return_verdict;

struct telling {
  std::uint32_t condition;
  close_reason reason;
};
// The most telling first; those of one line are told alike.
const std::vector<std::vector<telling>> by_precedence = {
    {{connection::discarded, close_reason::discarded}},
    {{stream::reading, close_reason::busy}, {stream::writing, close_reason::busy}},
    {{stream::interrupted, close_reason::interrupted}, {stream::torn, close_reason::interrupted}},
    {{stream::failed, close_reason::io_error}},
    {{stream::has_data, close_reason::unread_data},
     {stream::more_data, close_reason::unread_data},
     {stream::read_ahead, close_reason::unread_data}},
    {{stream::ended, close_reason::peer_closed}},
    {{stream::owes_answers, close_reason::unanswered}},
    {{stream::codec_spent, close_reason::uses}},
    {{stream::wrote_last, close_reason::unanswered}},
};

// What keeps a connection from being lent whoever reads it.
constexpr std::uint32_t broken_conditions[] = {stream::ended, stream::failed, connection::discarded,
                                               stream::detaching, stream::torn};

struct read_by_its_run {
  struct state {};
  task<void> run(connection&, state&) { co_return; }
};

class return_verdict : public parts_fixture {
 protected:
  // What a verdict says of a connection with these conditions, which has none afterwards.
  template <typename Verdict>
  static auto with(pooled_connection& one, std::uint32_t conditions, Verdict says) {
    one.mark(conditions);
    const auto said = says(one);
    one.clear(conditions);
    return said;
  }
  static close_reason reason_with(pooled_connection& one, std::uint32_t conditions) {
    return with(one, conditions, verdict::reason_of);
  }
  static std::uint32_t faults_with(pooled_connection& one, std::uint32_t conditions,
                                   std::uint32_t dirty) {
    return with(one, conditions,
                [&](const pooled_connection& of) { return verdict::faults_of(of, dirty); });
  }
  managed_connection& connect_managed() {
    managed_connection& made = as_managed(connect());
    made.running = true;
    return made;
  }
};

// --- reason_of

TEST_F(return_verdict, each_condition_alone_has_its_reason) {
  pooled_connection& one = connect();
  for (const auto& row : by_precedence) {
    for (const telling& each : row) {
      EXPECT_EQ(reason_with(one, each.condition), each.reason) << std::hex << each.condition;
    }
  }
}

TEST_F(return_verdict, of_two_conditions_the_more_telling_one_is_the_reason) {
  pooled_connection& one = connect();
  for (std::size_t more = 0; more < by_precedence.size(); ++more) {
    for (std::size_t less = more + 1; less < by_precedence.size(); ++less) {
      for (const telling& first : by_precedence[more]) {
        for (const telling& second : by_precedence[less]) {
          EXPECT_EQ(reason_with(one, first.condition | second.condition), first.reason)
              << std::hex << first.condition << " and " << second.condition;
        }
      }
    }
  }
}

TEST_F(return_verdict, a_reset_and_a_broken_pipe_are_told_apart_from_other_errors) {
  pooled_connection& reset = connect(tcp_pair());
  reset.post_receive();
  far_end_of(reset).reset_connection();
  ASSERT_TRUE(until([&] { return (reset.conditions() & stream::failed) != 0; }));
  ASSERT_EQ(reset.failure(), ECONNRESET);
  EXPECT_EQ(verdict::reason_of(reset), close_reason::peer_reset);

  pooled_connection& pipe = connect();
  far_end_of(pipe).reset();
  ASSERT_TRUE(run([&]() -> task<void> {
    auto sent = co_await pipe.write("hello");
    EXPECT_FALSE(sent);
  }));
  ASSERT_EQ(pipe.failure(), EPIPE);
  EXPECT_EQ(verdict::reason_of(pipe), close_reason::peer_reset);
}

TEST_F(return_verdict, the_habits_of_a_protocol_that_reads_are_no_reason) {
  speak(read_by_its_run{});
  managed_connection& one = connect_managed();
  one.read_by_run = true;
  EXPECT_EQ(reason_with(one, stream::ended | stream::reading | stream::wrote_last),
            close_reason::peer_closed);
  one.read_by_run = false;
  EXPECT_EQ(reason_with(one, stream::ended | stream::reading | stream::wrote_last),
            close_reason::busy);
}

// --- faults_of

TEST_F(return_verdict, every_condition_is_a_fault_and_the_mark_of_supervision_is_none) {
  pooled_connection& one = connect();
  EXPECT_EQ(faults_with(one, 0, ~0U), 0U);
  for (unsigned bit = 0; bit < 32; ++bit) {
    const std::uint32_t condition = 1U << bit;
    if (condition == stream::closing) continue;  // such a connection is not asked about
    const bool is_fault = condition != pooled_connection::supervised;
    EXPECT_EQ(faults_with(one, condition, ~0U), is_fault ? condition : 0U) << "bit " << bit;
  }
}

TEST_F(return_verdict, with_reuse_unanswered_a_last_write_is_no_fault) {
  const std::uint32_t dirty = ~std::uint32_t{stream::wrote_last};
  pooled_connection& one = connect();
  EXPECT_EQ(faults_with(one, stream::wrote_last, ~0U), stream::wrote_last);
  EXPECT_EQ(faults_with(one, stream::wrote_last, dirty), 0U);
  EXPECT_EQ(faults_with(one, stream::wrote_last | stream::more_data, dirty), stream::more_data);
}

TEST_F(return_verdict, what_a_protocol_reads_is_kept_unless_the_stream_is_broken) {
  speak(read_by_its_run{});
  managed_connection& one = connect_managed();
  one.read_by_run = true;
  constexpr std::uint32_t habits = stream::has_data | stream::more_data | stream::reading |
                                   stream::writing | stream::interrupted | stream::wrote_last;
  EXPECT_EQ(faults_with(one, habits, ~0U), 0U);
  EXPECT_FALSE(with(one, habits, verdict::is_broken));
  for (const std::uint32_t broken : broken_conditions) {
    EXPECT_EQ(faults_with(one, habits | broken, ~0U), broken);
    EXPECT_TRUE(with(one, broken, verdict::is_broken));
  }
}

TEST_F(return_verdict, a_protocol_reads_while_its_run_does_or_several_leases_share) {
  speak(read_by_its_run{});
  struct {
    bool running, read_by_run, shared;
    bool by_run, by_protocol;
  } const rows[] = {
      {false, false, false, false, false}, {true, false, false, false, false},
      {false, true, false, false, false},  {true, true, false, true, true},
      {false, false, true, false, true},   {true, false, true, true, true},
  };
  managed_connection& one = as_managed(connect());
  for (const auto& row : rows) {
    one.running = row.running;
    one.read_by_run = row.read_by_run;
    one.shared = row.shared;
    EXPECT_EQ(verdict::read_by_run(one), row.by_run) << &row - rows;
    EXPECT_EQ(verdict::read_by_protocol(one), row.by_protocol) << &row - rows;
  }
}

TEST_F(return_verdict, without_a_protocol_nobody_but_its_user_reads) {
  pooled_connection& one = connect();
  EXPECT_FALSE(verdict::read_by_run(one));
  EXPECT_FALSE(verdict::read_by_protocol(one));
}

// --- unwanted

TEST_F(return_verdict, a_clean_connection_is_unwanted_for_its_age_a_limit_or_the_end) {
  pooled_connection& one = connect();
  constexpr std::uint32_t generation = 3;
  one.generation = generation;
  const auto said = [&] {
    return verdict::unwanted(one, facts(), generation);
  };
  EXPECT_EQ(said(), std::nullopt);

  // Each comes before those above it, so none is taken back.
  struct {
    close_reason why;
    std::function<void()> happens;
  } const rows[] = {
      {close_reason::over_limit,
       [&] {
         settings().max_connections_per_endpoint = 1;
         counts().connecting = 1;
       }},
      {close_reason::uses,
       [&] {
         settings().max_connection_uses = one.times_lent = 2;
       }},
      {close_reason::lifetime,
       [&] {
         one.retire_at = home().now();
       }},
      {close_reason::cleared,
       [&] {
         one.generation = generation - 1;
       }},
      {close_reason::retired,
       [&] {
         one.retiring = true;
         one.reason = close_reason::retired;
         ++counts().retiring;
       }},
      {close_reason::pool_closed,
       [&] {
         facts().shut_down = true;
       }},
  };
  for (const auto& row : rows) {
    row.happens();
    EXPECT_EQ(said(), row.why) << to_string(row.why);
  }
  counts().connecting = 0;
  facts().shut_down = false;
}

TEST_F(return_verdict, age_and_uses_count_from_the_moment_that_they_are_reached) {
  pooled_connection& one = connect();
  const auto said = [&] {
    return verdict::unwanted(one, facts(), 0);
  };
  one.retire_at = home().now() + 1ms;
  settings().max_connection_uses = 2;
  one.times_lent = 1;
  settings().max_connections_per_endpoint = 1;
  EXPECT_EQ(said(), std::nullopt);
  one.times_lent = 2;
  EXPECT_EQ(said(), close_reason::uses);
  pass(1ms);
  EXPECT_EQ(said(), close_reason::lifetime);
  settings().max_connection_uses = 0;
  one.retire_at = time_point::max();
  EXPECT_EQ(said(), std::nullopt) << "0 is no limit";
}

TEST_F(return_verdict, the_limit_over_all_endpoints_counts_as_well) {
  pooled_connection& one = connect();
  settings().max_connections = 1;
  pool().cap().opened();
  EXPECT_EQ(verdict::unwanted(one, facts(), 0), std::nullopt);
  pool().cap().opened();
  EXPECT_EQ(verdict::unwanted(one, facts(), 0), close_reason::over_limit);
}

// --- settle_codec

TEST_F(return_verdict, what_was_left_unread_may_be_for_the_codec_alone) {
  const std::string answer = toy_codec::frame('D', "answer");
  const std::string ticket = toy_codec::frame('N', "ticket");
  struct {
    const char* what;
    std::string left;
    std::optional<close_reason> verdict;
  } const rows[] = {
      {"noise", ticket, std::nullopt},
      {"an answer", answer, close_reason::unread_data},
      {"an answer behind noise", ticket + answer, close_reason::unread_data},
      {"a part of a frame", ticket.substr(0, 4), close_reason::unread_data},
      {"the end", toy_codec::frame('E', ""), std::nullopt},
      {"what the codec refuses", toy_codec::frame('?', ""), close_reason::io_error},
  };
  for (const auto& row : rows) {
    pooled_connection& one = connect();
    one.use_codec(std::make_unique<toy_codec>());
    EXPECT_EQ(verdict::settle_codec(one), std::nullopt) << "nothing was left";
    one.post_receive();
    send_all(far_end_of(one), row.left);
    ASSERT_TRUE(until([&] { return !one.receive_posted(); }));
    EXPECT_EQ(verdict::settle_codec(one), row.verdict) << row.what;
  }
}

TEST_F(return_verdict, a_codec_is_given_nothing_while_somebody_reads_or_the_stream_is_broken) {
  for (const std::uint32_t of_no_use :
       {stream::reading, stream::writing, stream::ended, stream::failed, stream::torn}) {
    pooled_connection& one = connect();
    one.use_codec(std::make_unique<toy_codec>());
    one.post_receive();
    send_all(far_end_of(one), toy_codec::frame('D', "answer"));
    ASSERT_TRUE(until([&] { return !one.receive_posted(); }));
    one.mark(of_no_use);
    EXPECT_EQ(verdict::settle_codec(one), std::nullopt) << std::hex << of_no_use;
    EXPECT_NE(one.conditions() & stream::has_data, 0U);
    one.clear(of_no_use);
    EXPECT_EQ(verdict::settle_codec(one), close_reason::unread_data);
  }
}

}  // namespace
}  // namespace conpool::test

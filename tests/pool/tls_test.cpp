// TLS in the pool: lending, reuse, what arrives while idle, what a lease leaves, and the ends.
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <conpool/runtime/scope.h>
#include <conpool/tls/detail/profile_on_shard.h>
#include <conpool/tls/handshake.h>

#include <tests/pool/tls_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

TEST_F(pool_tls, requests_are_answered_over_one_connection_that_says_what_it_is) {
  const endpoint there = to();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(request(there, "hello").value(), "hello");
  const pool_stats sum = totals();
  EXPECT_EQ(sum.created, 1U);
  EXPECT_EQ(sum.reused, 4U);
  EXPECT_EQ(sum.handshakes, 1U);
  EXPECT_EQ(sum.insecure, 0U);
  ASSERT_TRUE(run([&]() -> task<void> {
    auto lease = co_await backends().acquire(there);
    CO_ASSERT_OK(lease);
    const tls::connection_info* seen = (*lease)->tls();
    EXPECT_NE(seen, nullptr);
    if (seen == nullptr) co_return;
    EXPECT_EQ(seen->version(), tls::version::tls_1_3);
    EXPECT_FALSE(seen->cipher().empty());
    EXPECT_FALSE(seen->resumed());
  }));
}

TEST_F(pool_tls, messages_of_a_megabyte_go_both_ways) {
  std::string text(1 << 20, '\0');
  std::uint32_t state = 1;
  for (char& each : text) each = static_cast<char>((state = state * 1664525U + 1013904223U) >> 24);
  const endpoint there = to();
  bool written = false;
  std::string answer(text.size(), '\0');
  ASSERT_TRUE(run([&]() -> task<void> {
    auto lease = co_await backends().acquire(there);
    CO_ASSERT_OK(lease);
    scope writers(home());
    writers.spawn([&]() -> task<void> {
      auto sent = co_await (*lease)->write(text);
      written = sent.has_value();
    });
    auto got = co_await (*lease)->read_exactly(std::span<char>(answer));
    CO_ASSERT_OK(got);
    EXPECT_EQ((*lease)->bytes_received(), text.size());
    while (writers.running() > 0) co_await home().yield();
    EXPECT_EQ((*lease)->bytes_sent(), text.size());
  }));
  EXPECT_TRUE(written);
  EXPECT_TRUE(answer == text);
  EXPECT_EQ(totals().idle, 1U);
}

TEST_F(pool_tls, a_buffered_reader_over_tls_leaves_a_connection_clean_or_dirty) {
  const endpoint there = to();
  for (const bool all : {true, false}) {
    ASSERT_TRUE(run([&]() -> task<void> {
      auto lease = co_await backends().acquire(there);
      CO_ASSERT_OK(lease);
      const std::array<const_buffer, 3> pieces{"one\n", "two", "\n"};
      auto sent = co_await (*lease)->write(pieces);
      CO_ASSERT_OK(sent);
      buffered_reader in(**lease);
      auto first = co_await in.read_until("\n");
      CO_ASSERT_OK(first);
      EXPECT_EQ(*first, "one");
      auto second = co_await in.peek(4);
      CO_ASSERT_OK(second);
      EXPECT_EQ(*second, "two\n");
      if (all) in.consume(4);
    }));
    settle();
    EXPECT_EQ(totals().idle, all ? 1U : 0U);
  }
  EXPECT_EQ(closed(close_reason::unread_data), 1U);
}

TEST_F(pool_tls, an_exchange_over_tls_is_one_call) {
  const endpoint there = to();
  const std::string text(200'000, 'x');
  std::string answer(text.size(), '\0');
  ASSERT_TRUE(run([&]() -> task<void> {
    auto lease = co_await backends().acquire(there);
    CO_ASSERT_OK(lease);
    auto got = co_await (*lease)->exchange(text, answer, answer.size());
    CO_ASSERT_OK(got);
  }));
  EXPECT_TRUE(answer == text);
  EXPECT_EQ(totals().idle, 1U);
}

// What was peeked at belongs to the handshake, which reads it first.
TEST_F(pool_tls, a_server_may_look_at_the_first_byte_before_it_begins_tls) {
  socket_pair pair = tcp_pair();
  conpool::socket server = adopt(pair.far);
  conpool::socket client = adopt(pair.near);
  std::shared_ptr<tls::server_profile> identity =
      tls::server_profile::make(home(), server_options()).value();
  const tls::profile_ptr as = tls::profile::make(client_options()).value();
  bool served = false;
  start(
      [&]() -> task<void> {
        buffered_reader in(*server);
        auto first = co_await in.peek();
        CO_ASSERT_OK(first);
        EXPECT_EQ(first->front(), '\x16') << "a handshake record";
        auto accepting = tls::accept(*server, std::move(identity), home().now() + 5s);
        auto accepted = co_await accepting;
        CO_ASSERT_OK(accepted);
      },
      served);
  ASSERT_TRUE(run([&]() -> task<void> {
    auto connecting = tls::connect(*client, as, home().now() + 5s);
    auto connected = co_await connecting;
    CO_ASSERT_OK(connected);
  }));
  EXPECT_TRUE(until([&] { return served; }));
}

TEST_F(pool_tls, the_next_connection_resumes_the_session_of_the_last) {
  const endpoint there = to();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(request(there, "hello").value(), "hello");
    backends().clear(there);
    settle();
  }
  EXPECT_EQ(totals().handshakes, 10U);
  EXPECT_EQ(totals().resumed, 9U);
}

TEST_F(pool_tls, a_wrong_name_is_the_callers_error_and_counts_as_a_failed_connect) {
  const auto failed = request(to(client_options("other.example.com")), "hello");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error(), errc::certificate_host_mismatch);
  EXPECT_EQ(failed.error().where(), phase::handshake);
  EXPECT_EQ(failed.error().subject(), peer().at().text());
  EXPECT_NE(failed.error().detail().find("other.example.com"), std::string_view::npos);
  EXPECT_EQ(totals().connect_failures, 1U);
  EXPECT_EQ(totals().handshakes_failed, 1U);
  EXPECT_EQ(totals().closed(close_reason::connect_failed), 1U);
}

TEST_F(pool_tls, insecure_accepts_it_and_is_counted) {
  tls::profile_options options;
  options.insecure = true;
  EXPECT_EQ(request(to(std::move(options)), "hello").value(), "hello");
  EXPECT_EQ(totals().insecure, 1U);
}

TEST_F(pool_tls, T34_a_handshake_that_stalls_ends_at_its_timeout_and_frees_the_slot) {
  peer().stall(true);
  const endpoint there = to();
  auto waiting = start_on(home(), ask(there, "hello"));
  settle();
  EXPECT_EQ(totals().connecting, 1U);
  ASSERT_TRUE(
      run_until(home(), [&] { return waiting->has_value(); }, [&] { clock().advance(50ms); }));
  ASSERT_FALSE(**waiting);
  EXPECT_EQ((*waiting)->error(), errc::handshake_timeout);
  EXPECT_EQ((*waiting)->error().where(), phase::handshake);
  EXPECT_EQ(totals().connect_timeouts, 1U);
  EXPECT_EQ(totals().connecting, 0U);
  EXPECT_EQ(totals().created, totals().closed());
}

// The server's tickets arrive when the connection is idle already: it stays, and they are used.
TEST_F(pool_tls, T28_tickets_that_come_while_idle_are_kept) {
  const endpoint there = to();
  warm(there);
  settle();
  EXPECT_EQ(totals().idle, 1U);
  const std::uint32_t profile = there.profile()->id();
  EXPECT_EQ(here().resources().sessions().count(profile, there.text()), 2U);
  EXPECT_EQ(request(there, "hello").value(), "hello");
  EXPECT_EQ(totals().created, 1U);
  backends().clear(there);
  EXPECT_EQ(request(there, "again").value(), "again");
  EXPECT_EQ(totals().resumed, 1U);
}

TEST_F(pool_tls, T29_a_close_notify_while_idle_ends_the_connection) {
  const endpoint there = to();
  EXPECT_EQ(request(there, "hello").value(), "hello");
  settle();
  ASSERT_EQ(totals().idle, 1U);
  const auto session = peer().sessions().front();
  peer().close_all();
  ASSERT_TRUE(until([&] { return totals().closed() == 1; }));
  EXPECT_EQ(totals().closed(close_reason::peer_closed), 1U);
  EXPECT_EQ(request(there, "again").value(), "again");
  EXPECT_EQ(totals().created, 2U);
}

// A FIN without close_notify: nothing was cut off while it was idle, so it is simply closed.
TEST_F(pool_tls, T29_an_end_without_close_notify_while_idle_ends_the_connection) {
  const endpoint there = to();
  EXPECT_EQ(request(there, "hello").value(), "hello");
  settle();
  peer().cut_all();
  ASSERT_TRUE(until([&] { return totals().closed() == 1; }));
  EXPECT_EQ(totals().closed(close_reason::peer_closed), 1U);
}

TEST_F(pool_tls, T30_a_key_update_while_idle_leaves_the_connection_usable) {
  const endpoint there = to();
  EXPECT_EQ(request(there, "hello").value(), "hello");
  for (int i = 0; i < 3; ++i) {
    peer().update_keys(true);
    settle();
    EXPECT_EQ(totals().idle, 1U);
    EXPECT_EQ(request(there, "hello").value(), "hello");
  }
  EXPECT_EQ(totals().created, 1U);
}

TEST_F(pool_tls, data_while_idle_ends_the_connection) {
  const endpoint there = to();
  EXPECT_EQ(request(there, "hello").value(), "hello");
  settle();
  peer().send_to_all("you did not ask");
  ASSERT_TRUE(until([&] { return totals().closed() == 1; }));
  EXPECT_EQ(totals().closed(close_reason::unexpected_data), 1U);
}

TEST_F(pool_tls, a_greeting_waits_for_the_first_lease) {
  pool_config config;
  config.server_speaks_first = true;
  configure(config);
  peer().greet_with("220 ready\r\n");
  const endpoint there = to();
  warm(there);
  settle();
  EXPECT_EQ(totals().idle, 1U);
  ASSERT_TRUE(run([&]() -> task<void> {
    auto lease = co_await backends().acquire(there);
    CO_ASSERT_OK(lease);
    std::array<char, 11> memory{};
    auto got = co_await (*lease)->read_exactly(std::span<char>(memory));
    CO_ASSERT_OK(got);
    EXPECT_EQ(std::string(memory.data(), memory.size()), "220 ready\r\n");
  }));
  EXPECT_EQ(totals().created, 1U);
}

// Bytes arrive after the final response: the next caller must not see them.
TEST_F(pool_tls, bytes_behind_the_answer_end_the_connection) {
  peer().append("stray");
  const endpoint there = to();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(request(there, "hello").value(), "hello");
  settle();
  EXPECT_EQ(totals().reused, 0U);
  EXPECT_EQ(totals().closed(close_reason::unread_data), 20U);
}

TEST_F(pool_tls, a_cut_in_the_middle_of_an_answer_is_truncation) {
  const endpoint there = to();
  std::optional<errc> why;
  ASSERT_TRUE(run([&]() -> task<void> {
    auto lease = co_await backends().acquire(there);
    CO_ASSERT_OK(lease);
    auto sent = co_await (*lease)->write("hello");
    CO_ASSERT_OK(sent);
    std::array<char, 5> memory{};
    auto got = co_await (*lease)->read_exactly(std::span<char>(memory));
    CO_ASSERT_OK(got);
    peer().cut_all();
    auto more = co_await (*lease)->read(std::span<char>(memory));
    if (!more) why = more.error().kind();
  }));
  EXPECT_EQ(why, errc::truncated);
  EXPECT_EQ(totals().idle, 0U);
}

TEST_F(pool_tls, under_probe_it_is_watched_all_the_same) {
  pool_config config;
  config.validation = validation_policy::probe;
  configure(config);
  const endpoint there = to();
  EXPECT_EQ(request(there, "hello").value(), "hello");
  peer().update_keys(false);
  settle();
  EXPECT_EQ(request(there, "hello").value(), "hello");
  EXPECT_EQ(totals().created, 1U);
  EXPECT_EQ(totals().probes, 0U);
  peer().close_all();
  settle();
  EXPECT_EQ(request(there, "hello").value(), "hello");
  EXPECT_EQ(totals().created, 2U);
}

TEST_F(pool_tls, descriptors_neither_come_in_nor_go_out) {
  const endpoint there = to();
  const result<void> adopted = backends().adopt(there, 0);
  ASSERT_FALSE(adopted);
  EXPECT_EQ(adopted.error(), errc::unsupported);
  std::optional<errc> why;
  ASSERT_TRUE(run([&]() -> task<void> {
    auto lease = co_await backends().acquire(there);
    CO_ASSERT_OK(lease);
    auto gone = co_await lease->detach();
    if (!gone) why = gone.error().kind();
  }));
  EXPECT_EQ(why, errc::unsupported);
}

// Cancelled at each turn of the dial, the handshake, the write and the read: nothing is lost or
// hung, and the connection serves whoever comes next, or is closed.
TEST_F(pool_tls, a_request_cancelled_at_any_turn_leaves_nothing_behind) {
  const endpoint there = to();
  for (unsigned turns = 0; turns < 24; ++turns) {
    SCOPED_TRACE(turns);
    backends().clear(there);
    scope callers(home());
    bool ended = false;
    callers.spawn([&]() -> task<void> {
      auto work = ask(there, "hello");
      auto got = co_await work;
      ended = true;
    });
    for (unsigned i = 0; i < turns; ++i) home().run_once(0ms);
    callers.cancel();
    ASSERT_TRUE(until([&] { return ended && callers.running() == 0; }));
    ASSERT_EQ(request(there, "next").value(), "next");
    EXPECT_TRUE(add_up(totals()));
  }
}

// The same for the whole pool, whose close cancels its dials.
TEST_F(pool_tls, a_pool_closed_at_any_turn_of_a_handshake_leaves_nothing_behind) {
  const endpoint there = to();
  for (unsigned turns = 0; turns < 24; ++turns) {
    SCOPED_TRACE(turns);
    configure({});
    const auto got = start_on(home(), ask(there, "hello"));
    for (unsigned i = 0; i < turns; ++i) home().run_once(0ms);
    ASSERT_TRUE(run([this]() -> task<void> {
      auto closed = co_await backends().close();
      EXPECT_TRUE(closed);
    }));
    ASSERT_TRUE(until([&] { return got->has_value(); }));
  }
}

TEST_F(pool_tls, handshakes_wait_for_a_turn_in_which_there_is_time) {
  // The clock is set by hand, so handshakes take no time, and none has to wait.
  const endpoint there = to();
  EXPECT_EQ(request(there, "hello").value(), "hello");
  EXPECT_EQ(here().handshakes().times_waited(), 0U);
}

class pool_tls_turns : public pool_tls {
 protected:
  // With a connected socket, in a turn that has no time left for handshakes.
  void when_busy(std::function<task<void>(stream&)> body) {
    ASSERT_TRUE(run([this, &body]() -> task<void> {
      const auto address = socket_address::ip("127.0.0.1", to().port());
      const socket_options plain;
      auto raw = co_await connect_socket(home(), *address, plain, 5s);
      CO_ASSERT_OK(raw);
      {
        auto place = co_await here().handshakes().enter(home().now() + 5s);
        CO_ASSERT_OK(place);
        clock().advance(2ms);
      }
      auto work = body(**raw);
      co_await work;
    }));
  }
  std::size_t channels() {
    return here().resources().config_for(to().profile()).value()->channels();
  }
};

TEST_F(pool_tls_turns, a_handshake_that_waits_for_its_turn_has_made_nothing_yet) {
  // Sessions and their memory take microseconds each: a thousand of them, made before their turn,
  // would hold up the shard for milliseconds.
  when_busy([this](stream& raw) -> task<void> {
    bool done = false;
    scope waiting(home());
    waiting.spawn([&]() -> task<void> {
      auto secured = co_await tls::connect(raw, to().profile(), home().now() + 5s);
      CO_ASSERT_OK(secured);
      done = true;
    });
    for (int i = 0; i < 3; ++i) co_await home().yield();
    EXPECT_GE(here().handshakes().times_waited(), 1U);
    EXPECT_EQ(channels(), 0U);
    while (!done) co_await home().yield();
    EXPECT_EQ(channels(), 1U);
  });
}

TEST_F(pool_tls_turns, a_handshake_whose_turn_does_not_come_in_time_says_so) {
  when_busy([this](stream& raw) -> task<void> {
    const time_point deadline = home().now() + 1ms;
    clock().advance(5ms);  // the turn takes longer than that
    auto secured = co_await tls::connect(raw, to().profile(), deadline);
    EXPECT_FALSE(secured);
    if (secured) co_return;
    EXPECT_EQ(secured.error(), errc::handshake_timeout);
    EXPECT_EQ(secured.error().where(), phase::handshake);
    EXPECT_EQ(secured.error().detail(), "the shard was busy with other handshakes");
    EXPECT_EQ(channels(), 0U);
  });
}

}  // namespace
}  // namespace conpool::test

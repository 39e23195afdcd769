// What the pool knows of a connection before it lends it, alone: what is posted on it, what a look
// finds, and what something that arrives means.
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <conpool/pool/detail/connection_watch.h>

#include <tests/pool/parts/parts_fixture.h>
#include <tests/support/toy_codec.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;
using what = watch_finding::kind;

::testing::AssertionResult is(const watch_finding& found, what kind, close_reason why) {
  if (found.what == kind && found.why == why) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "kind " << static_cast<int>(found.what) << ", " << to_string(found.why);
}
::testing::AssertionResult is_alive(const watch_finding& found) {
  return is(found, what::alive, found.why);
}
::testing::AssertionResult is_gone(const watch_finding& found, close_reason why) {
  return is(found, what::gone, why);
}

struct takes_idle_data {
  struct state {};
  idle_data on_idle_data(connection&, state&, std::span<const std::byte>) {
    return idle_data::keep;
  }
};

class connection_watch : public parts_fixture {
 protected:
  conpool::connection_watch watch() { return conpool::connection_watch(facts()); }
  watch_finding look_under(validation_policy policy, pooled_connection& one) {
    const validation_policy before = settings().validation;
    settings().validation = policy;
    const watch_finding found = watch().look(one);
    settings().validation = before;
    return found;
  }
  // The kernel gets what was prepared.
  void submit() { home().run_once(duration::zero()); }

  // What the look at a connection finds on which the peer does something while nobody watches it.
  template <typename Peer>
  watch_finding found_in_socket(Peer peer, unsigned times_lent) {
    pooled_connection& one = connect(tcp_pair());
    one.times_lent = times_lent;
    peer(far_end_of(one));
    EXPECT_TRUE(is_alive(look_under(validation_policy::none, one))) << "the socket is not asked";
    return watch().look(one);
  }
  // The same while a receive is posted, when that has completed.
  template <typename Peer>
  watch_finding found_on_arrival(Peer peer, unsigned times_lent,
                                 std::unique_ptr<codec> speaks = nullptr) {
    pooled_connection& one = connect(tcp_pair());
    one.times_lent = times_lent;
    if (speaks) one.use_codec(std::move(speaks));
    watch().begin(one);
    EXPECT_TRUE(one.receive_posted());
    peer(far_end_of(one));
    EXPECT_TRUE(until([&] { return !one.receive_posted(); }));
    const watch_finding found = watch().arrived(one);
    watched_again_ = one.receive_posted();
    return found;
  }
  bool watched_again() const { return watched_again_; }

  static void sends(unique_fd& peer) { send_all(peer, "hello"); }
  static void ends(unique_fd& peer) { peer.reset(); }
  static void resets(unique_fd& peer) { peer.reset_connection(); }
  static void does_nothing(unique_fd&) {}

 private:
  bool watched_again_ = false;
};

// --- The watch

TEST_F(connection_watch, a_connection_is_watched_from_its_push_unless_probes_ask_instead) {
  for (const validation_policy policy : {validation_policy::watch, validation_policy::ping,
                                         validation_policy::none, validation_policy::probe}) {
    settings().validation = policy;
    pooled_connection& one = connect();
    watch().begin(one);
    EXPECT_EQ(one.receive_posted(), policy != validation_policy::probe) << to_string(policy);
  }
}

TEST_F(connection_watch, one_with_a_codec_is_watched_under_every_policy) {
  settings().validation = validation_policy::probe;
  pooled_connection& one = connect();
  one.use_codec(std::make_unique<toy_codec>());
  watch().begin(one);
  EXPECT_TRUE(one.receive_posted());
}

TEST_F(connection_watch, nothing_is_posted_where_bytes_wait_or_somebody_reads) {
  for (const std::uint32_t taken : {stream::has_data, stream::reading}) {
    pooled_connection& one = connect();
    one.mark(taken);
    watch().begin(one);
    EXPECT_FALSE(one.receive_posted());
    one.clear(taken);
    watch().begin(one);
    EXPECT_TRUE(one.receive_posted());
    watch().begin(one);  // and only once
  }
}

struct run_reads {
  struct state {};
  task<void> run(connection&, state&) { co_return; }
};

TEST_F(connection_watch, what_run_reads_needs_no_watch) {
  speak(run_reads{});
  managed_connection& one = as_managed(connect());
  one.running = true;
  watch().begin(one);
  EXPECT_FALSE(one.receive_posted()) << "whether run() reads is known when it is lent";
  one.times_lent = 1;
  one.read_by_run = true;
  watch().begin(one);
  EXPECT_FALSE(one.receive_posted());
  one.read_by_run = false;
  watch().begin(one);
  EXPECT_TRUE(one.receive_posted());
}

// --- A look at one that may be lent

TEST_F(connection_watch, a_watched_connection_is_alive_unless_it_is_broken) {
  pooled_connection& one = connect();
  watch().begin(one);
  EXPECT_TRUE(is_alive(watch().look(one)));
  one.mark(stream::ended);
  EXPECT_TRUE(is_gone(watch().look(one), close_reason::peer_closed));
  EXPECT_TRUE(is_gone(look_under(validation_policy::none, one), close_reason::peer_closed));
}

TEST_F(connection_watch, the_socket_is_asked_where_nothing_is_posted) {
  EXPECT_TRUE(is_alive(found_in_socket(does_nothing, 0)));
  EXPECT_TRUE(is_alive(found_in_socket(does_nothing, 1)));
  EXPECT_TRUE(is_gone(found_in_socket(sends, 0), close_reason::unexpected_data));
  EXPECT_TRUE(is_gone(found_in_socket(sends, 1), close_reason::unexpected_data));
  EXPECT_TRUE(is_gone(found_in_socket(ends, 0), close_reason::peer_closed));
  EXPECT_TRUE(is_gone(found_in_socket(ends, 1), close_reason::peer_closed));
  EXPECT_TRUE(is_gone(found_in_socket(resets, 0), close_reason::peer_reset));
}

TEST_F(connection_watch, a_receive_that_is_only_prepared_tells_nothing) {
  pooled_connection& one = connect(tcp_pair());
  one.times_lent = 1;
  watch().begin(one);
  ends(far_end_of(one));
  EXPECT_TRUE(one.receive_posted());
  EXPECT_FALSE(one.receive_in_kernel(home().ring()));
  EXPECT_TRUE(is_gone(watch().look(one), close_reason::peer_closed)) << "the socket is asked";
}

TEST_F(connection_watch, a_receive_that_the_kernel_has_is_relied_on) {
  pooled_connection& one = connect(tcp_pair());
  watch().begin(one);
  submit();
  EXPECT_TRUE(one.receive_in_kernel(home().ring()));
  ends(far_end_of(one));
  EXPECT_TRUE(is_alive(watch().look(one))) << "what completed is to be harvested before";
  EXPECT_TRUE(home().ring().completions_pending());
}

TEST_F(connection_watch, the_answer_of_a_check_holds_for_some_time_from_its_question_on) {
  settings().validation = validation_policy::probe;
  pooled_connection& one = connect(tcp_pair());
  one.times_lent = 1;
  one.checked_at = home().now() - conpool::connection_watch::answer_holds;
  ends(far_end_of(one));
  EXPECT_TRUE(is_alive(watch().look(one)));
  one.checked_at -= 1ns;
  EXPECT_TRUE(is_gone(watch().look(one), close_reason::peer_closed));
}

// A peek sees the bytes, and not the end that may be behind them.
TEST_F(connection_watch, an_answer_that_found_bytes_says_nothing_of_what_is_behind_them) {
  speak(takes_idle_data{});
  settings().validation = validation_policy::probe;
  pooled_connection& one = connect(tcp_pair());
  one.times_lent = 1;
  one.checked_at = home().read_clock();
  one.mark(stream::more_data);
  EXPECT_TRUE(is(watch().answered(one), what::for_protocol, close_reason::unexpected_data));
  one.clear(stream::more_data);  // its protocol has taken them
  ends(far_end_of(one));
  EXPECT_TRUE(is_gone(watch().look(one), close_reason::peer_closed));
}

TEST_F(connection_watch, bytes_before_the_first_lease_are_a_greeting_if_the_server_speaks_first) {
  settings().server_speaks_first = true;
  EXPECT_TRUE(is_alive(found_in_socket(sends, 0)));
  EXPECT_TRUE(is_gone(found_in_socket(sends, 1), close_reason::unexpected_data));
  EXPECT_TRUE(is_alive(found_on_arrival(sends, 0)));
  EXPECT_TRUE(watched_again()) << "for the end behind it";
  EXPECT_TRUE(is_gone(found_on_arrival(sends, 1), close_reason::unexpected_data));
}

struct greeted {
  static constexpr bool server_speaks_first = true;
  struct state {};
};

TEST_F(connection_watch, a_protocol_may_say_that_its_servers_speak_first) {
  speak(greeted{});
  EXPECT_TRUE(is_alive(found_in_socket(sends, 0)));
  EXPECT_TRUE(is_alive(found_on_arrival(sends, 0)));
}

TEST_F(connection_watch, the_end_behind_a_greeting_is_seen) {
  settings().server_speaks_first = true;
  pooled_connection& one = connect(tcp_pair());
  watch().begin(one);
  sends(far_end_of(one));
  EXPECT_TRUE(until([&] { return !one.receive_posted(); }));
  EXPECT_TRUE(is_alive(watch().arrived(one)));
  submit();
  ends(far_end_of(one));
  EXPECT_TRUE(until([&] { return !one.receive_posted(); }));
  EXPECT_TRUE(is_gone(watch().arrived(one), close_reason::peer_closed));
}

TEST_F(connection_watch, bytes_in_the_socket_are_for_a_protocol_that_wants_them) {
  speak(takes_idle_data{});
  EXPECT_TRUE(is(found_in_socket(sends, 1), what::for_protocol, close_reason::unexpected_data));
  EXPECT_TRUE(is_gone(found_in_socket(ends, 1), close_reason::peer_closed));
}

// --- Something has arrived

TEST_F(connection_watch, an_end_or_a_reset_that_arrives_closes) {
  EXPECT_TRUE(is_gone(found_on_arrival(ends, 0), close_reason::peer_closed));
  EXPECT_TRUE(is_gone(found_on_arrival(resets, 1), close_reason::peer_reset));
}

TEST_F(connection_watch, bytes_that_arrive_unasked_close) {
  EXPECT_TRUE(is_gone(found_on_arrival(sends, 0), close_reason::unexpected_data));
  EXPECT_TRUE(is_gone(found_on_arrival(sends, 1), close_reason::unexpected_data));
}

TEST_F(connection_watch, bytes_that_arrive_are_for_a_protocol_that_wants_them) {
  speak(takes_idle_data{});
  EXPECT_TRUE(is(found_on_arrival(sends, 1), what::for_protocol, close_reason::unexpected_data));
  EXPECT_TRUE(is(found_on_arrival(sends, 0), what::for_protocol, close_reason::unexpected_data));
}

// Without a buffer the kernel only says that something is there.
TEST_F(connection_watch, the_socket_is_asked_when_nothing_was_received) {
  pooled_connection& one = connect(tcp_pair());
  one.times_lent = 1;
  EXPECT_TRUE(is_alive(watch().arrived(one)));
  EXPECT_TRUE(one.receive_posted()) << "it was nothing";
}

TEST_F(connection_watch, a_codec_is_asked_what_has_arrived) {
  const auto frame = [](char kind, std::string_view body) {
    return [kind, body](unique_fd& peer) {
      send_all(peer, toy_codec::frame(kind, body));
    };
  };
  const auto arrival = [&](char kind, unsigned times_lent) {
    return found_on_arrival(frame(kind, "body"), times_lent, std::make_unique<toy_codec>());
  };
  EXPECT_TRUE(is_alive(arrival('N', 1)));
  EXPECT_TRUE(watched_again()) << "its own business";
  EXPECT_TRUE(is_gone(arrival('D', 0), close_reason::unexpected_data));
  settings().server_speaks_first = true;
  EXPECT_TRUE(is_alive(arrival('D', 0))) << "a greeting";
  EXPECT_TRUE(is_gone(arrival('D', 1), close_reason::unexpected_data));
  EXPECT_TRUE(is_gone(arrival('E', 1), close_reason::peer_closed));
  EXPECT_TRUE(is_gone(arrival('?', 1), close_reason::io_error));
}

}  // namespace
}  // namespace conpool::test

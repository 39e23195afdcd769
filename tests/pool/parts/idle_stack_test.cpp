// The stack of idle connections alone: its order, its counts, the watch, and what a look at a
// connection finds.
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <conpool/pool/detail/idle_stack.h>

#include <tests/pool/parts/parts_fixture.h>
#include <tests/support/toy_codec.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;
using what = idle_finding::kind;

::testing::AssertionResult is(const idle_finding& found, what kind, close_reason why) {
  if (found.what == kind && found.why == why) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "kind " << static_cast<int>(found.what) << ", " << to_string(found.why);
}
::testing::AssertionResult is_alive(const idle_finding& found) {
  return is(found, what::alive, found.why);
}
::testing::AssertionResult is_gone(const idle_finding& found, close_reason why) {
  return is(found, what::gone, why);
}

struct takes_idle_data {
  struct state {};
  idle_data on_idle_data(connection&, state&, std::span<const std::byte>) {
    return idle_data::keep;
  }
};

class idle_stack : public parts_fixture {
 protected:
  void TearDown() override {
    if (idle_) {
      while (!idle_->empty()) idle_->take(idle_->top());
    }
    parts_fixture::TearDown();
  }

  conpool::idle_stack& idle() {
    if (!idle_) idle_.emplace(facts());
    return *idle_;
  }
  // From the top to the bottom.
  std::vector<const pooled_connection*> order() {
    std::vector<const pooled_connection*> listed;
    for (const pooled_connection& one : idle()) listed.push_back(&one);
    return listed;
  }
  using connections = std::vector<const pooled_connection*>;

  // What the look at a connection finds on which the peer does something while nobody watches it.
  template <typename Peer>
  idle_finding found_in_socket(Peer peer, unsigned times_lent) {
    pooled_connection& one = connect(tcp_pair());
    one.times_lent = times_lent;
    peer(far_end_of(one));
    EXPECT_TRUE(is_alive(idle().look_at(one, false))) << "the socket is not asked";
    return idle().look_at(one, true);
  }
  // The same while a receive is posted, when that has completed.
  template <typename Peer>
  idle_finding found_on_arrival(Peer peer, unsigned times_lent,
                                std::unique_ptr<codec> speaks = nullptr) {
    pooled_connection& one = connect(tcp_pair());
    one.times_lent = times_lent;
    if (speaks) one.use_codec(std::move(speaks));
    idle().watch(one);
    EXPECT_TRUE(one.receive_posted());
    peer(far_end_of(one));
    EXPECT_TRUE(until([&] { return !one.receive_posted(); }));
    const idle_finding found = idle().look_at_arrival(one);
    watched_again_ = one.receive_posted();
    return found;
  }
  bool watched_again() const { return watched_again_; }

  static void sends(unique_fd& peer) { send_all(peer, "hello"); }
  static void ends(unique_fd& peer) { peer.reset(); }
  static void resets(unique_fd& peer) { peer.reset_connection(); }
  static void does_nothing(unique_fd&) {}

 private:
  std::optional<conpool::idle_stack> idle_;
  bool watched_again_ = false;
};

// --- Order and counts

TEST_F(idle_stack, the_last_returned_is_on_top_and_the_first_returned_is_coldest) {
  pooled_connection& a = connect_used(1s);
  pooled_connection& b = connect_used(2s);
  pooled_connection& c = connect_used(3s);
  EXPECT_TRUE(idle().empty());
  for (pooled_connection* one : {&a, &b, &c}) idle().push(*one);
  EXPECT_FALSE(idle().empty());
  EXPECT_EQ(&idle().top(), &c);
  EXPECT_EQ(&idle().coldest(), &a);
  EXPECT_EQ(order(), (connections{&c, &b, &a}));
  idle().take(b);
  EXPECT_EQ(order(), (connections{&c, &a}));
  b.last_used = c.last_used;  // in the same turn: the later return is on top
  idle().push(b);
  EXPECT_EQ(order(), (connections{&b, &c, &a}));
}

TEST_F(idle_stack, one_that_was_only_checked_is_as_cold_as_before) {
  settings().validation = validation_policy::probe;  // a check leaves no receive posted
  pooled_connection& a = connect_used(1s);
  pooled_connection& b = connect_used(2s);
  pooled_connection& c = connect_used(3s);
  for (pooled_connection* one : {&a, &b, &c}) idle().push(*one);
  for (pooled_connection* checked : {&a, &b, &c}) {
    idle().take(*checked);
    idle().push(*checked);
    EXPECT_EQ(order(), (connections{&c, &b, &a}));
  }
  // All at once, as a batch comes back in whatever order.
  for (pooled_connection* checked : {&a, &b, &c}) idle().take(*checked);
  for (pooled_connection* checked : {&b, &c, &a}) idle().push(*checked);
  EXPECT_EQ(order(), (connections{&c, &b, &a}));
}

TEST_F(idle_stack, each_of_them_is_counted_as_idle_and_not_as_active) {
  pooled_connection& a = connect();
  pooled_connection& b = connect();
  EXPECT_EQ(counts().active, 2U);
  idle().push(a);
  EXPECT_EQ(counts().idle, 1U);
  EXPECT_EQ(counts().active, 1U);
  EXPECT_EQ(a.stage, connection_stage::idle);
  idle().push(b);
  EXPECT_EQ(counts().idle, 2U);
  EXPECT_EQ(counts().active, 0U);
  idle().take(a);
  EXPECT_EQ(counts().idle, 1U);
  EXPECT_EQ(counts().active, 1U);
}

TEST_F(idle_stack, a_push_notes_when_it_was_used) {
  pooled_connection& one = connect_used(1s);
  const time_point used = one.last_used + 4s;
  idle().push(one, used, counts());
  EXPECT_EQ(one.last_used, used);
  idle().take(one);
  idle().push(one);
  EXPECT_EQ(one.last_used, used) << "unless it was only checked";
}

// --- The watch

TEST_F(idle_stack, a_connection_is_watched_from_its_push_unless_probes_ask_instead) {
  for (const validation_policy policy : {validation_policy::watch, validation_policy::ping,
                                         validation_policy::none, validation_policy::probe}) {
    settings().validation = policy;
    pooled_connection& one = connect();
    idle().push(one);
    EXPECT_EQ(one.receive_posted(), policy != validation_policy::probe) << to_string(policy);
  }
}

TEST_F(idle_stack, one_with_a_codec_is_watched_under_every_policy) {
  settings().validation = validation_policy::probe;
  pooled_connection& one = connect();
  one.use_codec(std::make_unique<toy_codec>());
  idle().push(one);
  EXPECT_TRUE(one.receive_posted());
}

TEST_F(idle_stack, nothing_is_posted_where_bytes_wait_or_somebody_reads) {
  for (const std::uint32_t taken : {stream::has_data, stream::reading}) {
    pooled_connection& one = connect();
    one.mark(taken);
    idle().watch(one);
    EXPECT_FALSE(one.receive_posted());
    one.clear(taken);
    idle().watch(one);
    EXPECT_TRUE(one.receive_posted());
    idle().watch(one);  // and only once
  }
}

struct run_reads {
  struct state {};
  task<void> run(connection&, state&) { co_return; }
};

TEST_F(idle_stack, what_run_reads_needs_no_watch) {
  speak(run_reads{});
  managed_connection& one = as_managed(connect());
  one.running = true;
  idle().watch(one);
  EXPECT_FALSE(one.receive_posted()) << "whether run() reads is known when it is lent";
  one.times_lent = 1;
  one.read_by_run = true;
  idle().watch(one);
  EXPECT_FALSE(one.receive_posted());
  one.read_by_run = false;
  idle().watch(one);
  EXPECT_TRUE(one.receive_posted());
}

// --- A look at one that may be lent

TEST_F(idle_stack, a_watched_connection_is_alive_unless_it_is_broken) {
  pooled_connection& one = connect();
  idle().push(one);
  EXPECT_TRUE(is_alive(idle().look_at(one, true)));
  one.mark(stream::ended);
  EXPECT_TRUE(is_gone(idle().look_at(one, true), close_reason::peer_closed));
  EXPECT_TRUE(is_gone(idle().look_at(one, false), close_reason::peer_closed));
}

TEST_F(idle_stack, the_socket_is_asked_where_nothing_is_posted) {
  EXPECT_TRUE(is_alive(found_in_socket(does_nothing, 0)));
  EXPECT_TRUE(is_alive(found_in_socket(does_nothing, 1)));
  EXPECT_TRUE(is_alive(found_in_socket(sends, 0))) << "a greeting is for the first lease";
  EXPECT_TRUE(is_gone(found_in_socket(sends, 1), close_reason::unexpected_data));
  EXPECT_TRUE(is_gone(found_in_socket(ends, 0), close_reason::peer_closed));
  EXPECT_TRUE(is_gone(found_in_socket(ends, 1), close_reason::peer_closed));
  EXPECT_TRUE(is_gone(found_in_socket(resets, 0), close_reason::peer_reset));
}

TEST_F(idle_stack, bytes_in_the_socket_are_for_a_protocol_that_wants_them) {
  speak(takes_idle_data{});
  EXPECT_TRUE(is(found_in_socket(sends, 1), what::for_protocol, close_reason::unexpected_data));
  EXPECT_TRUE(is_gone(found_in_socket(ends, 1), close_reason::peer_closed));
}

// --- Something has arrived

TEST_F(idle_stack, an_end_or_a_reset_that_arrives_closes) {
  EXPECT_TRUE(is_gone(found_on_arrival(ends, 0), close_reason::peer_closed));
  EXPECT_TRUE(is_gone(found_on_arrival(resets, 1), close_reason::peer_reset));
}

TEST_F(idle_stack, bytes_that_arrive_are_a_greeting_only_on_a_new_connection) {
  EXPECT_TRUE(is_alive(found_on_arrival(sends, 0)));
  EXPECT_FALSE(watched_again()) << "they wait for the first lease";
  EXPECT_TRUE(is_gone(found_on_arrival(sends, 1), close_reason::unexpected_data));
}

TEST_F(idle_stack, bytes_that_arrive_are_for_a_protocol_that_wants_them) {
  speak(takes_idle_data{});
  EXPECT_TRUE(is(found_on_arrival(sends, 1), what::for_protocol, close_reason::unexpected_data));
  EXPECT_TRUE(is(found_on_arrival(sends, 0), what::for_protocol, close_reason::unexpected_data));
}

// Without a buffer the kernel only says that something is there.
TEST_F(idle_stack, the_socket_is_asked_when_nothing_was_received) {
  pooled_connection& one = connect(tcp_pair());
  one.times_lent = 1;
  EXPECT_TRUE(is_alive(idle().look_at_arrival(one)));
  EXPECT_TRUE(one.receive_posted()) << "it was nothing";
}

TEST_F(idle_stack, a_codec_is_asked_what_has_arrived) {
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
  EXPECT_TRUE(is_alive(arrival('D', 0))) << "a greeting";
  EXPECT_TRUE(is_gone(arrival('D', 1), close_reason::unexpected_data));
  EXPECT_TRUE(is_gone(arrival('E', 1), close_reason::peer_closed));
  EXPECT_TRUE(is_gone(arrival('?', 1), close_reason::io_error));
}

}  // namespace
}  // namespace conpool::test

// How a cancel may end in the simulated ring, what faults do to operations, and what the
// simulation does not let pass.
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <set>
#include <string>

#include <tests/sim/kernel/bare_ring.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

server_plan silent() {
  server_plan plan;
  plan.respond = [](std::string_view) {
    return std::string();
  };
  return plan;
}

TEST(sim_cancel, one_that_wins_ends_the_operation_and_leaves_the_bytes) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    bare_ring here(seed);
    here.net.faults().cancel_loses = 0;
    server& peer = here.net.add_server("10.0.0.1", 1000, silent());
    const int fd = here.net.sockets().open_connected(peer);
    std::array<std::byte, 16> memory;
    recorded op;
    here.ring->receive(op, fd, memory);
    here.ring->enter(0ms);
    peer.send_to_all("x");
    here.pass(10ms);  // it is there, but no task work has run
    here.ring->cancel(op);
    here.ring->cancel(op);  // harmless
    EXPECT_EQ(here.ring->in_flight(), 2U);
    here.ring->enter(0ms);  // submits first, then runs task work
    ASSERT_TRUE(here.finish(op));
    EXPECT_EQ(op.times, 1U) << "only when both completions have come";
    EXPECT_EQ(here.ring->in_flight(), 0U);
    EXPECT_EQ(op.returned(), -ECANCELED);
    EXPECT_EQ(here.ring->peek(fd), 1);
    here.ring->close(fd);
  }
}

TEST(sim_cancel, one_that_loses_finds_the_operation_done) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    bare_ring here(seed);
    here.net.faults().cancel_loses = 1;
    server& peer = here.net.add_server("10.0.0.1", 1000, silent());
    const int fd = here.net.sockets().open_connected(peer);
    recorded op;
    here.ring->receive_posted(op, fd);
    here.ring->enter(0ms);
    peer.send_to_all("x");
    here.net.run_due();  // on its way
    here.ring->cancel(op);
    ASSERT_TRUE(here.finish(op));
    ASSERT_EQ(op.returned(), 1);
    EXPECT_TRUE(op.cancel_requested());
    here.ring->recycle_buffer(op.buffer_id());
    here.ring->close(fd);
  }
}

TEST(sim_cancel, one_that_comes_after_the_completion_changes_nothing) {
  bare_ring here(1);
  here.net.faults().punted = 0;
  recorded op;
  here.ring->nop(op, 5);
  here.ring->enter(0ms);
  here.ring->cancel(op);
  here.ring->enter(0ms);
  ASSERT_TRUE(here.finish(op));
  EXPECT_EQ(op.returned(), 5);
  EXPECT_EQ(op.times, 1U);
}

// Over many seeds every end and every order is met, with nothing set but the defaults.
TEST(sim_cancel, all_ends_and_orders_are_met) {
  std::set<int> results;
  std::set<duration> times;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    bare_ring here(seed);
    const server& peer = here.net.add_server("10.0.0.1", 1000);
    const int fd = here.ring->open_socket(AF_INET);
    recorded op;
    here.ring->connect(op, fd, peer.address().data(), peer.address().size());
    here.ring->enter(0ms);
    here.pass(here.net.up_to(3ms));
    here.ring->cancel(op);
    const time_point asked = here.net.now();
    ASSERT_TRUE(here.finish(op));
    results.insert(op.returned());
    times.insert(here.net.now() - asked);
    here.ring->close(fd);
    here.pass(1s);
    EXPECT_EQ(peer.counts().open, 0U) << "seed " << seed;
  }
  EXPECT_EQ(results, (std::set<int>{-ECANCELED, 0}));
  EXPECT_EQ(*times.begin(), 0ms);
  EXPECT_GT(*times.rbegin(), 0ms) << "a cancel's own completion came late";
}

TEST(sim_cancel, a_connect_that_was_cancelled_leaves_the_socket_connecting) {
  bare_ring here(1);
  here.net.faults().cancel_loses = 0;
  const server& peer = here.net.add_server("10.0.0.1", 1000);
  const int fd = here.ring->open_socket(AF_INET);
  recorded op;
  here.ring->connect(op, fd, peer.address().data(), peer.address().size());
  here.ring->enter(0ms);
  here.ring->cancel(op);
  ASSERT_TRUE(here.finish(op));
  EXPECT_EQ(op.returned(), -ECANCELED);
  here.ring->connect(op, fd, peer.address().data(), peer.address().size());
  ASSERT_TRUE(here.finish(op));
  EXPECT_TRUE(op.returned() == -EALREADY || op.returned() == -EISCONN);
  here.ring->close(fd);
}

TEST(sim_cancel, a_shutdown_ends_what_waits_before_the_close) {
  bare_ring here(1);
  server& peer = here.net.add_server("10.0.0.1", 1000, silent());
  const int standing = here.net.sockets().open_connected(peer);
  const int connecting = here.ring->open_socket(AF_INET);
  recorded receive;
  recorded connect;
  here.ring->receive_posted(receive, standing);
  here.ring->connect(connect, connecting, peer.address().data(), peer.address().size());
  here.ring->enter(0ms);
  EXPECT_EQ(here.ring->shutdown(standing), 0);
  EXPECT_EQ(here.ring->shutdown(connecting), 0);
  ASSERT_TRUE(here.finish(receive));
  ASSERT_TRUE(here.finish(connect));
  EXPECT_EQ(receive.returned(), 0);
  EXPECT_EQ(connect.returned(), -ECONNRESET);
  here.ring->close(standing);
  here.ring->close(connecting);
}

TEST(sim_faults, an_operation_may_end_by_itself) {
  for (const int code : {-ECANCELED, -EINTR}) {
    bare_ring here(1);
    (code == -EINTR ? here.net.faults().interrupted : here.net.faults().ended_by_itself) = 1;
    server& peer = here.net.add_server("10.0.0.1", 1000, silent());
    const int fd = here.net.sockets().open_connected(peer);
    recorded op;
    here.ring->receive_posted(op, fd);
    ASSERT_TRUE(here.finish(op));
    EXPECT_EQ(op.returned(), code);
    here.ring->close(fd);
  }
}

TEST(sim_faults, a_send_that_fails_breaks_the_connection_off_on_both_sides) {
  bare_ring here(1);
  here.net.faults().send_fails = 1;
  server& peer = here.net.add_server("10.0.0.1", 1000);
  const int fd = here.net.sockets().open_connected(peer);
  recorded op;
  here.ring->send(op, fd, bytes_of("x"));
  ASSERT_TRUE(here.finish(op));
  EXPECT_EQ(op.returned(), -ECONNRESET);
  here.pass(10ms);
  EXPECT_EQ(peer.counts().open, 0U);
  EXPECT_EQ(peer.counts().requests, 0U);
  here.ring->close(fd);
}

TEST(sim_faults, an_enter_that_takes_a_part_leaves_the_rest_prepared) {
  bare_ring here(1);
  here.net.faults().submits_less = 1;
  std::array<recorded, 8> ops;
  for (recorded& op : ops) here.ring->nop(op);
  const time_point before = here.net.now();
  here.ring->enter(1s);
  EXPECT_LT(here.ring->statistics().submissions, 8U);
  EXPECT_TRUE(here.ring->needs_enter());
  EXPECT_EQ(here.net.now(), before) << "it does not wait";
  here.net.faults().submits_less = 0;
  for (const recorded& op : ops) ASSERT_TRUE(here.finish(op));
}

TEST(sim_faults, calls_may_take_time_and_let_completions_come_in_the_middle_of_a_turn) {
  bare_ring here(1);
  here.net.faults().call_most = 100us;
  server& peer = here.net.add_server("10.0.0.1", 1000, silent());
  const int fd = here.net.sockets().open_connected(peer);
  recorded op;
  here.ring->receive_posted(op, fd);
  here.ring->enter(0ms);
  peer.leave_all(server::farewell::close);
  unsigned calls = 0;
  while (!here.ring->completions_pending() && ++calls < 1000) here.ring->set_blocking(fd);
  EXPECT_GT(calls, 0U);
  EXPECT_EQ(here.ring->harvest(), 1U);
  EXPECT_EQ(op.returned(), 0);
  here.ring->close(fd);
}

using sim_misuse = ::testing::Test;

TEST(sim_misuse, a_close_with_an_operation_on_the_descriptor_ends_the_program) {
  bare_ring here(1);
  server& peer = here.net.add_server("10.0.0.1", 1000);
  const int fd = here.net.sockets().open_connected(peer);
  recorded op;
  here.ring->receive_posted(op, fd);
  EXPECT_DEATH(here.ring->close(fd), "closed with 1 operations in flight");
  here.ring->shutdown(fd);
  ASSERT_TRUE(here.finish(op));
  here.ring->close(fd);
  EXPECT_DEATH(here.ring->peek(fd), "peek on .*, which is closed");
}

TEST(sim_misuse, two_receives_on_a_socket_end_the_program) {
  bare_ring here(1);
  server& peer = here.net.add_server("10.0.0.1", 1000);
  const int fd = here.net.sockets().open_connected(peer);
  recorded first;
  recorded second;
  std::array<std::byte, 4> memory;
  here.ring->receive_posted(first, fd);
  EXPECT_DEATH(here.ring->receive(second, fd, memory), "a receive beside a posted receive");
  EXPECT_DEATH(here.ring.reset(), "freed with a posted receive in flight");
  here.ring->shutdown(fd);
  ASSERT_TRUE(here.finish(first));
  here.ring->close(fd);
}

TEST(sim_misuse, a_buffer_given_back_twice_ends_the_program) {
  bare_ring here(1);
  server& peer = here.net.add_server("10.0.0.1", 1000, silent());
  const int fd = here.net.sockets().open_connected(peer);
  recorded op;
  here.ring->receive_posted(op, fd);
  peer.send_to_all("x");
  ASSERT_TRUE(here.finish(op));
  EXPECT_DEATH(here.ring.reset(), "1 of its receive buffers were in use");
  here.ring->recycle_buffer(op.buffer_id());
  EXPECT_DEATH(here.ring->recycle_buffer(op.buffer_id()), "given back twice");
  here.ring->close(fd);
}

}  // namespace
}  // namespace conpool::sim

// The operations of the simulated ring, one by one: what a kernel would answer, and when.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <deque>
#include <set>
#include <string>

#include <conpool/runtime/address.h>

#include <tests/sim/kernel/bare_ring.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

// Answers nothing and never leaves: what comes from it, a test sends.
server_plan silent() {
  server_plan plan;
  plan.respond = [](std::string_view) {
    return std::string();
  };
  return plan;
}

TEST(sim_ring, an_operation_takes_effect_at_the_next_enter) {
  bare_ring here(1);
  here.net.faults().punted = 0;
  recorded op;
  here.ring->nop(op, 7);
  EXPECT_TRUE(here.ring->needs_enter());
  EXPECT_FALSE(here.ring->completions_pending());
  EXPECT_EQ(here.ring->harvest(), 0U);
  EXPECT_EQ(here.ring->in_flight(), 1U);
  here.ring->enter(0ms);
  EXPECT_TRUE(here.ring->completions_pending());
  EXPECT_EQ(op.times, 0U);
  EXPECT_EQ(here.ring->harvest(), 1U);
  EXPECT_EQ(op.times, 1U);
  EXPECT_EQ(op.returned(), 7);
  EXPECT_FALSE(here.ring->completions_pending());
  EXPECT_EQ(here.ring->in_flight(), 0U);
}

TEST(sim_ring, a_wait_with_nothing_to_do_takes_exactly_its_time) {
  bare_ring here(1);
  const time_point before = here.net.now();
  here.ring->enter(250ms);
  EXPECT_EQ(here.net.now() - before, 250ms);
  EXPECT_EQ(here.ring->statistics().waits, 1U);
}

TEST(sim_ring, a_wait_jumps_to_the_next_completion) {
  bare_ring here(1);
  server& peer = here.net.add_server("10.0.0.1", 1000, silent());
  const int fd = here.net.sockets().open_connected(peer);
  recorded op;
  here.ring->receive_posted(op, fd);
  const time_point before = here.net.now();
  here.net.after(3s, [&] { peer.send_to_all("x"); });
  here.ring->enter(1h);
  EXPECT_GE(here.net.now() - before, 3s);
  EXPECT_LE(here.net.now() - before, 3s + peer.plan().latency_most);
  EXPECT_TRUE(here.ring->completions_pending());
  here.ring->harvest();
  ASSERT_EQ(op.returned(), 1);
  here.ring->recycle_buffer(op.buffer_id());
  here.ring->close(fd);
}

TEST(sim_ring, completions_are_pending_exactly_when_a_harvest_finds_some) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    bare_ring here(seed);
    std::deque<recorded> ops(60);
    for (recorded& op : ops) here.ring->nop(op);
    std::size_t found = 0;
    while (here.ring->in_flight() > 0) {
      here.ring->enter(0ms);
      ASSERT_TRUE(here.ring->completions_pending());
      const unsigned harvested = here.ring->harvest();
      ASSERT_GT(harvested, 0U);
      ASSERT_FALSE(here.ring->completions_pending());
      found += harvested;
    }
    EXPECT_EQ(found, ops.size());
  }
}

TEST(sim_ring, a_connect_stands_after_the_latency_both_ways) {
  bare_ring here(3);
  const server& peer = here.net.add_server("10.0.0.1", 1000);
  const int fd = here.ring->open_socket(AF_INET);
  recorded op;
  const time_point before = here.net.now();
  here.ring->connect(op, fd, peer.address().data(), peer.address().size());
  ASSERT_TRUE(here.finish(op));
  EXPECT_EQ(op.returned(), 0);
  EXPECT_GE(here.net.now() - before, 2 * peer.plan().latency_least);
  EXPECT_LE(here.net.now() - before, 2 * peer.plan().latency_most);
  EXPECT_EQ(peer.counts().open, 1U);

  sockaddr_storage local{};
  sockaddr_storage remote{};
  socklen_t length = 0;
  EXPECT_EQ(here.ring->local_address(fd, local, length), 0);
  const auto from = socket_address::from(reinterpret_cast<const sockaddr*>(&local), length);
  EXPECT_EQ(here.ring->peer_address(fd, remote, length), 0);
  const auto to = socket_address::from(reinterpret_cast<const sockaddr*>(&remote), length);
  EXPECT_NE(*from, *to);
  EXPECT_EQ(*to, peer.address());
  here.ring->close(fd);
  here.pass(10ms);
  EXPECT_EQ(peer.counts().open, 0U);
}

TEST(sim_ring, a_connect_fails_as_the_plan_says) {
  struct expectation {
    const char* host;
    int code;
    duration at_least;
  };
  bare_ring here(5);
  server_plan plan;
  plan.refuse = 1;
  here.net.add_server("10.0.0.1", 1000, plan);
  plan = {};
  plan.unreachable = 1;
  here.net.add_server("10.0.0.2", 1000, plan);
  plan = {};
  plan.black_hole = 1;
  here.net.add_server("10.0.0.3", 1000, plan);
  for (const expectation& one : {expectation{"10.0.0.1", -ECONNREFUSED, 0s},
                                 {"10.0.0.2", -ENETUNREACH, 0s},
                                 {"10.0.0.3", -ETIMEDOUT, 127s},
                                 {"10.0.0.4", -ECONNREFUSED, 0s}}) {
    const auto to = socket_address::ip(one.host, 1000).value();
    const int fd = here.ring->open_socket(AF_INET);
    recorded op;
    const time_point before = here.net.now();
    here.ring->connect(op, fd, to.data(), to.size());
    ASSERT_TRUE(here.finish(op));
    EXPECT_EQ(op.returned(), one.code) << one.host;
    EXPECT_GE(here.net.now() - before, one.at_least) << one.host;
    here.ring->close(fd);
  }
}

TEST(sim_ring, a_posted_receive_brings_a_buffer_and_says_whether_bytes_are_left) {
  ring_options options;
  options.receive_buffer_bytes = 64;
  bare_ring here(1, options);
  here.net.faults().short_receive = 0;
  server& peer = here.net.add_server("10.0.0.1", 1000, silent());
  peer.change().in_pieces = 0;
  const int fd = here.net.sockets().open_connected(peer);
  recorded op;
  here.ring->receive_posted(op, fd);
  peer.send_to_all(std::string(64, 'a') + "bc");
  ASSERT_TRUE(here.finish(op));
  ASSERT_EQ(op.returned(), 64);
  EXPECT_TRUE(op.has_buffer());
  EXPECT_TRUE(op.socket_nonempty());
  EXPECT_EQ(text_of(here.ring->buffer(op.buffer_id(), 64)), std::string(64, 'a'));
  here.ring->recycle_buffer(op.buffer_id());
  EXPECT_EQ(here.ring->peek(fd), 1);

  std::array<std::byte, 16> rest;
  here.ring->receive(op, fd, rest);
  ASSERT_TRUE(here.finish(op));
  ASSERT_EQ(op.returned(), 2);
  EXPECT_FALSE(op.socket_nonempty());
  EXPECT_EQ(text_of(std::span(rest).first(2)), "bc");
  EXPECT_EQ(here.ring->peek(fd), -EAGAIN);
  here.ring->close(fd);
}

TEST(sim_ring, a_posted_receive_without_a_buffer_says_so_and_leaves_the_bytes) {
  ring_options options;
  options.receive_buffers = 1;
  bare_ring here(1, options);
  server& peer = here.net.add_server("10.0.0.1", 1000, silent());
  const int first = here.net.sockets().open_connected(peer);
  const int second = here.net.sockets().open_connected(peer);
  recorded holds;
  recorded misses;
  here.ring->receive_posted(holds, first);
  peer.send_to_all("x");
  ASSERT_TRUE(here.finish(holds));
  here.ring->receive_posted(misses, second);  // arms all the same
  ASSERT_TRUE(here.finish(misses));
  EXPECT_EQ(misses.returned(), -ENOBUFS);
  EXPECT_EQ(here.ring->statistics().buffer_misses, 1U);
  EXPECT_EQ(here.ring->peek(second), 1);
  here.ring->recycle_buffer(holds.buffer_id());

  here.net.faults().no_buffer = 1;  // and by a fault, with a buffer there
  here.ring->receive_posted(misses, second);
  ASSERT_TRUE(here.finish(misses));
  EXPECT_EQ(misses.returned(), -ENOBUFS);
  here.ring->close(first);
  here.ring->close(second);
}

TEST(sim_ring, a_fin_ends_the_stream_and_a_send_after_it_meets_a_reset) {
  bare_ring here(1);
  server& peer = here.net.add_server("10.0.0.1", 1000, silent());
  const int fd = here.net.sockets().open_connected(peer);
  recorded op;
  here.ring->receive_posted(op, fd);
  peer.leave_all(server::farewell::close);
  ASSERT_TRUE(here.finish(op));
  EXPECT_EQ(op.returned(), 0);
  EXPECT_FALSE(op.has_buffer());
  here.ring->send(op, fd, bytes_of("late"));
  ASSERT_TRUE(here.finish(op));
  EXPECT_GT(op.returned(), 0);  // the peer has not answered yet
  here.pass(10ms);
  here.ring->send(op, fd, bytes_of("later"));
  ASSERT_TRUE(here.finish(op));
  EXPECT_EQ(op.returned(), -EPIPE);
  here.ring->close(fd);
}

TEST(sim_ring, a_reset_is_reported_once) {
  bare_ring here(1);
  server& peer = here.net.add_server("10.0.0.1", 1000, silent());
  const int fd = here.net.sockets().open_connected(peer);
  recorded op;
  here.ring->receive_posted(op, fd);
  peer.leave_all(server::farewell::reset);
  ASSERT_TRUE(here.finish(op));
  EXPECT_EQ(op.returned(), -ECONNRESET);
  EXPECT_EQ(here.ring->peek(fd), 0);
  here.ring->send(op, fd, bytes_of("x"));
  ASSERT_TRUE(here.finish(op));
  EXPECT_EQ(op.returned(), -EPIPE);
  here.ring->close(fd);
}

TEST(sim_ring, a_peer_that_forgot_the_connection_is_found_out_by_a_send_only) {
  bare_ring here(1);
  server& peer = here.net.add_server("10.0.0.1", 1000);
  const int fd = here.net.sockets().open_connected(peer);
  peer.leave_all(server::farewell::forget);
  here.pass(10s);
  EXPECT_EQ(here.ring->peek(fd), -EAGAIN);
  recorded op;
  here.net.faults().partial_send = 0;
  here.ring->send(op, fd, bytes_of("hello?"));
  ASSERT_TRUE(here.finish(op));
  EXPECT_EQ(op.returned(), 6);
  here.pass(10ms);
  EXPECT_EQ(here.ring->peek(fd), -ECONNRESET);
  here.ring->close(fd);
}

TEST(sim_ring, a_send_waits_while_its_peer_reads_nothing) {
  bare_ring here(1);
  here.net.faults().partial_send = 0;
  server& peer = here.net.add_server("10.0.0.1", 1000);
  peer.change().swallow = 1;
  peer.change().window = 1000;
  const int fd = here.net.sockets().open_connected(peer);
  recorded op;
  here.ring->send(op, fd, bytes_of("first"));
  ASSERT_TRUE(here.finish(op));
  here.pass(10ms);  // it was read, and the peer hangs
  const std::string much(5000, 'x');
  here.ring->send(op, fd, bytes_of(much));
  here.ring->enter(1min);
  EXPECT_TRUE(op.in_flight());
  here.net.faults().cancel_loses = 0;
  here.ring->cancel(op);
  ASSERT_TRUE(here.finish(op));
  EXPECT_EQ(op.returned(), 1000);  // a send that was under way tells what it has sent
  here.ring->close(fd);
}

TEST(sim_ring, partial_sends_and_short_receives_lose_no_byte) {
  unsigned short_sends = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    bare_ring here(seed);
    here.net.faults().partial_send = 0.8;
    here.net.faults().short_receive = 0.8;
    here.net.faults().split_segment = 0.5;
    server& peer = here.net.add_server("10.0.0.1", 1000);
    peer.change().in_pieces = 0.8;
    peer.change().window = 300;
    const int fd = here.net.sockets().open_connected(peer);
    std::string sent;
    for (unsigned i = 0; i < 200; ++i) sent += std::to_string(i);
    std::string got;
    std::size_t done = 0;
    recorded writing;
    recorded reading;
    std::array<std::byte, 100> piece;
    while (got.size() < sent.size()) {
      if (!writing.in_flight() && done < sent.size()) {
        here.ring->send(writing, fd, bytes_of(sent).subspan(done));
      }
      if (!reading.in_flight()) here.ring->receive(reading, fd, piece);
      const unsigned written = writing.times;
      const unsigned read = reading.times;
      here.ring->enter(1min);
      ASSERT_GT(here.ring->harvest(), 0U) << "seed " << seed;
      if (writing.times != written) {
        done += static_cast<std::size_t>(writing.returned());
        if (done < sent.size()) ++short_sends;
      }
      if (reading.times == read) continue;
      ASSERT_GT(reading.returned(), 0);
      got += text_of(std::span(piece).first(static_cast<std::size_t>(reading.returned())));
    }
    EXPECT_EQ(got, sent);
    here.ring->close(fd);
  }
  EXPECT_GT(short_sends, 20U);
}

TEST(sim_ring, descriptors_run_out_at_the_limit_and_by_a_fault) {
  bare_ring here(1);
  here.net.faults().descriptors_max = 4;  // two are the ring's
  const int first = here.ring->open_socket(AF_INET);
  const int second = here.ring->open_socket(AF_INET);
  EXPECT_EQ(here.ring->open_socket(AF_INET), -EMFILE);
  here.ring->close(first);
  const int third = here.ring->open_socket(AF_INET);
  EXPECT_GT(third, second);  // numbers are not used again
  here.ring->close(second);
  here.ring->close(third);
  here.net.faults().no_descriptor = 1;
  EXPECT_EQ(here.ring->open_socket(AF_INET), -EMFILE);
  EXPECT_EQ(here.net.open_descriptors(), 2U);
}

TEST(sim_ring, accept_and_listen_connect_two_sockets_of_the_same_program) {
  bare_ring here(1);
  const int door = here.ring->open_socket(AF_INET);
  const auto any = socket_address::ip("127.0.0.1", 0).value();
  ASSERT_EQ(here.ring->bind(door, any.data(), any.size()), 0);
  ASSERT_EQ(here.ring->listen(door, 4), 0);
  sockaddr_storage bound{};
  socklen_t length = 0;
  ASSERT_EQ(here.ring->local_address(door, bound, length), 0);
  recorded accepting;
  recorded connecting;
  here.ring->accept(accepting, door);
  const int near = here.ring->open_socket(AF_INET);
  here.ring->connect(connecting, near, reinterpret_cast<const sockaddr*>(&bound), length);
  ASSERT_TRUE(here.finish(accepting));
  ASSERT_TRUE(here.finish(connecting));
  EXPECT_EQ(connecting.returned(), 0);
  const int far = accepting.returned();
  ASSERT_GT(far, 0);

  recorded polling;
  here.ring->poll(polling, near, POLLIN);
  recorded sending;
  here.net.faults().partial_send = 0;
  here.ring->send(sending, far, bytes_of("hello"));
  ASSERT_TRUE(here.finish(sending));
  ASSERT_TRUE(here.finish(polling));
  EXPECT_EQ(polling.returned(), POLLIN);
  recorded peeking;
  here.ring->peek(peeking, near);
  ASSERT_TRUE(here.finish(peeking));
  EXPECT_EQ(peeking.returned(), 1);
  EXPECT_EQ(here.ring->set_option(near, IPPROTO_TCP, TCP_NODELAY, 1), 0);
  EXPECT_EQ(here.net.sockets().option(near, IPPROTO_TCP, TCP_NODELAY), 1);

  here.ring->reset_on_close(far);
  here.ring->close(far);
  here.pass(10ms);
  EXPECT_TRUE(here.net.sockets().inspect(near).broken);
  here.ring->close(near);
  here.ring->close(door);
}

TEST(sim_ring, a_read_of_an_event_ends_when_it_is_signalled) {
  bare_ring here(1);
  const int event = ring::open_event();
  std::uint64_t count = 0;
  recorded op;
  here.ring->read(op, event, std::as_writable_bytes(std::span(&count, 1)));
  here.ring->enter(1h);
  EXPECT_TRUE(op.in_flight());
  ring::signal_event(event);
  ring::signal_event(event);
  ASSERT_TRUE(here.finish(op));
  EXPECT_EQ(op.returned(), 8);
  EXPECT_EQ(count, 2U);
  here.ring->close(event);
}

TEST(sim_ring, a_full_submission_queue_is_flushed_and_a_full_completion_queue_overflows) {
  ring_options options;
  options.sq_entries = 4;
  options.cq_entries = 8;
  bare_ring here(1, options);
  here.net.faults().punted = 0;
  std::deque<recorded> ops(20);
  for (recorded& op : ops) here.ring->nop(op);
  EXPECT_EQ(here.ring->statistics().flushes, 4U);
  here.ring->enter(0ms);
  EXPECT_EQ(here.ring->harvest(), 20U);
  EXPECT_GT(here.ring->statistics().overflows, 0U);
  EXPECT_EQ(here.ring->statistics().submissions, 20U);
  EXPECT_EQ(here.ring->statistics().completions, 20U);
}

}  // namespace
}  // namespace conpool::sim

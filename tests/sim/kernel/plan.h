// What may happen in a simulated network, and how often: plain knobs, read each time they are used,
// so a test may turn them while it runs.
//
// Chances are from 0 to 1; what is 0 draws nothing. The defaults are a good day: every server
// echoes, nothing fails, and only the order and the sizes that a kernel leaves open are random.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <conpool/runtime/clock.h>

#include <tests/sim/kernel/wire.h>

namespace conpool::sim {

struct server_plan {
  // One way, drawn for each segment; segments of one direction keep their order.
  duration latency_least = std::chrono::microseconds(50);
  duration latency_most = std::chrono::milliseconds(2);
  // Bytes that may be on the way or unread at either end before a sender has to wait.
  std::size_t window = std::size_t{64} * 1024;

  // TLS, or whatever else is below the plain bytes, for each connection. Then requests are plain
  // bytes, and a close says farewell first, unless it is cut short.
  std::function<std::unique_ptr<wire>()> make_wire{};
  double no_farewell = 0;
  double cut_handshake = 0;  // sends a part of its flight, then closes or resets

  // --- A connect.
  double refuse = 0;
  double black_hole = 0;   // nobody answers; ETIMEDOUT after two minutes
  double unreachable = 0;  // ENETUNREACH
  double close_at_accept = 0;
  double reset_at_accept = 0;
  std::size_t connections_max = 1U << 20;  // more are refused

  // --- A request, which is whatever bytes arrive together.
  // What is answered; empty echoes.
  std::function<std::string(std::string_view)> respond{};
  std::string greeting{};        // sent at accept
  duration think_most{0};        // before it answers
  double in_pieces = 0.2;        // the reply comes in several segments, some time apart
  double swallow = 0;            // it hangs: reads and answers nothing more on this connection
  double cut_off = 0;            // sends a part of the reply, then closes or resets
  double close_after_reply = 0;  // FIN, right behind the reply
  double reset_after_reply = 0;  // RST; it may overtake the reply

  // --- An idle connection: one of these is drawn after accept and after each reply, and happens
  // after idle_least to idle_most unless another request has come before.
  duration idle_least{0};
  duration idle_most = std::chrono::milliseconds(500);
  double close_idle = 0;
  double reset_idle = 0;
  double stray_idle = 0;   // a byte that nobody asked for
  double forget_idle = 0;  // the peer forgets without a word; what is sent then meets a RST

  // --- Outages: if both are positive it is up for up to up_most, down for up to down_most, and so
  // on. Going down closes or resets what stands.
  duration up_most{0};
  duration down_most{0};
};

struct fault_plan {
  // --- The kernel's choices.
  double punted = 0.2;          // what could be done at submission is done by task work instead
  double short_receive = 0.1;   // fewer bytes than there are
  double partial_send = 0.05;   // fewer bytes than there is room for
  double split_segment = 0.1;   // a send's bytes arrive in two
  double cancel_loses = 0.2;    // the operation is done before the cancel finds it, if it can be
  double cancel_is_late = 0.2;  // the cancel's own completion comes up to 2 ms after
  double wait_cut_short = 0;    // a signal ends a wait early
  double submits_less = 0;      // an enter takes only a part of what is prepared
  // Each call of the ring takes up to this much time, in which the network goes on.
  duration call_most{0};

  // --- Failures.
  double no_buffer = 0;                    // ENOBUFS for a posted receive, though there are buffers
  double no_descriptor = 0;                // EMFILE for a new socket
  double ended_by_itself = 0;              // ECANCELED for an operation that nobody cancelled
  double interrupted = 0;                  // EINTR, likewise
  double send_fails = 0;                   // ECONNRESET: something on the way cuts the connection
  std::size_t descriptors_max = 1U << 20;  // with those of the shards
};

}  // namespace conpool::sim

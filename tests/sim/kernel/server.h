// A simulated server: an address, and what happens to those who connect to it.
//
// Made by network::add_server and owned by the network. What it does is drawn from its plan, which
// may be changed at any time; a test may also act by itself:
//
//   sim::server& redis = net.add_server("10.0.0.1", 6379, {.close_idle = 0.3});
//   redis.go_down(sim::server::farewell::reset);
//   redis.send_to_all("-LOADING\r\n");
//   EXPECT_EQ(redis.counts().open, 0U);
//
// A connection is known by its number, counted from 0 in the order of being accepted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <conpool/runtime/address.h>

#include <tests/sim/kernel/plan.h>
#include <tests/sim/kernel/tcp.h>

namespace conpool::sim {

class network;

class server {
 public:
  enum class farewell : std::uint8_t {
    close,   // FIN
    reset,   // RST
    either,  // drawn for each connection
    forget,  // nothing: as a machine that lost its power, and comes back
  };

  struct tally {
    std::uint64_t connects = 0;   // asked for, whatever came of them
    std::uint64_t moments = 0;    // in which connects were begun
    std::uint64_t surprises = 0;  // connections that it ended, or disturbed, by itself
    std::uint64_t accepted = 0;
    std::uint64_t requests = 0;  // segments that were read
    std::uint64_t bytes = 0;
    std::size_t open = 0;  // now; closed when the client has closed, too
  };

  server(network& net, const socket_address& at, server_plan plan);
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  const socket_address& address() const noexcept { return address_; }
  const server_plan& plan() const noexcept { return plan_; }
  void set_plan(server_plan plan) { plan_ = std::move(plan); }
  server_plan& change() noexcept { return plan_; }  // a knob or two; outages are read once
  tally counts() const noexcept;

  // While it is down connects are refused.
  bool down() const noexcept { return down_; }
  void go_down(farewell how = farewell::either);
  void come_up() noexcept { down_ = false; }

  // To everybody who is connected.
  void leave_all(farewell how);
  void send_to_all(std::string_view bytes);

  // --- For the network.
  enum class answer : std::uint8_t { accept, refuse, none, unreachable };
  void on_begun() noexcept;  // a client has begun to connect
  answer on_connect();
  void on_accepted(std::shared_ptr<tcp_end> peer);
  void plan_outages();

 private:
  struct session {
    std::shared_ptr<tcp_end> end;
    std::unique_ptr<wire> below;   // null: plain bytes
    time_point speaks_at{};        // not before: replies keep their order
    std::uint64_t last_heard = 0;  // counts requests: an idle timer of an older one is void
    bool hangs = false;
  };

  session* find(std::uint64_t number);
  void on_arrival(std::uint64_t number);
  std::string unwrap(std::uint64_t number, std::string_view arrived);
  static std::string wrap(session& with, std::string_view plain);
  void reply(std::uint64_t number, std::string_view request);
  time_point speak(std::uint64_t number, std::string_view bytes);
  void leave_after_reply(std::uint64_t number, time_point when);
  void leave(std::uint64_t number, farewell how);
  void leave_at(std::uint64_t number, time_point when, farewell how);
  void grow_idle(std::uint64_t number, time_point since);
  void schedule_outage();

  network& net_;
  socket_address address_;
  server_plan plan_;
  bool down_ = false;
  std::map<std::uint64_t, session> sessions_;
  std::uint64_t next_ = 0;
  tally counts_;
  time_point last_begun_{};
};

}  // namespace conpool::sim

// A multiplexed protocol of the tests' own: lines "ID|TEXT", each answered by a line of the same
// ID, in any order; so an echo server speaks it. What HTTP/2 does, without its bytes.
//
//   backends = pool::create(home, config, multiplexed{.settings = &settings})
//   auto answer = co_await call_over(*lease, "text");
//
// run() is reader and writer of its connection: callers only leave their lines and wait. A line
// "GOAWAY" from the server retires the connection, "MAX n" sets how many calls it takes at once.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include <conpool/conpool.h>

namespace conpool::test {

struct multiplexed_settings {
  access mode = access::shared(100);
  bool accepts = true;    // what on_acquire says
  unsigned connects = 0;  // connections that stood
  unsigned ended = 0;     // of these, run()s that have ended
  unsigned asked = 0;     // calls of on_acquire
};

struct multiplexed {
  struct pending {
    explicit pending(shard& home) : done(home) {}
    event done;
    std::optional<std::string> answer;
  };
  struct state {
    bool over = false;  // run() has ended: nobody reads answers any more
    std::uint32_t next_id = 0;
    std::map<std::uint32_t, pending*> calls;
    std::string outbox;
    std::optional<event> outbox_filled;  // the writer waits for it
  };
  static constexpr std::uint32_t expected_leases = 100;

  multiplexed_settings* settings;

  access access_mode(const connection&, const state&) const {
    ++settings->connects;
    return settings->mode;
  }
  bool on_acquire(connection&, state&) const {
    ++settings->asked;
    return settings->accepts;
  }
  task<void> run(connection& to, state& own);

 private:
  static task<void> write_all(connection& to, state& own);
  static void take_line(connection& from, state& own, const std::string& line);
};

// One call over a connection that the caller has leased. Errors: of the wait; connection_closed if
// the connection ended before the answer came.
task<result<std::string>> call_over(connection& over, std::string text);

}  // namespace conpool::test

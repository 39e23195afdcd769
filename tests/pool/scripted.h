// Protocols for tests whose hooks do what a script says, and count.
//
//   script says;
//   says.ping = act::hangs;
//   configure(config, pinging{&says});
//
// Each protocol has one hook, so that a test sees what that hook does to a pool.
#pragma once

#include <array>
#include <chrono>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include <conpool/conpool.h>

namespace conpool::test {

enum class act : std::uint8_t {
  talks,   // one round trip, as an echo server answers it
  fails,   // returns an error
  hangs,   // waits for what a silent server never sends
  sleeps,  // waits for something else than the connection
  throws,
};

struct script {
  act does = act::talks;
  bool says = true;      // what a hook with a yes or no says
  bool throws = false;   // instead of that
  bool keeps = true;     // what on_idle_data says
  unsigned begun = 0;    // hooks that were entered
  unsigned ended = 0;    // and left, one way or another
  unsigned closed = 0;   // on_close
  close_reason why{};    // its last reason
  std::string pushed{};  // what on_idle_data saw
};

// Counts a hook that has ended, be it by an exception or by being destroyed.
class hook_note {
 public:
  explicit hook_note(script& of) noexcept : of_(&of) { ++of.begun; }
  ~hook_note() { ++of_->ended; }
  hook_note(const hook_note&) = delete;
  hook_note& operator=(const hook_note&) = delete;

 private:
  script* of_;
};

inline task<result<void>> perform(act what, connection& on) {
  std::array<char, 5> answer{};
  if (what == act::throws) throw std::runtime_error("as the script says");
  if (what == act::fails) co_return fail(error(errc::io_failed));
  if (what == act::sleeps) {
    auto slept = co_await on.home().sleep_for(std::chrono::hours(1));
    co_return std::move(slept);
  }
  if (what == act::talks) {
    auto sent = co_await on.write("HELLO");
    if (!sent) co_return std::move(sent);
  }
  auto count = co_await on.read_exactly(std::span<char>(answer));
  if (!count) co_return fail(std::move(count.error()));
  co_return result<void>{};
}

struct scripted {
  struct state {
    unsigned lends = 0;
    std::string user{};
  };
  script* part;
};

struct logging_in : scripted {
  task<result<void>> on_connect(connection& to, state& own) {
    const hook_note note(*part);
    auto login = perform(part->does, to);
    auto done = co_await login;
    own.user = "user of " + std::to_string(to.id());
    co_return std::move(done);
  }
};

struct pinging : scripted {
  task<result<void>> ping(connection& to, state&) {
    const hook_note note(*part);
    auto round_trip = perform(part->does, to);
    auto done = co_await round_trip;
    co_return std::move(done);
  }
};

struct cleaning : scripted {
  task<bool> on_release(connection& from, state&) {
    const hook_note note(*part);
    auto rollback = perform(part->does, from);
    auto done = co_await rollback;
    co_return done.has_value();
  }
};

struct running : scripted {
  task<void> run(connection& with, state&) {
    const hook_note note(*part);
    auto work = perform(part->does, with);
    auto done = co_await work;
    static_cast<void>(done);
  }
  void on_close(connection&, state&, close_reason why) noexcept {
    ++part->closed;
    part->why = why;
  }
};

struct choosing : scripted {
  bool on_acquire(connection&, state& own) {
    ++part->begun;
    ++own.lends;
    if (part->throws) throw std::runtime_error("as the script says");
    return part->says;
  }
};

struct healthy : scripted {
  bool is_healthy(const connection&, const state&) const {
    ++part->begun;
    if (part->throws) throw std::runtime_error("as the script says");
    return part->says;
  }
};

struct releasing : scripted {
  bool on_release(connection&, state&) {
    ++part->begun;
    if (part->throws) throw std::runtime_error("as the script says");
    return part->says;
  }
};

struct listening : scripted {
  idle_data on_idle_data(connection&, state&, std::span<const std::byte> bytes) {
    ++part->begun;
    part->pushed.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (part->throws) throw std::runtime_error("as the script says");
    return part->keeps ? idle_data::keep : idle_data::dirt;
  }
};

struct saying_goodbye : scripted {
  void on_close(connection&, state&, close_reason why) noexcept {
    ++part->closed;
    part->why = why;
  }
};

}  // namespace conpool::test

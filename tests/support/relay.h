// A TCP relay between a client and a server, on a shard of the test's own thread. It passes on what
// both say, and is slow or deaf when told to, or cannot stand clients who offer a TLS session.
//
// It passes on the end of a stream after everything that came before it. The pace of what passes
// follows the shard's clock, which the test sets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include <conpool/pool/endpoint.h>
#include <conpool/runtime/listener.h>
#include <conpool/runtime/scope.h>
#include <conpool/runtime/shard.h>
#include <conpool/runtime/socket.h>

namespace conpool::test {

// What a relay does to a client whose ClientHello offers an earlier session.
enum class on_session : std::uint8_t { pass, end, reset, say_nothing };

class relay {
 public:
  relay(shard& home, const endpoint& server);
  // To be destroyed after its tasks have ended: call stop() and turn until stopped().
  ~relay();
  relay(const relay&) = delete;
  relay& operator=(const relay&) = delete;

  // The server's scheme, at 127.0.0.1 and a port of the relay's own.
  const endpoint& at() const noexcept { return at_; }

  // Lets `bytes` of the server's bytes pass at once, and then one byte each second.
  void slow_after(std::size_t bytes) noexcept { at_once_ = bytes; }
  // While `on`, the relay takes nothing more from clients.
  void deaf(bool on) noexcept { deaf_ = on; }
  // What becomes of clients who offer an earlier session.
  void treat_sessions(on_session how) noexcept { on_session_ = how; }
  // Connections from now on lead to another server.
  void lead_to(const endpoint& server) { server_ = server; }

  // How many clients came, and how many of these offered a session.
  std::size_t accepted() const noexcept { return accepted_; }
  std::size_t sessions_offered() const noexcept { return sessions_offered_; }
  std::size_t open() const noexcept { return open_; }
  void stop() noexcept { tasks_.cancel(); }
  bool stopped() const noexcept { return tasks_.running() == 0; }

 private:
  struct pair;
  task<void> accept_all();
  task<void> forward(std::shared_ptr<pair> both);
  task<void> answer(std::shared_ptr<pair> both);
  task<bool> mistreated(std::shared_ptr<pair> both, std::string_view first_flight);

  shard* home_;
  endpoint server_;
  listener door_;
  endpoint at_;
  scope tasks_;
  std::size_t at_once_ = SIZE_MAX;
  std::size_t open_ = 0;
  std::size_t accepted_ = 0;
  std::size_t sessions_offered_ = 0;
  on_session on_session_ = on_session::pass;
  bool deaf_ = false;
};

}  // namespace conpool::test

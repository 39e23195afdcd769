// A server on a shard of the test's own thread: it echoes, and misbehaves when told to.
//
// It runs on the same shard as the pool under test, so a test has one thread and turns the shard by
// hand. The sockets between server and pool are real.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <conpool/pool/endpoint.h>
#include <conpool/runtime/listener.h>
#include <conpool/runtime/scope.h>
#include <conpool/runtime/shard.h>
#include <conpool/runtime/socket.h>

namespace conpool::test {

class echo_server {
 public:
  explicit echo_server(shard& home);
  // Listens at an address of the test's choice: an abstract Unix socket, or an IP address with its
  // port.
  echo_server(shard& home, const endpoint& at);
  // To be destroyed after its tasks have ended: call stop() and turn until stopped().
  ~echo_server();
  echo_server(const echo_server&) = delete;
  echo_server& operator=(const echo_server&) = delete;

  const endpoint& at() const noexcept { return at_; }

  // Sends `greeting` to each client as soon as it is accepted.
  void greet_with(std::string greeting) { greeting_ = std::move(greeting); }
  // If `on` is false, the server reads what clients send and does not answer.
  void echo(bool on) noexcept { echo_ = on; }

  std::size_t accepted() const noexcept { return accepted_; }
  std::size_t open() const noexcept { return sessions_.size(); }
  // These send on every open session: a FIN; a RST (linger 0); bytes that nobody asked for.
  void close_all() noexcept;
  void reset_all() noexcept;
  void send_to_all(std::string bytes);

  void stop() noexcept;
  bool stopped() const noexcept { return tasks_.running() == 0; }

 private:
  struct session;
  task<void> accept_all();
  task<void> serve(std::shared_ptr<session> one);
  task<void> push(std::shared_ptr<session> one, std::string bytes);

  shard* home_;
  listener door_;
  endpoint at_;
  scope tasks_;
  std::vector<std::shared_ptr<session>> sessions_;
  std::string greeting_;
  bool echo_ = true;
  std::size_t accepted_ = 0;
};

}  // namespace conpool::test

// A shard and a pool on the calling thread, and a way to fill the pool with idle connections.
//
// This is what a program has that turns its shard itself, and run() is its loop. It is local to a
// benchmark function, declared after the peer, and used on one thread.
//
//   echo_peer peer;
//   pool_client client(config);
//   client.fill(client.handle_of(peer), 4);         // 4 idle connections
//   client.home().spawn(measure, std::ref(client));
//   client.run();                                   // until measure() calls client.end_run()
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <bench/micro/echo_peer.h>
#include <conpool/pool/pool.h>
#include <conpool/runtime/shard.h>

namespace conpool::micro {

class pool_client {
 public:
  // Ends the process if there is no io_uring here or `config` is invalid.
  explicit pool_client(const pool_config& config);
  ~pool_client();
  pool_client(const pool_client&) = delete;
  pool_client& operator=(const pool_client&) = delete;

  shard& home() noexcept { return *home_; }
  conpool::pool& pool() noexcept { return *pool_; }
  endpoint_handle handle_of(const echo_peer& peer);

  // Opens connections until `count` are idle at once. Ends the process if that fails.
  void fill(const endpoint_handle& to, std::size_t count);

  // Turns the shard until a task calls end_run(), which also keeps that turn from waiting.
  void run() {
    ended_ = false;
    while (!ended_) home_->run_once(std::chrono::seconds(1));
  }
  void end_run() noexcept {
    ended_ = true;
    home_->post(wake_up_);
  }
  // Turns the shard, without sleeping, until done() is true: for conditions that no task waits for.
  template <typename Done>
  void spin_until(Done done) {
    while (!done()) home_->run_once(duration::zero());
  }

 private:
  static void ignore(mail&) noexcept {}

  bool ended_ = false;
  mail wake_up_{&pool_client::ignore};
  std::unique_ptr<shard> home_;
  std::optional<conpool::pool> pool_;
};

// Returns the endpoint where `peer` listens.
endpoint endpoint_of(const echo_peer& peer);

// Ends the process with the error's message.
[[noreturn]] void give_up(const error& why);

}  // namespace conpool::micro

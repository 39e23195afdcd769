// Both sides of TLS in one place, joined by memory: no socket and no ring.
//
//   tls_pair pair({.resumption = false});
//   tls::stream client = pair.client();
//   tls::stream server = pair.server();
//   pair.shake(client, server, nullptr);       // now both are open
//   tls::slab out(pair.memory());
//   client.write(plain, out);
//
// The server has a certificate made at start, with an intermediate and a root, which the client
// trusts: a chain of the usual length. Ends the process if something is wrong with it. Used on one
// thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <bench/micro/measured_run.h>
#include <conpool/tls/detail/engine.h>
#include <conpool/tls/detail/shard_context.h>
#include <conpool/tls/server_context.h>
#include <conpool/tls/stream.h>

namespace conpool::micro {

class tls_pair {
 public:
  struct settings {
    bool resumption = false;
    bool remember_chains = true;  // the client's cache of verified chains
  };

  explicit tls_pair(const settings& wanted);

  tls::stream client() { return {*client_, peer}; }
  tls::stream server() { return {*server_, peer}; }
  // A handshake to its end, the tickets too. With a run, which must have begun, only the client's
  // own steps are measured.
  void shake(tls::stream& client, tls::stream& server, measured_run* run);

  tls::shard_context& client_context() noexcept { return *client_; }
  tls::engine& client_engine() noexcept { return client_engine_; }
  // A slab's.
  std::span<std::byte> memory() noexcept { return memory_; }

 private:
  using bytes = std::vector<std::byte>;

  void step(tls::stream& one, bytes& received, bytes& said);

  static const std::string peer;

  bytes memory_;
  tls::engine client_engine_;
  tls::engine server_engine_;
  tls::profile_ptr profile_;
  tls::shard_context* client_ = nullptr;
  std::unique_ptr<tls::server_context> server_;
};

}  // namespace conpool::micro

// Both sides of a TLS connection, joined by memory: there is no socket and no ring.
//
//   tls_pair pair({.resumption = false});
//   tls::channel client = pair.client();
//   tls::channel server = pair.server();
//   pair.shake(client, server, nullptr);       // now both are open
//   tls::record_buffer out(pair.memory());
//   client.write(plain, out);
//
// The server has a certificate that is made at start, with an intermediate and a root, which the
// client trusts: a chain of the usual length. If anything goes wrong, the process ends. A pair is
// used on one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <bench/micro/measured_run.h>
#include <conpool/tls/detail/channel.h>
#include <conpool/tls/detail/profile_on_shard.h>
#include <conpool/tls/detail/shard_resources.h>
#include <conpool/tls/server_profile.h>

namespace conpool::micro {

class tls_pair {
 public:
  struct settings {
    bool resumption = false;
    bool remember_chains = true;  // the client's cache of verified chains
  };

  explicit tls_pair(const settings& wanted);

  tls::channel client() { return {*client_, peer}; }
  tls::channel server() { return {*server_, peer}; }
  // Completes a handshake and reads the tickets. With a run, which must have begun, only the
  // client's own steps are measured.
  void shake(tls::channel& client, tls::channel& server, measured_run* run);

  tls::profile_on_shard& client_profile() noexcept { return *client_; }
  tls::shard_resources& client_resources() noexcept { return client_resources_; }
  // The memory for a record_buffer.
  std::span<std::byte> memory() noexcept { return memory_; }

 private:
  using bytes = std::vector<std::byte>;

  void step(tls::channel& one, bytes& received, bytes& said);

  static const std::string peer;

  bytes memory_;
  tls::shard_resources client_resources_;
  tls::shard_resources server_resources_;
  tls::profile_ptr profile_;
  tls::profile_on_shard* client_ = nullptr;
  std::unique_ptr<tls::server_profile> server_;
};

}  // namespace conpool::micro

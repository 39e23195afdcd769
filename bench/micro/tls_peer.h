// A TLS server on a thread of its own, which sends back what it receives, on loopback.
//
//   tls_peer peer(bench::make_server_identity());
//   auto to = client.pool().handle(trusting(peer.where(), peer.identity(), true));
//
// If it cannot be started, the process ends. Create and destroy it on one thread; it must outlive
// the pool.
#pragma once

#include <memory>

#include <bench/server_identity.h>
#include <conpool/pool/endpoint.h>
#include <conpool/runtime/runtime.h>

namespace conpool::micro {

class tls_peer {
 public:
  explicit tls_peer(bench::server_identity own);
  ~tls_peer();
  // tls://127.0.0.1:PORT
  const endpoint& where() const noexcept { return *where_; }
  const bench::server_identity& identity() const noexcept { return own_; }

 private:
  bench::server_identity own_;
  std::unique_ptr<runtime> runtime_;
  std::unique_ptr<endpoint> where_;
};

// Returns the endpoint under a profile that trusts this identity's root.
endpoint trusting(const endpoint& where, const bench::server_identity& own, bool resumption);

}  // namespace conpool::micro

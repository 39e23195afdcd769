// A TLS server on a thread of its own, on loopback: sends back what it gets.
//
//   tls_peer peer;
//   auto to = client.pool().handle(peer.where());
//
// Ends the process if it cannot be started. Create and destroy it on one thread; outlives the pool.
#pragma once

#include <memory>

#include <bench/self_signed.h>
#include <conpool/pool/endpoint.h>
#include <conpool/runtime/runtime.h>

namespace conpool::micro {

class tls_peer {
 public:
  tls_peer();
  ~tls_peer();
  // tls://127.0.0.1:PORT, under a profile that trusts its certificate.
  const endpoint& where() const noexcept { return *where_; }

 private:
  bench::self_signed own_;
  std::unique_ptr<runtime> runtime_;
  std::unique_ptr<endpoint> where_;
};

}  // namespace conpool::micro

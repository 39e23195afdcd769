// TLS in the harness: the embedded servers' side, and what the clients verify. Builds without TLS
// (no_tls.cpp) refuse everything here as unsupported.
#pragma once

#include <memory>
#include <string>

#include <bench/server_identity.h>
#include <conpool/pool/endpoint.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/stream.h>
#include <conpool/runtime/task.h>

namespace conpool::tls {
class server_profile;
}

namespace conpool::bench {

bool has_tls() noexcept;

// Says what to verify at a tls:// endpoint: its name, against the certificates of a file or,
// without one, the system's; or nothing if `insecure`.
result<endpoint> verified_by(const endpoint& where, const std::string& ca_path, bool insecure);
// Does the same against one certificate.
result<endpoint> trusting(const endpoint& where, const std::string& certificate_pem);

// The servers' side on one shard, made and used there. Copies share one profile.
class tls_acceptor {
 public:
  static result<tls_acceptor> make(const server_identity& own);
  // Makes the handshake of an accepted connection.
  task<result<void>> accept(stream& raw) const;

 private:
  std::shared_ptr<tls::server_profile> profile_;
};

}  // namespace conpool::bench

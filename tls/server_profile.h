// The server's side: certificate and key, protocols, clients' certificates, tickets.
//
// Enough for embedded servers and for tests; younger than the client's side, and not yet what one
// would put in front of the internet: no certificate choice by server name, no OCSP stapling.
//
//   tls::server_options options;
//   options.certificate_chain_pem = chain;
//   options.private_key_pem = key;
//   auto server = tls::server_profile::make(engine, options);
//   tls::channel stream(**server, peer);                       // in accept mode
//
// One for each shard; shards that shall accept each other's tickets are given the same ticket_key.
// Used on its shard's thread; outlived by its engine, and outlives its streams (both asserted).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <conpool/runtime/error.h>
#include <conpool/tls/detail/ssl_config.h>
#include <conpool/tls/keylog.h>
#include <conpool/tls/profile.h>

namespace conpool::tls {

enum class client_certificates : std::uint8_t {
  none,      // not asked for
  optional,  // asked for; one that is sent must be good
  required,
};

struct server_options {
  std::string certificate_chain_pem{};  // the server's own first
  std::string private_key_pem{};
  // Protocols it speaks, the preferred one first; empty: the client's list is ignored.
  std::vector<std::string> alpn{};
  // Refuses clients that offer none of them; otherwise they are served without one.
  bool require_alpn = false;
  client_certificates clients = client_certificates::none;
  trust_ptr client_trust{};  // the roots of their certificates; needed if they are asked for
  weak_certificates weak = weak_certificates::reject;
  version min_version = version::tls_1_2;
  version max_version = version::tls_1_3;
  // TLS 1.3 tickets for each connection, 0 to 16; 0 also ends resumption in TLS 1.2.
  std::uint8_t tickets = 2;
  // Encrypts the tickets; none: a random one of this context.
  std::optional<std::array<std::uint8_t, 48>> ticket_key{};
  std::shared_ptr<const keylog> keys{};
};

class server_profile final : public ssl_config {
 public:
  // Errors: invalid_config about the field, trust_unavailable, unsupported, out_of_memory.
  static result<std::unique_ptr<server_profile>> make(shard_resources& home,
                                                      server_options options);
  ~server_profile() override;

  const server_options& options() const noexcept { return options_; }

 private:
  server_profile(shard_resources& home, server_options options);
  result<void> configure();
  result<void> configure_clients();
  bool verify(channel& of, const ssl_st* session, std::uint8_t& alert) override;

  server_options options_;
  x509_store_st* roots_ = nullptr;  // the engine's
};

}  // namespace conpool::tls

// The server's side: certificate and key, protocols, clients' certificates, tickets.
//
//   tls::server_options options;
//   options.certificate_chain_pem = chain;
//   options.private_key_pem = key;
//   auto made = tls::server_profile::make(home, options);
//   if (!made) co_return fail(made.error());
//   std::shared_ptr<tls::server_profile> as = std::move(*made);
//   auto secured = co_await tls::accept(*peer, as, home.now() + 3s);     // tls/handshake.h
//
// It is enough for embedded servers and for tests. It is younger than the client's side, and not
// yet what one would put in front of the internet: it chooses no certificate by server name, and
// staples no OCSP response.
//
// Each shard needs its own. Shards that are to accept each other's tickets are given the same
// ticket_key. A server_profile is used on its shard's thread. It outlives its connections, which
// accept() sees to, and must be gone before its shard is (both asserted).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/error.h>
#include <conpool/tls/detail/ssl_config.h>
#include <conpool/tls/keylog.h>
#include <conpool/tls/profile.h>

namespace conpool {
class shard;
}

namespace conpool::tls {

enum class client_certificates : std::uint8_t {
  none,      // not asked for
  optional,  // asked for; one that is sent must be good
  required,
};

struct server_options {
  // PEM; the server's own certificate comes first.
  std::string certificate_chain_pem{};
  std::string private_key_pem{};
  // The protocols that the server speaks, the preferred one first. If there are none, it ignores
  // the client's list.
  std::vector<std::string> alpn{};
  // Refuses clients that offer none of them; otherwise they are served without a protocol.
  bool require_alpn = false;
  client_certificates clients = client_certificates::none;
  // The roots of the clients' certificates; needed if these are asked for.
  trust_ptr client_trust{};
  weak_certificates weak = weak_certificates::reject;
  version min_version = version::tls_1_2;
  version max_version = version::tls_1_3;
  // TLS 1.3 tickets for each connection, 0 to 16; 0 also ends resumption in TLS 1.2.
  std::uint8_t tickets = 2;
  // Encrypts the tickets; without one, each server_profile has a random key of its own.
  std::optional<std::array<std::uint8_t, 48>> ticket_key{};
  std::shared_ptr<const keylog> keys{};
};

class CONPOOL_API server_profile final : public ssl_config {
 public:
  // Errors: invalid_config about the field; trust_unavailable; out_of_memory; unsupported if
  // another library than BoringSSL is bound, or in a build without TLS.
  static result<std::unique_ptr<server_profile>> make(shard& home, server_options options);
  // The same without a shard, for tests and benchmarks that move the bytes themselves.
  static result<std::unique_ptr<server_profile>> make(shard_resources& home,
                                                      server_options options);
  ~server_profile() override;

  // Without the keys, which are overwritten when BoringSSL has them.
  const server_options& options() const noexcept { return options_; }

 private:
  server_profile(shard_resources& home, server_options options);
  result<void> configure();
  result<void> configure_clients();
  bool verify(channel& of, const ssl_st* session, std::uint8_t& alert) override;

  server_options options_;
  x509_store_st* roots_ = nullptr;  // the shard_resources own them
};

}  // namespace conpool::tls

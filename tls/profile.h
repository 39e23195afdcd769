// All that makes two TLS connections to one address different from each other.
//
// A pool's key for a TLS connection is (endpoint, profile id), and so is the session cache's: two
// callers share connections and tickets only if everything here is equal. Contents are compared,
// not hashes. For equal options make() gives the same object, with the same id, as long as somebody
// holds it; an id is never used again for anything else.
//
//   tls::profile_options options;
//   options.verify_name = "api.example.com";          // or options.insecure = true, knowingly
//   options.alpn = {"h2", "http/1.1"};
//   auto made = tls::profile::make(std::move(options));
//   if (!made) return fail(made.error());
//   auto server = endpoint::parse("tls://api.example.com:443")->with_profile(*made);
//
// Verification cannot be forgotten: without a verify_name and without `insecure`, make() fails.
//
// A profile is immutable, for the whole process, and shared by shared_ptr; it may be made and used
// on any thread. To make one takes a lock and tries the certificate and key out, so a program makes
// it once, not for each acquire.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/error.h>
#include <conpool/tls/detail/peer_name.h>
#include <conpool/tls/keylog.h>
#include <conpool/tls/trust_store.h>

namespace conpool::tls {

// Whether this build of conpool has TLS. Without it (-Dtls=disabled) profile::make() and all else
// that makes something of TLS fails with `unsupported`.
CONPOOL_API bool available() noexcept;

enum class version : std::uint16_t { tls_1_2 = 0x0303, tls_1_3 = 0x0304 };

constexpr const char* to_string(version value) noexcept {
  switch (value) {
    case version::tls_1_2:
      return "TLS 1.2";
    case version::tls_1_3:
      return "TLS 1.3";
  }
  return "unknown";
}

// What happens to RSA keys below 2048 bits, and to SHA-1 or MD5 signatures below the root.
enum class weak_certificates : std::uint8_t { reject, accept };

// The SHA-256 of a certificate's SubjectPublicKeyInfo.
using pin = std::array<std::uint8_t, 32>;

struct profile_options {
  // The roots; null means trust_store::system(). Not looked at with `insecure`.
  trust_ptr trust{};
  // The DNS name or IP address that the certificate must be for.
  std::string verify_name{};
  // Accepts any certificate of anybody. For tests and closed networks; the statistics show it.
  bool insecure = false;
  // What is sent as the server name; empty means verify_name if that is a DNS name, else none. It
  // is never an IP address.
  std::string server_name{};
  bool send_server_name = true;
  // Application protocols, the preferred one first, each of 1 to 255 bytes.
  std::vector<std::string> alpn{};
  // Fails the handshake if the server chooses none of them.
  bool require_alpn = false;
  version min_version = version::tls_1_2;
  version max_version = version::tls_1_3;
  // Key exchange groups by BoringSSL's names, with colons between; empty means X25519, P-256,
  // P-384, and X25519MLKEM768 first where BoringSSL has it.
  std::string groups{};
  // Cipher suites of TLS 1.2, named and written in the same way ("ECDHE-RSA-AES128-GCM-SHA256"),
  // the preferred one first. Only those with forward secrecy and authenticated encryption are
  // known, AES-GCM and ChaCha20; empty means all of them. BoringSSL chooses those of TLS 1.3.
  std::string ciphers{};
  // The signatures that are accepted of the peer's key in the handshake, by their names in RFC
  // 8446, section 4.2.3 ("ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256"). None with SHA-1 is known;
  // empty means all: ECDSA with P-256 and P-384, RSA, Ed25519. Servers choose their certificate by
  // this list. TLS 1.2 takes the hash and not the curve from the name. What the certificates
  // themselves may be signed with is up to `weak`.
  std::string signature_algorithms{};
  // The client's certificate chain, its own certificate first, and its key: PEM, both or neither.
  // A profile overwrites its copy of the key when it goes; what you keep is yours.
  std::string certificate_chain_pem{};
  std::string private_key_pem{};
  // If there are any, a certificate of the verified chain must have one of these keys; with
  // `insecure`, the peer's own certificate must.
  std::vector<pin> pins{};
  weak_certificates weak = weak_certificates::reject;
  // Offers tickets of earlier connections.
  bool resumption = true;
  // Where the connections' secrets are written to; null means nowhere.
  std::shared_ptr<const keylog> keys{};

  // Compares the contents; trust stores and key logs by their identity.
  friend bool operator==(const profile_options&, const profile_options&) = default;
};

class profile;
using profile_ptr = std::shared_ptr<const profile>;

class CONPOOL_API profile {
 public:
  // Errors, all with phase::configure: invalid_config about the field; trust_unavailable;
  // out_of_memory; unsupported if the program is bound to OpenSSL's functions instead of
  // BoringSSL's, or in a build without TLS.
  static result<profile_ptr> make(profile_options options);

  // From 1; never the same for different contents.
  std::uint32_t id() const noexcept { return id_; }
  // As given, with names brought into one form and the defaults filled in.
  const profile_options& options() const noexcept { return options_; }
  const peer_name& name() const noexcept { return name_; }
  // What is sent as the server name, empty for none.
  const std::string& server_name() const noexcept { return options_.server_name; }
  // How many shards hold it, which these count themselves: when nobody else does, it is unused.
  std::atomic<std::uint32_t>& holders() const noexcept { return holders_; }
  // The protocols in the form in which the handshake carries them.
  const std::vector<std::uint8_t>& alpn_wire() const noexcept { return alpn_wire_; }

 private:
  struct made_by_make {};

 public:
  profile(made_by_make, profile_options options, peer_name name, std::uint32_t id);
  profile(const profile&) = delete;
  profile& operator=(const profile&) = delete;
  ~profile();

 private:
  profile_options options_;
  peer_name name_;
  std::vector<std::uint8_t> alpn_wire_;
  mutable std::atomic<std::uint32_t> holders_ = 0;
  std::uint32_t id_;
};

}  // namespace conpool::tls

// The settings of BoringSSL: the defaults, the lists of what is allowed, and what both sides set.
// Internal to tls/.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <conpool/runtime/error.h>
#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/profile.h>

namespace conpool::tls {

// P-256 is slow in Debian's build, X25519 is not. The hybrid group came with API version 30 or so,
// and its identifier tells whether it is there.
#ifdef SSL_GROUP_X25519_MLKEM768
inline constexpr const char* default_groups = "X25519MLKEM768:X25519:P-256:P-384";
#else
inline constexpr const char* default_groups = "X25519:P-256:P-384";
#endif

// Of TLS 1.2, only those with forward secrecy and authenticated encryption; Debian's BoringSSL
// would also take 3DES, CBC and RSA key exchange. TLS 1.3 has nothing else.
inline constexpr const char* ciphers_of_1_2 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

// None with SHA-1.
inline constexpr std::uint16_t signatures_taken[] = {
    SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PKCS1_SHA256,
    SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA384, SSL_SIGN_RSA_PKCS1_SHA384,
    SSL_SIGN_RSA_PSS_RSAE_SHA512,    SSL_SIGN_RSA_PKCS1_SHA512,    SSL_SIGN_ED25519};

inline constexpr std::size_t certificate_bytes_max = 64 * 1024;

// What both sides set; ssl_config sets the callbacks.
struct common_settings {
  version lowest;
  version highest;
  const char* groups = default_groups;
  const char* ciphers = ciphers_of_1_2;
  std::span<const std::uint16_t> signatures = signatures_taken;
};
// False if BoringSSL refuses one of them.
bool set_common(ssl_ctx_st* context, const common_settings& wanted);

// Errors: invalid_config about "ciphers": one that is not of ciphers_of_1_2, or is named twice.
result<void> check_ciphers(std::string_view list);
// The names of signatures_taken, with colons between.
std::string default_signatures();
// Errors: invalid_config about "signature_algorithms": one that is not of them, or is named twice.
result<std::vector<std::uint16_t>> parse_signatures(std::string_view list);

// Errors: invalid_config: a protocol of no or more than 255 bytes, or too many of them.
result<void> check_alpn(const std::vector<std::string>& protocols);
// Each with its length before it.
std::vector<std::uint8_t> wire_form(const std::vector<std::string>& protocols);

}  // namespace conpool::tls

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/chain_verifier.h>
#include <conpool/tls/detail/x509_time.h>

namespace conpool::tls {
namespace {

constexpr int depth_max = 10;
constexpr int rsa_bits_min = 2048;

// To BoringSSL, a self-signed certificate that may not issue others has no issuer, so it reports a
// missing one.
bool names_itself(const X509* certificate) noexcept {
  return certificate != nullptr &&
         X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0;
}

errc kind_of(int code, const X509* certificate) noexcept {
  switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return errc::certificate_expired;
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return errc::certificate_not_yet_valid;
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_UNABLE_TO_GET_CRL:
      return errc::revocation_unknown;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return names_itself(certificate) ? errc::certificate_self_signed
                                       : errc::certificate_unknown_issuer;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return errc::certificate_self_signed;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return errc::certificate_host_mismatch;
    case X509_V_ERR_CERT_REVOKED:
      return errc::certificate_revoked;
    case X509_V_ERR_INVALID_PURPOSE:
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
      return errc::certificate_bad_purpose;
    default:
      return errc::certificate_rejected;
  }
}

chain_answer refuse(errc why, std::string reason, int alert) {
  ERR_clear_error();
  return {why, std::move(reason), static_cast<std::uint8_t>(alert), 0};
}

bool has_weak_key(const X509* certificate) noexcept {
  const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(const_cast<X509*>(certificate)));
  if (!key) return true;
  return EVP_PKEY_id(key.get()) == EVP_PKEY_RSA && EVP_PKEY_bits(key.get()) < rsa_bits_min;
}

bool has_weak_signature(const X509* certificate) noexcept {
  switch (X509_get_signature_nid(certificate)) {
    case NID_md2WithRSAEncryption:
    case NID_md4WithRSAEncryption:
    case NID_md5WithRSAEncryption:
    case NID_md5WithRSA:
    case NID_sha1WithRSAEncryption:
    case NID_sha1WithRSA:
    case NID_ecdsa_with_SHA1:
    case NID_dsaWithSHA1:
    case NID_dsaWithSHA1_2:
      return true;
    default:
      return false;
  }
}

bool has_pinned_key(X509* certificate, std::span<const pin> pins) {
  std::uint8_t* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (size <= 0) return false;
  const bssl::UniquePtr<std::uint8_t> own(der);
  pin digest;
  SHA256(der, static_cast<std::size_t>(size), digest.data());
  return std::ranges::find(pins, digest) != pins.end();
}

// Sets what a certificate must be good for. False: it could not be set, and an incomplete check is
// none.
bool set_demands(X509_STORE_CTX* context, const chain_question& asked) {
  // Without a purpose, a certificate for clients only would pass for a server's.
  if (X509_STORE_CTX_set_default(context, asked.of_server ? "ssl_server" : "ssl_client") != 1) {
    return false;
  }
  X509_VERIFY_PARAM* demands = X509_STORE_CTX_get0_param(context);
  X509_VERIFY_PARAM_set_depth(demands, depth_max);
  X509_VERIFY_PARAM_set_time(demands, static_cast<time_t>(asked.now_s));
  if (asked.name == nullptr) return true;
  // Else the subject's common name would do for lack of an alternative name.
  X509_VERIFY_PARAM_set_hostflags(
      demands, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  switch (asked.name->what()) {
    case peer_name::kind::dns:
      return X509_VERIFY_PARAM_set1_host(demands, asked.name->text().data(),
                                         asked.name->text().size()) == 1;
    case peer_name::kind::ip:
      return X509_VERIFY_PARAM_set1_ip(demands, asked.name->address().data(),
                                       asked.name->address().size()) == 1;
    case peer_name::kind::none:
      break;
  }
  return false;
}

chain_answer judge(const STACK_OF(X509) * verified, const chain_question& asked) {
  const std::size_t size = sk_X509_num(verified);
  chain_answer answer;
  answer.ends_s = std::numeric_limits<std::int64_t>::max();
  bool pinned = asked.pins.empty();
  for (std::size_t at = 0; at < size; ++at) {
    X509* certificate = sk_X509_value(verified, at);
    answer.ends_s = std::min(answer.ends_s, seconds_of(X509_get0_notAfter(certificate)));
    pinned = pinned || has_pinned_key(certificate, asked.pins);
    if (asked.weak == weak_certificates::accept) continue;
    if (has_weak_key(certificate)) {
      return refuse(errc::certificate_weak, "an RSA key of less than 2048 bits",
                    SSL_AD_INSUFFICIENT_SECURITY);
    }
    // The root is trusted by itself: nobody checks how it was signed.
    if (at + 1 < size && has_weak_signature(certificate)) {
      return refuse(errc::certificate_weak, "a signature with SHA-1 or MD5",
                    SSL_AD_INSUFFICIENT_SECURITY);
    }
  }
  if (!pinned) {
    return refuse(errc::pin_mismatch, "none of the chain's keys is pinned",
                  SSL_AD_CERTIFICATE_UNKNOWN);
  }
  ERR_clear_error();
  return answer;
}

}  // namespace

chain_answer verify_chain(std::span<crypto_buffer_st* const> chain, const chain_question& asked) {
  bssl::UniquePtr<STACK_OF(X509)> sent(sk_X509_new_null());
  for (crypto_buffer_st* certificate : chain) {
    X509* parsed = X509_parse_from_buffer(certificate);
    if (parsed == nullptr) {
      return refuse(errc::certificate_rejected, "a certificate cannot be parsed",
                    SSL_AD_BAD_CERTIFICATE);
    }
    if (sk_X509_push(sent.get(), parsed) == 0) {
      X509_free(parsed);
      return refuse(errc::out_of_memory, "verification", SSL_AD_INTERNAL_ERROR);
    }
  }
  if (chain.empty()) {
    return refuse(errc::certificate_rejected, "no certificate was sent", SSL_AD_BAD_CERTIFICATE);
  }
  if (asked.roots == nullptr) {
    if (!asked.pins.empty() && !has_pinned_key(sk_X509_value(sent.get(), 0), asked.pins)) {
      return refuse(errc::pin_mismatch, "the peer's key is not pinned", SSL_AD_CERTIFICATE_UNKNOWN);
    }
    ERR_clear_error();
    return {};
  }

  const bssl::UniquePtr<X509_STORE_CTX> context(X509_STORE_CTX_new());
  if (!context ||
      X509_STORE_CTX_init(context.get(), asked.roots, sk_X509_value(sent.get(), 0), sent.get()) !=
          1 ||
      !set_demands(context.get(), asked)) {
    return refuse(errc::certificate_rejected, "verification could not be set up",
                  SSL_AD_INTERNAL_ERROR);
  }
  const int verified = X509_verify_cert(context.get());
  const int code = X509_STORE_CTX_get_error(context.get());
  if (verified != 1 || code != X509_V_OK) {
    const errc why = kind_of(code, X509_STORE_CTX_get_current_cert(context.get()));
    // BoringSSL would tell the peer that its certificate has expired if it is our list that has.
    const int alert = why == errc::revocation_unknown ? SSL_AD_CERTIFICATE_UNKNOWN
                                                      : SSL_alert_from_verify_result(code);
    return refuse(why, X509_verify_cert_error_string(code), alert);
  }
  return judge(X509_STORE_CTX_get0_chain(context.get()), asked);
}

}  // namespace conpool::tls

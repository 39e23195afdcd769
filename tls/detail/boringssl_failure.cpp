#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/boringssl_failure.h>

namespace conpool::tls {
namespace {

bool may_refuse_certificate(int alert) noexcept {
  switch (alert) {
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
      return true;
    default:
      return false;
  }
}

errc kind_of_alert(int alert, const failure_circumstances& during) noexcept {
  if (alert == SSL_AD_NO_APPLICATION_PROTOCOL) return errc::alpn_mismatch;
  if (alert == SSL_AD_CERTIFICATE_REQUIRED) return errc::client_certificate_refused;
  if (during.certificate_at_stake && may_refuse_certificate(alert)) {
    return errc::client_certificate_refused;
  }
  // GnuTLS calls an empty list undecodable where it wants a certificate (TLS 1.2); nothing else of
  // what we have sent by then could be.
  if (during.certificate_at_stake && during.certificate_withheld && alert == SSL_AD_DECODE_ERROR) {
    return errc::client_certificate_refused;
  }
  return errc::alert_received;
}

errc kind_of_reason(int reason, const failure_circumstances& during) noexcept {
  switch (reason) {
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
      return errc::not_tls;
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_UNEXPECTED_RECORD:
    case SSL_R_ENCRYPTED_LENGTH_TOO_LONG:
      return during.nothing_decrypted ? errc::not_tls : errc::tls_protocol;
    case SSL_R_INVALID_ALPN_PROTOCOL:
    case SSL_R_NO_APPLICATION_PROTOCOL:
      return errc::alpn_mismatch;
    // An alert in answer to the ClientHello, which has a reason of its own.
    case SSL_R_HANDSHAKE_FAILURE_ON_CLIENT_HELLO:
      return errc::alert_received;
    case SSL_R_KEY_USAGE_BIT_INCORRECT:
      return errc::certificate_bad_purpose;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return errc::client_certificate_refused;
    default:
      return errc::tls_protocol;
  }
}

// An alert's number and name, else BoringSSL's words.
std::string words_of(std::uint32_t entry) {
  const int reason = ERR_GET_REASON(entry);
  if (ERR_GET_LIB(entry) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET) {
    const int alert = reason - SSL_AD_REASON_OFFSET;
    return "alert " + std::to_string(alert) + ", " + SSL_alert_desc_string_long(alert);
  }
  const char* words = ERR_reason_error_string(entry);
  return words != nullptr ? words : "reason " + std::to_string(reason);
}

}  // namespace

boringssl_failure take_failure(const failure_circumstances& during) {
  boringssl_failure found{errc::tls_protocol, {}};
  bool known = false;
  // What went wrong deepest comes first: BAD_DECRYPT, DECRYPTION_FAILED_OR_BAD_RECORD_MAC. What it
  // means for the connection is what BoringSSL's libssl says first.
  for (std::uint32_t entry = ERR_get_error(); entry != 0; entry = ERR_get_error()) {
    if (!found.reason.empty()) found.reason += ", ";
    found.reason += words_of(entry);
    if (known || ERR_GET_LIB(entry) != ERR_LIB_SSL) continue;
    known = true;
    const int reason = ERR_GET_REASON(entry);
    found.why = reason >= SSL_AD_REASON_OFFSET
                    ? kind_of_alert(reason - SSL_AD_REASON_OFFSET, during)
                    : kind_of_reason(reason, during);
  }
  if (found.reason.empty()) found.reason = "BoringSSL gave no reason";
  return found;
}

}  // namespace conpool::tls

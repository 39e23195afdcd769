#include <tests/bogo/checks.h>

#include <algorithm>
#include <cstdint>
#include <span>

#include <conpool/tls/detail/boringssl.h>
#include <tests/bogo/sides.h>

namespace conpool::bogo {
namespace {

bool is_1_3(const tls::channel& finished) {
  return finished.version() == tls::version::tls_1_3;
}

std::string wrong_with_choice(const tls::channel& finished, const settings& asked) {
  const SSL* ssl = finished.native();
  if (asked.expect_version != 0 && static_cast<int>(finished.version()) != asked.expect_version) {
    return "another version";
  }
  if (asked.expect_alpn != finished.alpn()) return "another protocol";
  if (asked.expect_curve_id != 0 && SSL_get_curve_id(ssl) != asked.expect_curve_id) {
    return "another group";
  }
  if (asked.expect_peer_signature_algorithm != 0 &&
      SSL_get_peer_signature_algorithm(ssl) != asked.expect_peer_signature_algorithm) {
    return "another signature algorithm";
  }
  const int cipher = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl));
  const int by_hardware =
      EVP_has_aes_hardware() == 1 ? asked.expect_cipher_aes : asked.expect_cipher_no_aes;
  if ((asked.expect_cipher != 0 && cipher != asked.expect_cipher) ||
      (by_hardware != 0 && cipher != by_hardware)) {
    return "another cipher";
  }
  return {};
}

std::string wrong_with_session(const tls::channel& finished, const settings& asked,
                               const circumstances& known) {
  if (finished.resumed() != (known.resumption && !asked.expect_session_miss)) {
    return finished.resumed() ? "resumed" : "not resumed";
  }
  if (known.resumption && asked.expect_ticket_age_skew != 0 &&
      SSL_get_ticket_age_skew(finished.native()) != asked.expect_ticket_age_skew) {
    return "another age of the ticket";
  }
  if (asked.server) return {};
  // In TLS 1.3 they come later.
  const bool wants_session = !asked.expect_no_session && !is_1_3(finished) &&
                             (!finished.resumed() || asked.expect_ticket_renewal);
  if (wants_session != known.got_session) {
    return known.got_session ? "a session was kept" : "no session was kept";
  }
  if (known.resumption) return {};
  if (asked.expect_session_id && !known.got_session) return "no session with an id was kept";
  if (asked.expect_no_session_id && known.got_session) return "a session with an id was kept";
  return {};
}

std::string wrong_with_extensions(const tls::channel& finished, const settings& asked) {
  const SSL* ssl = finished.native();
  if (asked.expect_extended_master_secret && SSL_get_extms_support(ssl) == 0) {
    return "no extended master secret";
  }
  const bool renegotiation = SSL_get_secure_renegotiation_support(ssl) == 1;
  if ((asked.expect_secure_renegotiation && !renegotiation) ||
      (asked.expect_no_secure_renegotiation && renegotiation)) {
    return "another answer to secure renegotiation";
  }
  const bool retried = SSL_used_hello_retry_request(ssl) == 1;
  if ((asked.expect_hrr && !retried) || (asked.expect_no_hrr && retried)) {
    return retried ? "a HelloRetryRequest" : "no HelloRetryRequest";
  }
  return {};
}

std::string wrong_with_proofs(const tls::channel& finished, const settings& asked) {
  const SSL* ssl = finished.native();
  const std::uint8_t* bytes = nullptr;
  std::size_t size = 0;
  const auto is = [&](const std::string& wanted) {
    return wanted.empty() || std::ranges::equal(std::as_bytes(std::span(wanted)),
                                                std::as_bytes(std::span(bytes, size)));
  };
  SSL_get0_ocsp_response(ssl, &bytes, &size);
  if (!is(asked.expect_ocsp_response)) return "another OCSP response";
  SSL_get0_signed_cert_timestamp_list(ssl, &bytes, &size);
  if (!is(asked.expect_signed_cert_timestamps)) return "other certificate timestamps";
  if (asked.expect_verify_result && SSL_get_verify_result(ssl) != X509_V_OK) {
    return "another result of verification";
  }
  return {};
}

std::string wrong_with_peer(const tls::channel& finished, const settings& asked) {
  if (!asked.expect_server_name.empty() && finished.requested_name() != asked.expect_server_name) {
    return "another server name";
  }
  if (asked.expect_peer_cert_file.empty()) return {};
  const std::string pem = contents(asked.expect_peer_cert_file);
  const auto reader = tls::reader_of(pem);
  const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(finished.native());
  for (std::size_t at = 0;; ++at) {
    const bssl::UniquePtr<X509> wanted(PEM_read_bio_X509(reader.get(), nullptr, nullptr, nullptr));
    if (!wanted) {
      ERR_clear_error();
      return at > 0 && at == sk_CRYPTO_BUFFER_num(chain) ? "" : "another length of chain";
    }
    if (at == sk_CRYPTO_BUFFER_num(chain)) return "another length of chain";
    const bssl::UniquePtr<X509> got(X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, at)));
    if (!got || X509_cmp(got.get(), wanted.get()) != 0) return "another certificate";
  }
}

}  // namespace

std::string wrong_with(const tls::channel& finished, const settings& asked,
                       const circumstances& known) {
  if (asked.handshake_never_done) return "the handshake ended";
  std::string wrong = wrong_with_choice(finished, asked);
  if (wrong.empty()) wrong = wrong_with_session(finished, asked, known);
  if (wrong.empty()) wrong = wrong_with_extensions(finished, asked);
  if (wrong.empty()) wrong = wrong_with_proofs(finished, asked);
  if (wrong.empty()) wrong = wrong_with_peer(finished, asked);
  return wrong;
}

}  // namespace conpool::bogo

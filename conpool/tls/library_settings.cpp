#include <iterator>

#include <conpool/tls/library_settings.h>

namespace conpool::tls {

bool set_common(ssl_ctx_st* context, version lowest, version highest, const char* groups) {
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_grease_enabled(context, 0);
  SSL_CTX_set_max_cert_list(context, certificate_bytes_max);
  return SSL_CTX_set_min_proto_version(context, static_cast<std::uint16_t>(lowest)) == 1 &&
         SSL_CTX_set_max_proto_version(context, static_cast<std::uint16_t>(highest)) == 1 &&
         SSL_CTX_set_strict_cipher_list(context, ciphers_of_1_2) == 1 &&
         SSL_CTX_set1_curves_list(context, groups) == 1 &&
         SSL_CTX_set_verify_algorithm_prefs(context, signatures_taken,
                                            std::size(signatures_taken)) == 1;
}

result<void> check_alpn(const std::vector<std::string>& protocols) {
  std::size_t size = 0;
  for (const std::string& one : protocols) {
    size += 1 + one.size();
    if (one.empty() || one.size() > 255 || size > 0xffff) {
      return fail(error(errc::invalid_config, phase::configure)
                      .about("alpn")
                      .with_detail("a protocol has 1 to 255 bytes, all of them 64 KiB at most"));
    }
  }
  return {};
}

std::vector<std::uint8_t> wire_form(const std::vector<std::string>& protocols) {
  std::vector<std::uint8_t> wire;
  for (const std::string& one : protocols) {
    wire.push_back(static_cast<std::uint8_t>(one.size()));
    wire.insert(wire.end(), one.begin(), one.end());
  }
  return wire;
}

}  // namespace conpool::tls

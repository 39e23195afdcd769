#include <conpool/tls/connection_info.h>

#include <cstdint>

#include <conpool/tls/detail/boringssl.h>

namespace conpool::tls {

conpool::tls::version connection_info::version() const noexcept {
  return static_cast<conpool::tls::version>(SSL_version(ssl_.get()));
}

std::string_view connection_info::cipher() const noexcept {
  const SSL_CIPHER* chosen = SSL_get_current_cipher(ssl_.get());
  return chosen != nullptr ? SSL_CIPHER_standard_name(chosen) : std::string_view();
}

std::string_view connection_info::alpn() const noexcept {
  const std::uint8_t* chosen = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &chosen, &size);
  return size > 0 ? std::string_view(reinterpret_cast<const char*>(chosen), size)
                  : std::string_view();
}

bool connection_info::resumed() const noexcept {
  return SSL_session_reused(ssl_.get()) == 1;
}

std::span<const std::byte> connection_info::peer_certificate() const noexcept {
  const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(ssl_.get());
  if (chain == nullptr || sk_CRYPTO_BUFFER_num(chain) == 0) return {};
  const CRYPTO_BUFFER* own = sk_CRYPTO_BUFFER_value(chain, 0);
  return std::as_bytes(std::span(CRYPTO_BUFFER_data(own), CRYPTO_BUFFER_len(own)));
}

std::string_view connection_info::requested_name() const noexcept {
  const char* name = SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name);
  return name != nullptr ? std::string_view(name) : std::string_view();
}

}  // namespace conpool::tls

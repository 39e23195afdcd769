#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/boringssl_pointers.h>

namespace conpool::tls {

void boringssl_free::operator()(bio_st* gone) const noexcept {
  BIO_free(gone);
}
void boringssl_free::operator()(crypto_buffer_pool_st* gone) const noexcept {
  CRYPTO_BUFFER_POOL_free(gone);
}
void boringssl_free::operator()(crypto_buffer_st* gone) const noexcept {
  CRYPTO_BUFFER_free(gone);
}
void boringssl_free::operator()(evp_pkey_st* gone) const noexcept {
  EVP_PKEY_free(gone);
}
void boringssl_free::operator()(ssl_ctx_st* gone) const noexcept {
  SSL_CTX_free(gone);
}
void boringssl_free::operator()(ssl_session_st* gone) const noexcept {
  SSL_SESSION_free(gone);
}
void boringssl_free::operator()(ssl_st* gone) const noexcept {
  SSL_free(gone);
}
void boringssl_free::operator()(x509_store_st* gone) const noexcept {
  X509_STORE_free(gone);
}
void boringssl_free::operator()(x509_st* gone) const noexcept {
  X509_free(gone);
}

}  // namespace conpool::tls

// BoringSSL's objects as C++ owners, without BoringSSL's headers.
//
// Those headers have the names of OpenSSL's and lie where a user's compiler may not look. So the
// headers of tls/ only declare BoringSSL's types. `boringssl_ptr<TYPE>` is a unique_ptr;
// boringssl_pointers.cpp calls the frees.
#pragma once

#include <memory>

struct bio_st;
struct crypto_buffer_pool_st;
struct crypto_buffer_st;
struct evp_pkey_st;
struct ssl_ctx_st;
struct ssl_session_st;
struct ssl_st;
struct x509_store_st;
struct x509_st;

namespace conpool::tls {

struct boringssl_free {
  void operator()(bio_st* gone) const noexcept;
  void operator()(crypto_buffer_pool_st* gone) const noexcept;
  void operator()(crypto_buffer_st* gone) const noexcept;
  void operator()(evp_pkey_st* gone) const noexcept;
  void operator()(ssl_ctx_st* gone) const noexcept;
  void operator()(ssl_session_st* gone) const noexcept;
  void operator()(ssl_st* gone) const noexcept;
  void operator()(x509_store_st* gone) const noexcept;
  void operator()(x509_st* gone) const noexcept;
};

template <typename T>
using boringssl_ptr = std::unique_ptr<T, boringssl_free>;

}  // namespace conpool::tls

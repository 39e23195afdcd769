// The engine's objects as C++ owners, without the engine's headers.
//
// BoringSSL's headers have the names of OpenSSL's and lie where a user's compiler may not look; so
// the public headers of tls/ only declare its types. `handle<SSL type>` is a unique_ptr; the frees
// are in handles.cpp.
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

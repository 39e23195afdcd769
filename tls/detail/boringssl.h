// BoringSSL's headers, for the .cpp files of tls/.
//
// Internal: the other headers use boringssl_pointers.h.
#pragma once

#include <climits>
#include <string_view>

#include <openssl/bio.h>
#include <openssl/bytestring.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/stack.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#ifndef OPENSSL_IS_BORINGSSL
#error "conpool's TLS needs BoringSSL; these headers are OpenSSL's or somebody else's"
#endif

namespace conpool::tls {

// Reads `text`, which must outlive it. Null without memory, or for a text above INT_MAX bytes.
inline bssl::UniquePtr<BIO> reader_of(std::string_view text) {
  if (text.size() > INT_MAX) return nullptr;
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

}  // namespace conpool::tls

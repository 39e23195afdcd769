#include <bench/self_signed.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include <conpool/tls/boringssl.h>

namespace conpool::bench {
namespace {

constexpr long a_day_s = 24L * 3600;

void must(bool done, const char* what) {
  if (done) return;
  std::fprintf(stderr, "conpool: no certificate could be made: %s\n", what);
  std::exit(1);
}

bssl::UniquePtr<EVP_PKEY> make_key() {
  bssl::UniquePtr<EVP_PKEY> made(EVP_PKEY_new());
  bssl::UniquePtr<EC_KEY> key(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  must(made && key && EC_KEY_generate_key(key.get()) == 1, "key");
  must(EVP_PKEY_assign_EC_KEY(made.get(), key.release()) == 1, "key");
  return made;
}

void add_extension(X509* to, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, to, to, nullptr, nullptr, 0);
  std::string text(value);
  const bssl::UniquePtr<X509_EXTENSION> made(
      X509V3_EXT_nconf_nid(nullptr, &context, nid, text.data()));
  must(made && X509_add_ext(to, made.get(), -1) == 1, value);
}

std::string text_of(BIO* written) {
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  must(BIO_mem_contents(written, &data, &size) == 1, "PEM");
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace

self_signed make_self_signed() {
  const bssl::UniquePtr<EVP_PKEY> key = make_key();
  const bssl::UniquePtr<X509> made(X509_new());
  X509* const x509 = made.get();
  must(X509_set_version(x509, X509_VERSION_3) == 1, "version");
  ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
  const std::time_t now = std::time(nullptr);
  ASN1_TIME_set(X509_getm_notBefore(x509), now - a_day_s);
  ASN1_TIME_set(X509_getm_notAfter(x509), now + a_day_s);
  X509_NAME* const name = X509_get_subject_name(x509);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const std::uint8_t*>("conpool benchmark"), -1, -1, 0);
  X509_set_issuer_name(x509, name);
  must(X509_set_pubkey(x509, key.get()) == 1, "public key");
  add_extension(x509, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
  add_extension(x509, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(x509, NID_ext_key_usage, "serverAuth");
  must(X509_sign(x509, key.get(), EVP_sha256()) > 0, "signature");

  self_signed out;
  const bssl::UniquePtr<BIO> certificate(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509(certificate.get(), x509) == 1, "certificate");
  out.certificate_pem = text_of(certificate.get());
  const bssl::UniquePtr<BIO> secret(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_PKCS8PrivateKey(secret.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                     nullptr) == 1,
       "private key");
  out.key_pem = text_of(secret.get());
  return out;
}

}  // namespace conpool::bench

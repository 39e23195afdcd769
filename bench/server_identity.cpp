#include <bench/server_identity.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <initializer_list>

#include <conpool/tls/detail/boringssl.h>

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

struct extension {
  int nid;
  const char* value;
};

void add_extension(X509* to, const extension& wanted) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, to, to, nullptr, nullptr, 0);
  std::string text(wanted.value);
  const bssl::UniquePtr<X509_EXTENSION> made(
      X509V3_EXT_nconf_nid(nullptr, &context, wanted.nid, text.data()));
  must(made && X509_add_ext(to, made.get(), -1) == 1, wanted.value);
}

struct authority {
  const X509* certificate;  // null for a certificate that is its own issuer
  EVP_PKEY* key;
};

bssl::UniquePtr<X509> make_certificate(const char* subject, EVP_PKEY* key, const authority& issuer,
                                       std::initializer_list<extension> extensions) {
  bssl::UniquePtr<X509> made(X509_new());
  X509* const x509 = made.get();
  must(x509 != nullptr && X509_set_version(x509, X509_VERSION_3) == 1, "version");
  ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
  const std::time_t now = std::time(nullptr);
  ASN1_TIME_set(X509_getm_notBefore(x509), now - a_day_s);
  ASN1_TIME_set(X509_getm_notAfter(x509), now + a_day_s);
  X509_NAME* const name = X509_get_subject_name(x509);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const std::uint8_t*>(subject), -1, -1, 0);
  X509_set_issuer_name(
      x509, issuer.certificate != nullptr ? X509_get_subject_name(issuer.certificate) : name);
  must(X509_set_pubkey(x509, key) == 1, "public key");
  for (const extension& each : extensions) add_extension(x509, each);
  must(X509_sign(x509, issuer.key, EVP_sha256()) > 0, "signature");
  return made;
}

std::string text_of(BIO* written) {
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  must(BIO_mem_contents(written, &data, &size) == 1, "PEM");
  return {reinterpret_cast<const char*>(data), size};
}

std::string pem_of(X509* certificate) {
  const bssl::UniquePtr<BIO> text(BIO_new(BIO_s_mem()));
  must(text && PEM_write_bio_X509(text.get(), certificate) == 1, "certificate");
  return text_of(text.get());
}

std::string pem_of(EVP_PKEY* key) {
  const bssl::UniquePtr<BIO> text(BIO_new(BIO_s_mem()));
  must(text && PEM_write_bio_PKCS8PrivateKey(text.get(), key, nullptr, nullptr, 0, nullptr,
                                             nullptr) == 1,
       "private key");
  return text_of(text.get());
}

}  // namespace

server_identity make_server_identity() {
  const extension may_sign{NID_basic_constraints, "critical,CA:TRUE"};
  const bssl::UniquePtr<EVP_PKEY> root_key = make_key();
  const auto root =
      make_certificate("conpool root", root_key.get(), {nullptr, root_key.get()}, {may_sign});
  const bssl::UniquePtr<EVP_PKEY> middle_key = make_key();
  const auto middle = make_certificate("conpool intermediate", middle_key.get(),
                                       {root.get(), root_key.get()}, {may_sign});
  const bssl::UniquePtr<EVP_PKEY> key = make_key();
  const auto own = make_certificate("conpool server", key.get(), {middle.get(), middle_key.get()},
                                    {{NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1"},
                                     {NID_basic_constraints, "critical,CA:FALSE"},
                                     {NID_ext_key_usage, "serverAuth"}});
  return {pem_of(own.get()) + pem_of(middle.get()), pem_of(key.get()), pem_of(root.get())};
}

}  // namespace conpool::bench

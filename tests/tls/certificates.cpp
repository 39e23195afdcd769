#include <tests/tls/certificates.h>

#include <gtest/gtest.h>

#include <stdexcept>
#include <utility>

#include <conpool/tls/detail/boringssl.h>

namespace conpool::test {
namespace {

void must(bool done, const char* what) {
  if (!done) throw std::runtime_error(std::string("certificate helper: ") + what);
}

// The writer's type differs between versions of BoringSSL.
template <typename Writer>
std::string pem_of(Writer* write, X509* certificate) {
  const bssl::UniquePtr<BIO> out(BIO_new(BIO_s_mem()));
  must(write(out.get(), certificate) == 1, "certificate to PEM");
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  BIO_mem_contents(out.get(), &data, &size);
  return {reinterpret_cast<const char*>(data), size};
}

std::string pem_of(EVP_PKEY* key) {
  const bssl::UniquePtr<BIO> out(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_PKCS8PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
       "key to PEM");
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  BIO_mem_contents(out.get(), &data, &size);
  return {reinterpret_cast<const char*>(data), size};
}

bssl::UniquePtr<X509> x509_of(const std::string& pem) {
  const bssl::UniquePtr<BIO> in = tls::reader_of(pem);
  return bssl::UniquePtr<X509>(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
}

bssl::UniquePtr<EVP_PKEY> key_of(const std::string& pem) {
  const bssl::UniquePtr<BIO> in = tls::reader_of(pem);
  return bssl::UniquePtr<EVP_PKEY>(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
}

bssl::UniquePtr<EVP_PKEY> make_key(key_kind kind) {
  bssl::UniquePtr<EVP_PKEY> made(EVP_PKEY_new());
  if (kind == key_kind::ec) {
    bssl::UniquePtr<EC_KEY> key(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
    must(EC_KEY_generate_key(key.get()) == 1, "EC key");
    EVP_PKEY_assign_EC_KEY(made.get(), key.release());
  } else {
    bssl::UniquePtr<RSA> key(RSA_new());
    const bssl::UniquePtr<BIGNUM> exponent(BN_new());
    BN_set_word(exponent.get(), RSA_F4);
    must(RSA_generate_key_ex(key.get(), kind == key_kind::rsa_2048 ? 2048 : 1024, exponent.get(),
                             nullptr) == 1,
         "RSA key");
    EVP_PKEY_assign_RSA(made.get(), key.release());
  }
  return made;
}

void add_extension(X509* to, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
  const bssl::UniquePtr<X509_EXTENSION> made(
      X509V3_EXT_nconf_nid(nullptr, &context, nid, const_cast<char*>(value.c_str())));
  must(made && X509_add_ext(to, made.get(), -1) == 1, value.c_str());
}

void set_name(X509_NAME* name, const std::string& common_name) {
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const std::uint8_t*>(common_name.data()),
                             static_cast<int>(common_name.size()), -1, 0);
}

void add_extensions(X509* to, X509* issuer, const certificate_request& request) {
  std::string names;
  for (const std::string& one : request.dns) names += (names.empty() ? "DNS:" : ",DNS:") + one;
  for (const std::string& one : request.ip) names += (names.empty() ? "IP:" : ",IP:") + one;
  if (!names.empty()) add_extension(to, issuer, NID_subject_alt_name, names);
  add_extension(to, issuer, NID_basic_constraints,
                request.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  add_extension(
      to, issuer, NID_key_usage,
      "critical," + (request.is_ca ? "digitalSignature,keyCertSign,cRLSign" : request.key_usage));
  if (!request.is_ca && !request.usage.empty()) {
    add_extension(to, issuer, NID_ext_key_usage, request.usage);
  }
  if (!request.name_constraints.empty()) {
    add_extension(to, issuer, NID_name_constraints, request.name_constraints);
  }
}

// Signed by `issuer`, or by itself if that is null.
certificate make(const certificate_request& request, const certificate* issuer) {
  static std::uint64_t serials = 0;
  const bssl::UniquePtr<EVP_PKEY> key = make_key(request.key);
  const bssl::UniquePtr<X509> made(X509_new());
  X509_set_version(made.get(), X509_VERSION_3);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(made.get()), ++serials);
  ASN1_TIME_set(X509_getm_notBefore(made.get()), static_cast<time_t>(request.from_s));
  ASN1_TIME_set(X509_getm_notAfter(made.get()), static_cast<time_t>(request.until_s));
  set_name(X509_get_subject_name(made.get()), request.common_name);
  X509_set_pubkey(made.get(), key.get());
  const bssl::UniquePtr<X509> parent = issuer != nullptr ? x509_of(issuer->pem) : nullptr;
  const bssl::UniquePtr<EVP_PKEY> parent_key =
      issuer != nullptr ? key_of(issuer->key_pem) : nullptr;
  X509_set_issuer_name(made.get(), X509_get_subject_name(parent ? parent.get() : made.get()));
  add_extensions(made.get(), parent ? parent.get() : made.get(), request);
  must(X509_sign(made.get(), parent_key ? parent_key.get() : key.get(),
                 request.sha1 ? EVP_sha1() : EVP_sha256()) > 0,
       "signature");
  certificate done{pem_of(PEM_write_bio_X509, made.get()), pem_of(key.get())};
  std::uint8_t* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(made.get()), &der);
  must(size > 0, "public key");
  SHA256(der, static_cast<std::size_t>(size), done.key_hash.data());
  OPENSSL_free(der);
  return done;
}

}  // namespace

authority::authority(const std::string& name, std::int64_t from_s) {
  own_ = make({.common_name = name, .from_s = from_s, .is_ca = true}, nullptr);
}

certificate authority::issue(const certificate_request& request) const {
  certificate made = make(request, &own_);
  if (!is_root_) made.issuers_pem = own_.chain_pem();
  return made;
}

authority authority::intermediate(const std::string& name, const std::string& constraints) const {
  authority made;
  made.own_ = issue({.common_name = name, .name_constraints = constraints, .is_ca = true});
  made.is_root_ = false;
  return made;
}

std::string authority::revoke(const std::vector<certificate>& revoked, std::int64_t until_s) const {
  const bssl::UniquePtr<X509> self = x509_of(own_.pem);
  const bssl::UniquePtr<EVP_PKEY> key = key_of(own_.key_pem);
  const bssl::UniquePtr<X509_CRL> list(X509_CRL_new());
  X509_CRL_set_version(list.get(), X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(self.get()));
  const bssl::UniquePtr<ASN1_TIME> from(
      ASN1_TIME_set(nullptr, static_cast<time_t>(test_epoch_s - day_s)));
  const bssl::UniquePtr<ASN1_TIME> until(ASN1_TIME_set(nullptr, static_cast<time_t>(until_s)));
  X509_CRL_set1_lastUpdate(list.get(), from.get());
  X509_CRL_set1_nextUpdate(list.get(), until.get());
  for (const certificate& one : revoked) {
    const bssl::UniquePtr<X509> parsed = x509_of(one.pem);
    bssl::UniquePtr<X509_REVOKED> entry(X509_REVOKED_new());
    X509_REVOKED_set_serialNumber(entry.get(), X509_get_serialNumber(parsed.get()));
    X509_REVOKED_set_revocationDate(entry.get(), from.get());
    must(X509_CRL_add0_revoked(list.get(), entry.release()) == 1, "revoked entry");
  }
  X509_CRL_sort(list.get());
  must(X509_CRL_sign(list.get(), key.get(), EVP_sha256()) > 0, "list signature");
  const bssl::UniquePtr<BIO> out(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509_CRL(out.get(), list.get()) == 1, "list to PEM");
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  BIO_mem_contents(out.get(), &data, &size);
  return {reinterpret_cast<const char*>(data), size};
}

certificate authority::self_signed(const certificate_request& request) {
  return make(request, nullptr);
}

tls::trust_ptr authority::trust() const {
  return tls::trust_store::from_pem(own_.pem).value();
}

}  // namespace conpool::test

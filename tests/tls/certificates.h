// Certificates for tests, made when they are needed; none is kept in the tree.
//
//   authority root("test root");
//   certificate leaf = root.issue({.dns = {"api.example.com"}});
//
// EC P-256 unless said otherwise. Valid from a day before test_epoch_s to ten years after.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <conpool/tls/detail/boringssl_pointers.h>
#include <conpool/tls/profile.h>

struct X509_crl_st;

namespace conpool::test {

inline constexpr std::int64_t test_epoch_s = 1'900'000'000;
inline constexpr std::int64_t day_s = 86'400;

enum class key_kind : std::uint8_t { ec, rsa_2048, rsa_1024 };

struct certificate_request {
  std::string common_name = "leaf";
  std::vector<std::string> dns{};
  std::vector<std::string> ip{};
  std::int64_t from_s = test_epoch_s - day_s;
  std::int64_t until_s = test_epoch_s + 3650 * day_s;
  key_kind key = key_kind::ec;
  bool sha1 = false;
  std::string usage = "serverAuth,clientAuth";
  std::string key_usage = "digitalSignature";  // not of an authority
  std::string name_constraints{};              // of an authority, as openssl.cnf has them
  bool is_ca = false;
};

struct certificate {
  std::string pem;
  std::string key_pem;
  std::string issuers_pem{};  // those between it and the root
  tls::pin key_hash{};

  std::string chain_pem() const { return pem + issuers_pem; }
};

class authority {
 public:
  // `from_s`: for programs that look at the machine's clock.
  explicit authority(const std::string& name, std::int64_t from_s = test_epoch_s - day_s);
  authority(authority&&) noexcept = default;

  certificate issue(const certificate_request& request) const;
  // One of its own below it.
  authority intermediate(const std::string& name, const std::string& constraints = {}) const;
  // A revocation list with these in it.
  std::string revoke(const std::vector<certificate>& revoked, std::int64_t until_s) const;
  // A certificate that signed itself.
  static certificate self_signed(const certificate_request& request);

  const std::string& pem() const noexcept { return own_.pem; }
  tls::trust_ptr trust() const;

 private:
  authority() = default;
  certificate own_;
  bool is_root_ = true;
};

}  // namespace conpool::test

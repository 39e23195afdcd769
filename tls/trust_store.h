// The root certificates that peers are checked against, and the revocation lists.
//
// A trust_store is immutable, for the whole process, and shared by shared_ptr. The PEM is read and
// parsed once (10 ms and 0.9 MB for Debian's bundle); each shard then refers to the same parsed
// certificates (7 KB). Nothing is read from the file system after it is made, and never during a
// handshake.
//
//   auto trust = tls::trust_store::system();                 // the machine's, read at first use
//   auto own = tls::trust_store::from_file("/etc/my-ca.pem");
//   auto both = tls::trust_store::from_pem(bytes, {.crls_pem = lists});
//
// To reload is to make a new one. It has a generation of its own, so profiles that are made with it
// differ from those of before, and connections and tickets of the old one are not used for them.
//
// May be made and used on any thread. Making one blocks: it reads files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/error.h>
#include <conpool/tls/detail/boringssl_pointers.h>

namespace conpool::tls {

class trust_store;
using trust_ptr = std::shared_ptr<const trust_store>;

// Whose revocation is checked, if there are revocation lists.
enum class revocation_scope : std::uint8_t {
  chain,  // that of every certificate below the root; its issuer's list must be there
  leaf,   // only that of the peer's own
};

struct trust_options {
  // PEM of the revocation lists, one after the other; empty means that none are checked. It is read
  // while the store is made, and not kept.
  std::string_view crls_pem{};
  revocation_scope scope = revocation_scope::chain;
};

class CONPOOL_API trust_store {
 public:
  // The machine's: the file of SSL_CERT_FILE and the files in the folder of SSL_CERT_DIR if either
  // is set (secure_getenv), else the first of
  //   /etc/ssl/certs/ca-certificates.crt, /etc/pki/tls/certs/ca-bundle.crt,
  //   /etc/ssl/ca-bundle.pem, /etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem,
  //   /etc/ssl/cert.pem
  // that holds a certificate. It is read once, and the same object is given from then on; after a
  // failure the next call tries again. Errors: as from_file().
  static result<trust_ptr> system();
  // Reads the machine's roots anew, as a new generation; system() gives that from then on. So new
  // connections of tls:// endpoints without a profile are verified by it, and offer no tickets of
  // before. Connections that stand stay (pool::clear() ends them), and a profile keeps the store
  // that it was made with: to follow a reload, a program makes a new profile, and endpoints with
  // that.
  static result<trust_ptr> reload_system();
  // The generation of what system() gives; 0 if nobody has asked for that yet.
  static std::uint64_t system_generation() noexcept;

  // A certificate that cannot be parsed is an error here; in the system's bundle it is left out.
  // Errors, with phase::configure: trust_unavailable about the source, with the errno if a file
  // cannot be read; unsupported as profile::make().
  static result<trust_ptr> from_pem(std::string_view pem, const trust_options& options = {});
  static result<trust_ptr> from_file(const std::string& path, const trust_options& options = {});

  trust_store(const trust_store&) = delete;
  trust_store& operator=(const trust_store&) = delete;
  ~trust_store();

  // The number of this store in the process; no two have the same.
  std::uint64_t generation() const noexcept { return generation_; }
  std::size_t certificates() const noexcept;
  bool checks_revocation() const noexcept;
  // When the first of the revocation lists is out of date, in seconds since 1970; INT64_MAX if
  // there are none.
  std::int64_t stale_at_s() const noexcept { return stale_at_s_; }

  // For shards: a store of BoringSSL's over the same parsed certificates. Null without memory.
  boringssl_ptr<x509_store_st> make_store() const;

 private:
  struct parsed;
  explicit trust_store(std::unique_ptr<parsed> content);
  static result<trust_ptr> make(std::string_view pem, const trust_options& options,
                                bool skip_unknown, std::string_view source);
  static result<trust_ptr> load_system();

  std::unique_ptr<parsed> content_;
  std::uint64_t generation_;
  std::int64_t stale_at_s_;
};

}  // namespace conpool::tls

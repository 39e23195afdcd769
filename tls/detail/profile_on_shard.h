// A profile on one shard: its SSL_CTX, its roots, and the chains that were verified under it.
//
// shard_resources::config_for() makes it, and the shard_resources own it; it is used on their
// thread only. It takes about 1 KB, and 7 KB for the roots, which profiles of the same trust store
// share. The client's key is parsed anew for each shard, since BoringSSL keeps a lock and blinding
// values in it.
//
// Its verify() is the only judge of a peer's certificates, for resumed handshakes too:
//   a. a chain among the verified ones, not past its end, is good;
//   b. any other is verified: to a root of the trust store, for a TLS server, with the profile's
//      name or address (subject alternative names only), against the revocation lists if there are
//      any;
//   c. then our own policy applies: no weak keys and signatures, and a pinned key if there are
//      pins;
//   d. a refusal is sent as the alert that fits, and kept as the channel's error;
//   e. nothing is left behind in BoringSSL's error queue;
//   f. a good chain is remembered.
#pragma once

#include <string_view>

#include <conpool/tls/detail/chain_cache.h>
#include <conpool/tls/detail/ssl_config.h>
#include <conpool/tls/profile.h>

namespace conpool::tls {

class profile_on_shard final : public ssl_config {
 public:
  ~profile_on_shard() override;

  const profile_ptr& configuration() const noexcept { return profile_; }
  std::string_view server_name() const noexcept override { return profile_->server_name(); }
  chain_cache& verified() noexcept { return verified_; }

 private:
  friend class shard_resources;

  profile_on_shard(shard_resources& home, profile_ptr which);
  result<void> make();
  bool verify(channel& of, const ssl_st* session, std::uint8_t& alert) override;

  profile_ptr profile_;
  x509_store_st* roots_ = nullptr;  // the shard_resources own them; null if insecure
  chain_cache verified_;
};

}  // namespace conpool::tls

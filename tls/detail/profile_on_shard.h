// A profile on one shard: the library's context, the roots, the verified chains.
//
// Made by engine::config_for(), owned by the engine, used on its shard's thread only; about 1 KB,
// and 7 KB for the roots, which profiles of the same trust store share. The client's key is parsed
// anew for each shard: the library keeps a lock and blinding values in it.
//
// Its verify callback is the only judge of a peer's certificates, for resumed handshakes too:
//   a. a chain among the verified ones, not past its end, is good;
//   b. else it is verified: to a root of the trust store, for a TLS server, with the profile's name
//      or address (subject alternative names only), against the revocation lists if there are any;
//   c. then our own policy: no weak keys and signatures, and a pinned key if there are pins;
//   d. a refusal is sent as the alert that fits, and kept as the stream's error;
//   e. nothing is left behind in the library's error queue;
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
  x509_store_st* roots_ = nullptr;  // the engine's; null if insecure
  chain_cache verified_;
};

}  // namespace conpool::tls

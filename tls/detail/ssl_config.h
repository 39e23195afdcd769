// What a channel needs of its configuration, whichever side it is on.
//
// The base of profile_on_shard (a client's) and server_profile. It owns BoringSSL's SSL_CTX and
// knows the resources of its shard. Used on the shard's thread; outlives its channels (asserted).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <conpool/runtime/error.h>
#include <conpool/tls/detail/boringssl_pointers.h>

namespace conpool::tls {

class channel;
class shard_resources;

class ssl_config {
 public:
  ssl_config(const ssl_config&) = delete;
  ssl_config& operator=(const ssl_config&) = delete;

  shard_resources& home() const noexcept { return *home_; }
  bool is_server() const noexcept { return is_server_; }
  bool requires_alpn() const noexcept { return require_alpn_; }
  // The profile's id; 0 for a server.
  std::uint32_t profile_id() const noexcept { return profile_id_; }
  // How many of its channels live.
  std::size_t channels() const noexcept { return channels_; }
  // The name sent to servers; empty for none.
  virtual std::string_view server_name() const noexcept { return {}; }

 protected:
  friend class channel;

  ssl_config(shard_resources& home, bool is_server) noexcept
      : home_(&home), is_server_(is_server) {}
  virtual ~ssl_config();

  // Makes the SSL_CTX with all that both sides have in common. Errors: out_of_memory.
  result<void> make_ssl_ctx();
  // Lets verify() judge the peer's certificates. `mode` is SSL_CTX_set_custom_verify's.
  void set_verify(int mode);
  // False: the channel has been told why, and `alert` is what the peer is told.
  virtual bool verify(channel& of, const ssl_st* session, std::uint8_t& alert) = 0;
  static ssl_config& of(const ssl_st* session) noexcept;
  // The channel whose call BoringSSL is in.
  static channel& current(const ssl_st* session) noexcept;

  shard_resources* home_;
  boringssl_ptr<ssl_ctx_st> ssl_ctx_;
  std::size_t channels_ = 0;
  std::uint32_t profile_id_ = 0;
  bool is_server_;
  bool require_alpn_ = false;
  bool offers_sessions_ = false;
  bool has_certificate_ = false;  // of its own
  bool insecure_ = false;
};

}  // namespace conpool::tls

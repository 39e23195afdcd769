// What a stream needs of its configuration, whichever side it is on.
//
// The base of shard_context (client) and server_context. Owns the engine library's context object
// and knows its shard's engine. Used on the shard's thread; outlives its streams (asserted).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <conpool/runtime/error.h>
#include <conpool/tls/detail/engine.h>
#include <conpool/tls/detail/handles.h>

namespace conpool::tls {

class context_base {
 public:
  context_base(const context_base&) = delete;
  context_base& operator=(const context_base&) = delete;

  engine& home() const noexcept { return *home_; }
  bool is_server() const noexcept { return is_server_; }
  bool requires_alpn() const noexcept { return require_alpn_; }
  // The profile's id; 0 for a server.
  std::uint32_t profile_id() const noexcept { return profile_id_; }
  // Streams of it that live.
  std::size_t streams() const noexcept { return streams_; }
  // The name sent to servers; empty for none.
  virtual std::string_view server_name() const noexcept { return {}; }

 protected:
  friend class stream;

  context_base(engine& home, bool is_server) noexcept : home_(&home), is_server_(is_server) {}
  virtual ~context_base();

  // Makes the library's object with all that both sides have in common.
  result<void> make_library_context();
  // Lets verify() judge the peer's certificates; `mode`: of SSL_CTX_set_custom_verify.
  void set_verify(int mode);
  // False: the stream has been told why, and `alert` is what the peer is told.
  virtual bool verify(stream& of, const ssl_st* session, std::uint8_t& alert) = 0;
  static context_base& of(const ssl_st* session) noexcept;
  // The stream whose call the library is in.
  static stream& current(const ssl_st* session) noexcept;

  engine* home_;
  handle<ssl_ctx_st> library_;
  std::size_t streams_ = 0;
  std::uint32_t profile_id_ = 0;
  bool is_server_;
  bool require_alpn_ = false;
  bool offers_sessions_ = false;
  bool has_certificate_ = false;  // of its own
  bool insecure_ = false;
};

}  // namespace conpool::tls

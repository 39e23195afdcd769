// The facts about one TLS connection: version, cipher suite, protocol, the peer's certificate.
//
//   auto lease = co_await backends.acquire(where);                // a tls:// endpoint
//   const tls::connection_info& facts = *(*lease)->tls();
//   if (facts.alpn() == "h2") ...
//
// connection::tls() and tls::of() give it; both give null for a connection without TLS. The
// handshake settles all of it, so it does not change while the connection lives. The views point
// into BoringSSL's memory and are valid until the connection is closed.
//
// Owned by the connection and used on its shard's thread. Each call reads BoringSSL's object; none
// allocates.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <conpool/runtime/detail/export.h>
#include <conpool/tls/detail/boringssl_pointers.h>
#include <conpool/tls/profile.h>

namespace conpool::tls {

class CONPOOL_API connection_info {
 public:
  connection_info(const connection_info&) = delete;
  connection_info& operator=(const connection_info&) = delete;

  conpool::tls::version version() const noexcept;
  // By its name in the standard, "TLS_AES_128_GCM_SHA256".
  std::string_view cipher() const noexcept;
  // The application protocol that was chosen; empty if none was.
  std::string_view alpn() const noexcept;
  // Whether the handshake resumed the session of an earlier connection.
  bool resumed() const noexcept;
  // Whether it accepted any certificate (profile_options::insecure).
  bool insecure() const noexcept { return insecure_; }
  // The peer's own certificate in DER; empty if it sent none.
  std::span<const std::byte> peer_certificate() const noexcept;
  // The server name that the client sent; empty for none.
  std::string_view requested_name() const noexcept;
  // What the connection is called in errors; together with the profile, the key of its sessions.
  const std::string& peer() const noexcept { return *peer_; }

  // BoringSSL's SSL, for what is not offered here. Nobody but conpool reads or writes through it.
  ssl_st* native() const noexcept { return ssl_.get(); }

 protected:
  connection_info(const std::string& peer, boringssl_ptr<ssl_st> ssl, bool insecure) noexcept
      : peer_(&peer), ssl_(std::move(ssl)), insecure_(insecure) {}
  ~connection_info() = default;

  const std::string* peer_;
  boringssl_ptr<ssl_st> ssl_;
  bool insecure_;
};

}  // namespace conpool::tls

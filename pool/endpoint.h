// Where to connect: an address that was parsed and checked once.
//
// Two endpoints are equal when a connection to one can serve a caller who asked for the other. So
// an endpoint is the key of a pool's connections: it is compared in full, and its hash is computed
// once, by parse(). The forms are
//
//   tcp://host:port   plain TCP; a bare `host:port` means the same
//   tls://host:port   TLS over TCP
//   unix:/path        a Unix stream socket; `unix:///path` means the same
//   unix:@name        a Unix stream socket in Linux's abstract namespace
//
// A host is a name, an IPv4 address or an IPv6 address in brackets: `tcp://[::1]:6379`.
//
//   auto parsed = conpool::endpoint::parse("tcp://Cache.Example.org.:6379");
//   if (!parsed) return parsed.error();         // its detail() says what would be right
//   parsed->text();                             // "tcp://cache.example.org:6379"
//
// A tls:// endpoint may have a profile (tls/profile.h): what is verified and offered, and as whom.
// It is a part of the identity, compared by its contents. Without one the default is used: the
// host's name or address is verified against the system's roots.
//
//   auto as_client = parsed->with_profile(profile);      // result<endpoint>
//
// Connections to one address may still not serve each other's callers: they are logged in as
// different users, or use different databases. A tag keeps them apart. It is a part of the identity
// and of the text, so statistics and errors have it; what it means is the protocol's business.
//
//   auto orders = endpoint::parse("tcp://10.0.0.7:5432#user=app,database=orders");
//   orders->tag();                                // "user=app,database=orders"
//   auto other = orders->with_tag("user=app,database=bills");      // result<endpoint>
//
// A plain value, usable on any thread, sharing nothing. It holds one string, so a copy costs at
// most one allocation. There is no empty endpoint: one that was moved from may only be assigned to
// or destroyed.
#pragma once

#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/error.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace conpool {

namespace tls {
class profile;
}

// What carries the bytes.
enum class transport : std::uint8_t {
  tcp,
  tls,          // TLS over TCP
  unix_socket,  // a stream socket of the local machine
};

// The scheme as an endpoint's text spells it: "tcp", "tls", "unix".
CONPOOL_API const char* to_string(transport value) noexcept;

class CONPOOL_API endpoint {
 public:
  // Reads one of the forms above, tcp and tls with `#tag` behind it or without. Schemes and host
  // names are taken in any case and kept in lower case; one trailing dot of a host is dropped;
  // numeric addresses are brought into the form of inet_ntop(3). A link-local IPv6 address has its
  // interface behind a '%', by name or number, which stays as it is written: [fe80::1%eth0]:80.
  // Nothing is resolved, opened or looked up.
  //
  // Fails with errc::invalid_endpoint, phase::configure. The subject is the text as given, escaped
  // where it is not printable, cut after 100 bytes, and with `***` where a URL holds credentials,
  // since errors go to logs. The detail says what is wrong and what would be right.
  static result<endpoint> parse(std::string_view text);

  conpool::transport transport() const noexcept { return transport_; }

  // The host name or numeric address, without brackets; empty for a Unix socket. Not terminated by
  // a NUL. This view and path()'s are valid as long as this endpoint is neither changed nor moved.
  std::string_view host() const noexcept;

  // 1 to 65535; 0 for a Unix socket.
  std::uint16_t port() const noexcept { return port_; }

  // "/path" (at most 107 bytes) or "@name" (the name at most 107 bytes, and in a sockaddr_un a NUL
  // takes the place of the '@'); empty unless this is a Unix socket.
  std::string_view path() const noexcept;

  // Whether the host is an IPv4 or IPv6 address, so that there is nothing to resolve.
  bool is_numeric() const noexcept { return is_numeric_; }

  // Whether path() is a name in the abstract namespace and not in the file system.
  bool is_abstract() const noexcept;

  // Empty without one. The view is valid as long as those above.
  std::string_view tag() const noexcept;

  // The canonical text, with `#tag` at its end. parse(text()) gives an equal endpoint, but for the
  // profile, and but for the tag of a Unix socket, since a path may have a '#' itself.
  const std::string& text() const noexcept { return text_; }
  // For people: with a number that tells profiles apart, if it has one.
  std::string to_string() const;

  // The same place under a profile; null takes it away. Fails with phase::configure, about text():
  // errc::invalid_argument if this is no tls:// endpoint, errc::unsupported in a build without TLS.
  result<endpoint> with_profile(std::shared_ptr<const tls::profile> as) const;
  // The same place under a tag; an empty one takes it away. A tag has at most 128 characters of
  // printable ASCII without space, '#' and '@'. No secret belongs into it. Fails with
  // errc::invalid_argument, phase::configure, about text().
  result<endpoint> with_tag(std::string_view tag) const;
  // Null for the default.
  const std::shared_ptr<const tls::profile>& profile() const noexcept { return profile_; }

  // Well mixed in all 64 bits, the same in every process. No secret goes into it: whoever lets
  // strangers choose endpoints must bound how many there are.
  std::uint64_t hash() const noexcept { return hash_; }

  // Text and profile hold all of the identity, and the hash settles most inequalities at once.
  // Profiles of equal contents are one object.
  friend bool operator==(const endpoint& left, const endpoint& right) noexcept {
    return left.hash_ == right.hash_ && left.text_ == right.text_ &&
           left.tag_size_ == right.tag_size_ && left.profile_ == right.profile_;
  }

 private:
  endpoint(conpool::transport transport, std::string_view name, std::uint16_t port,
           bool is_numeric);

  std::string_view name() const noexcept;
  void set_tag(std::string_view tag);
  void rehash() noexcept;

  std::string text_;
  std::shared_ptr<const tls::profile> profile_;
  std::uint64_t hash_ = 0;
  std::uint32_t profile_id_ = 0;
  std::uint16_t port_;
  // Where in text_ the host or the path is. Both fit: the longest name has 253 bytes.
  std::uint8_t name_begin_ = 0;
  std::uint8_t name_size_ = 0;
  std::uint8_t tag_size_ = 0;  // the tag is at the end of text_, behind a '#'
  conpool::transport transport_;
  bool is_numeric_;
};

}  // namespace conpool

template <>
struct std::hash<conpool::endpoint> {
  std::size_t operator()(const conpool::endpoint& value) const noexcept { return value.hash(); }
};

// A socket address: IPv4, IPv6 or a Unix-domain path, as the kernel takes it.
//
// A value of 116 bytes that owns its memory and allocates nothing; copy it freely and on any
// thread. A connect in flight refers to data(): keep the address in place until it ended.
//
//   auto address = socket_address::ip("127.0.0.1", 6379);
//   if (!address) return fail(address.error());
//   co_await socket.connect(address->data(), address->size(), deadline);
//
// It parses literals only; names are for the resolver.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <string>
#include <string_view>

#include <conpool/runtime/error.h>

namespace conpool {

class socket_address {
 public:
  // No address: family AF_UNSPEC, size 0.
  socket_address() noexcept : length_(0) { as_.generic.sa_family = AF_UNSPEC; }

  // From "127.0.0.1", "::1" or "fe80::1%eth0", without brackets; `port` in host byte order. Errors:
  // errc::invalid_argument.
  static result<socket_address> ip(std::string_view literal, std::uint16_t port);

  // From a path of 1 to 107 bytes; a leading '@' makes a name of the abstract namespace, which
  // needs no file. Errors: errc::invalid_argument.
  static result<socket_address> unix_path(std::string_view path);

  // A copy of what the kernel or a resolver returned: AF_INET, AF_INET6 or AF_UNIX. Errors:
  // errc::invalid_argument for another family, or a length that cannot be right.
  static result<socket_address> from(const sockaddr* address, socklen_t length);

  // Valid as long as this object, at its present place.
  const sockaddr* data() const noexcept { return &as_.generic; }
  socklen_t size() const noexcept { return length_; }
  int family() const noexcept { return as_.generic.sa_family; }

  // In host byte order; 0 for what has none (a Unix-domain socket).
  std::uint16_t port() const noexcept;
  // Precondition: an IPv4 or IPv6 address.
  void set_port(std::uint16_t port) noexcept;

  // "127.0.0.1:80", "[::1]:80", "[fe80::1%2]:80", "unix:/path", "unix:@name"; "unix:" for a socket
  // without a name, "none" for no address.
  std::string to_string() const;

  // The same place to connect to: IPv6 flow labels are not compared.
  friend bool operator==(const socket_address& left, const socket_address& right) noexcept;

 private:
  union storage {
    sockaddr generic;
    sockaddr_in v4;
    sockaddr_in6 v6;
    sockaddr_un local;
  };

  std::string_view local_name() const noexcept;

  storage as_{.local = {}};
  socklen_t length_;
};

static_assert(sizeof(socket_address) <= 116);

}  // namespace conpool

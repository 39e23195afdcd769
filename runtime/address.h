// A socket address as the kernel takes it: IPv4, IPv6 or a Unix-domain path.
//
// It is a value of 116 bytes that owns its memory and allocates nothing. You may copy it freely and
// use it on any thread. A connect in flight reads data() in place, so keep the address alive and
// unmoved until the connect has ended.
//
//   auto address = socket_address::ip("127.0.0.1", 6379);
//   if (!address) co_return fail(address.error());
//   auto peer = co_await connect_socket(home, *address, {}, 3s);
//
// It parses literal addresses only; a name needs a look-up first (resolver.h).
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <string>
#include <string_view>

#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/error.h>

namespace conpool {

class CONPOOL_API socket_address {
 public:
  // No address: the family is AF_UNSPEC and the size 0.
  socket_address() noexcept : length_(0) { as_.generic.sa_family = AF_UNSPEC; }

  // Parses "127.0.0.1", "::1" or "fe80::1%eth0", without brackets; `port` is in host byte order.
  // Errors: errc::invalid_argument.
  static result<socket_address> ip(std::string_view literal, std::uint16_t port);

  // Takes a path of 1 to 107 bytes. A leading '@' makes it a name in the abstract namespace, which
  // needs no file. Errors: errc::invalid_argument.
  static result<socket_address> unix_path(std::string_view path);

  // Copies an address that the kernel or a resolver returned: AF_INET, AF_INET6 or AF_UNIX. Errors:
  // errc::invalid_argument if the family is another one or the length cannot be right.
  static result<socket_address> from(const sockaddr* address, socklen_t length);

  // The pointer is valid until this object is destroyed, moved or assigned to.
  const sockaddr* data() const noexcept { return &as_.generic; }
  socklen_t size() const noexcept { return length_; }
  int family() const noexcept { return as_.generic.sa_family; }

  // The port in host byte order; 0 if the address has none, as a Unix-domain socket.
  std::uint16_t port() const noexcept;
  // Precondition: this is an IPv4 or IPv6 address.
  void set_port(std::uint16_t port) noexcept;

  // The text for a person: "127.0.0.1:80", "[::1]:80", "[fe80::1%2]:80", "unix:/path" or
  // "unix:@name"; "unix:" for a socket without a name and "none" for no address.
  std::string to_string() const;

  // Equal if both lead to the same place: IPv6 flow labels are not compared.
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

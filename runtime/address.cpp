#include <conpool/runtime/address.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstring>

#include <arpa/inet.h>
#include <net/if.h>

#include <conpool/runtime/detail/assert.h>

namespace conpool {
namespace {

constexpr socklen_t path_offset = offsetof(sockaddr_un, sun_path);
constexpr std::size_t path_bytes_max = sizeof(sockaddr_un::sun_path) - 1;  // and a final zero

std::unexpected<error> invalid(std::string_view subject, std::string_view detail) {
  return fail(error(errc::invalid_argument, phase::configure).about(subject).with_detail(detail));
}

// The interface behind the '%' of a link-local address, by name or number; 0 if there is none.
std::uint32_t scope_of(const std::string& zone) noexcept {
  std::uint32_t index = 0;
  const char* const end = zone.data() + zone.size();
  const std::from_chars_result parsed = std::from_chars(zone.data(), end, index);
  if (parsed.ec == std::errc{} && parsed.ptr == end) return index;
  return ::if_nametoindex(zone.c_str());
}

}  // namespace

result<socket_address> socket_address::ip(std::string_view literal, std::uint16_t port) {
  const std::size_t percent = literal.find('%');
  const std::string_view digits = literal.substr(0, percent);
  // inet_pton wants a terminated string; a longer one, or one with a zero in it, is no address.
  std::array<char, INET6_ADDRSTRLEN> terminated{};
  if (digits.size() >= terminated.size() || digits.find('\0') != digits.npos) {
    return invalid(literal, "it is not an IPv4 or IPv6 address");
  }
  std::copy(digits.begin(), digits.end(), terminated.begin());

  socket_address made;
  if (percent == literal.npos && ::inet_pton(AF_INET, terminated.data(), &made.as_.v4.sin_addr)) {
    made.as_.v4.sin_family = AF_INET;
    made.length_ = sizeof made.as_.v4;
  } else if (::inet_pton(AF_INET6, terminated.data(), &made.as_.v6.sin6_addr)) {
    made.as_.v6.sin6_family = AF_INET6;
    made.length_ = sizeof made.as_.v6;
    if (percent != literal.npos) {
      made.as_.v6.sin6_scope_id = scope_of(std::string(literal.substr(percent + 1)));
      if (made.as_.v6.sin6_scope_id == 0) {
        return invalid(literal, "there is no network interface of this name");
      }
    }
  } else {
    return invalid(literal, "it is not an IPv4 or IPv6 address");
  }
  made.set_port(port);
  return made;
}

result<socket_address> socket_address::unix_path(std::string_view path) {
  if (path.empty() || path == "@") return invalid(path, "the path of a Unix socket is empty");
  if (path.size() > path_bytes_max) {
    return invalid(path, "the path of a Unix socket has at most 107 bytes");
  }
  if (path.find('\0') != path.npos) {
    return invalid(path, "the path of a Unix socket has a zero byte in it");
  }
  socket_address made;
  made.as_.local.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), made.as_.local.sun_path);
  made.length_ = path_offset + static_cast<socklen_t>(path.size());
  if (path.front() == '@') {
    made.as_.local.sun_path[0] = '\0';  // abstract: every byte up to the length counts
  } else {
    ++made.length_;  // the final zero
  }
  return made;
}

result<socket_address> socket_address::from(const sockaddr* address, socklen_t length) {
  socklen_t shortest = sizeof(sa_family_t);
  socklen_t longest = sizeof(storage);
  sa_family_t family = AF_UNSPEC;
  if (address != nullptr && length >= shortest) {
    std::memcpy(&family, reinterpret_cast<const char*>(address) + offsetof(sockaddr, sa_family),
                sizeof family);
  }
  switch (family) {
    case AF_INET:
      shortest = longest = sizeof(sockaddr_in);
      break;
    case AF_INET6:
      shortest = longest = sizeof(sockaddr_in6);
      break;
    case AF_UNIX:
      longest = sizeof(sockaddr_un);
      break;
    default:
      return invalid("socket address", "it is not of IPv4, IPv6 or a Unix socket");
  }
  if (length < shortest || length > longest) {
    return invalid("socket address", "its length does not fit its family");
  }
  socket_address made;
  std::memcpy(&made.as_, address, length);
  made.length_ = length;
  return made;
}

std::uint16_t socket_address::port() const noexcept {
  if (family() == AF_INET) return ntohs(as_.v4.sin_port);
  if (family() == AF_INET6) return ntohs(as_.v6.sin6_port);
  return 0;
}

void socket_address::set_port(std::uint16_t port) noexcept {
  CONPOOL_ASSERT(family() == AF_INET || family() == AF_INET6, "only an IP address has a port");
  if (family() == AF_INET) as_.v4.sin_port = htons(port);
  if (family() == AF_INET6) as_.v6.sin6_port = htons(port);
}

// The bytes of sun_path that name the socket: an abstract name with its leading zero, a path
// without its final one. Empty for a socket without a name.
std::string_view socket_address::local_name() const noexcept {
  const std::string_view name(as_.local.sun_path, length_ - path_offset);
  if (name.empty() || name.front() == '\0') return name;
  return name.substr(0, name.find('\0'));
}

std::string socket_address::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text;
  switch (family()) {
    case AF_INET:
      ::inet_ntop(AF_INET, &as_.v4.sin_addr, text.data(), text.size());
      return std::string(text.data()) + ':' + std::to_string(port());
    case AF_INET6: {
      ::inet_ntop(AF_INET6, &as_.v6.sin6_addr, text.data(), text.size());
      std::string made = '[' + std::string(text.data());
      if (as_.v6.sin6_scope_id != 0) made += '%' + std::to_string(as_.v6.sin6_scope_id);
      return made + "]:" + std::to_string(port());
    }
    case AF_UNIX: {
      std::string made = "unix:" + std::string(local_name());
      std::replace(made.begin(), made.end(), '\0', '@');
      return made;
    }
    default:
      return "none";
  }
}

bool operator==(const socket_address& left, const socket_address& right) noexcept {
  if (left.family() != right.family()) return false;
  const socket_address::storage& a = left.as_;
  const socket_address::storage& b = right.as_;
  switch (left.family()) {
    case AF_INET:
      return a.v4.sin_port == b.v4.sin_port && a.v4.sin_addr.s_addr == b.v4.sin_addr.s_addr;
    case AF_INET6:
      return a.v6.sin6_port == b.v6.sin6_port && a.v6.sin6_scope_id == b.v6.sin6_scope_id &&
             std::memcmp(&a.v6.sin6_addr, &b.v6.sin6_addr, sizeof a.v6.sin6_addr) == 0;
    case AF_UNIX:
      return left.local_name() == right.local_name();
    default:
      return true;
  }
}

}  // namespace conpool

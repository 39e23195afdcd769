#include <arpa/inet.h>
#include <conpool/pool/endpoint.h>
#include <conpool/runtime/detail/assert.h>
#include <conpool/tls/profile.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <expected>
#include <iterator>
#include <limits>
#include <system_error>
#include <utility>

namespace conpool {
namespace {

constexpr std::size_t shown_bytes_max = 100;
constexpr std::size_t host_bytes_max = 253;  // RFC 1035, without the root's dot
constexpr std::size_t label_bytes_max = 63;
constexpr unsigned port_max = 65535;
constexpr std::size_t tag_bytes_max = 128;
static_assert(tag_bytes_max <= std::numeric_limits<std::uint8_t>::max());
// A path ends with a NUL inside sun_path, an abstract name begins with one.
constexpr std::size_t unix_bytes_max = sizeof(sockaddr_un::sun_path) - 1;
static_assert(unix_bytes_max == 107);

constexpr std::string_view host_port_example = "as in tcp://localhost:6379";

// The outcome of a step: a value, or the sentence that becomes the error's detail.
template <typename T>
using step = std::expected<T, std::string>;

std::unexpected<std::string> wrong(std::string sentence) {
  return std::unexpected<std::string>(std::move(sentence));
}

struct checked_parts {
  conpool::transport transport = transport::tcp;
  std::string name;  // the host without brackets, or the path
  std::uint16_t port = 0;
  bool is_numeric = false;
  std::string_view tag;
};

// <cctype> depends on the locale; an endpoint does not.
constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
constexpr char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
constexpr bool is_letter(char c) {
  return lower(c) >= 'a' && lower(c) <= 'z';
}
constexpr bool is_hex(char c) {
  return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'f');
}
constexpr bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}
constexpr bool is_ascii(char c) {
  return static_cast<unsigned char>(c) < 0x80;
}

std::string lowered(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

// What a log can take: printable ASCII, not long. Never ends within an escape.
std::string shown(std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    std::string piece(1, c);
    if (c == '\\') {
      piece.push_back(c);
    } else if (is_control(c) || !is_ascii(c)) {
      const auto byte = static_cast<unsigned char>(c);
      piece = {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    }
    if (out.size() + piece.size() > shown_bytes_max) return out + "...";
    out += piece;
  }
  return out;
}

std::string quoted(std::string_view text) {
  std::string out(1, '\'');
  out += shown(text);
  out += '\'';
  return out;
}

// RFC 3986: a letter, then letters, digits, '+', '-' and '.'.
bool is_scheme(std::string_view text) {
  if (text.empty() || !is_letter(text.front())) return false;
  return std::ranges::all_of(
      text, [](char c) { return is_letter(c) || is_digit(c) || c == '+' || c == '-' || c == '.'; });
}

bool has_prefix_ignoring_case(std::string_view text, std::string_view lower_prefix) {
  return lowered(text.substr(0, lower_prefix.size())) == lower_prefix;
}

// The text for the error, without what a pasted URL may hold: redis://user:secret@host:6379.
std::string subject_of(std::string_view text) {
  const std::size_t at = text.rfind('@');
  if (at == text.npos || has_prefix_ignoring_case(text, "unix:")) return shown(text);
  const std::size_t separator = text.find("://");
  std::string out;
  if (separator < at && is_scheme(text.substr(0, separator))) out = text.substr(0, separator + 3);
  out.append("***").append(text.substr(at));
  return shown(out);
}

step<std::uint16_t> parse_port(std::string_view text) {
  if (text.empty()) return wrong("the port after ':' is missing; ports are 1 to 65535");
  if (!std::ranges::all_of(text, is_digit)) {
    return wrong("port " + quoted(text) + " is not a number; ports are 1 to 65535");
  }
  unsigned value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || value == 0 || value > port_max) {
    return wrong("port " + shown(text) + " is out of range; ports are 1 to 65535");
  }
  return static_cast<std::uint16_t>(value);
}

// The address as inet_ntop writes it, so that each has one spelling; empty if it is none.
std::string canonical_address(int family, std::string_view text) {
  in6_addr address{};  // large enough for both families
  char buffer[INET6_ADDRSTRLEN];
  if (text.size() >= sizeof buffer) return {};
  if (::inet_pton(family, std::string(text).c_str(), &address) != 1) return {};
  const char* canonical = ::inet_ntop(family, &address, buffer, sizeof buffer);
  CONPOOL_ASSERT(canonical != nullptr, "an address that was read cannot be written");
  return canonical;
}

// What a resolver of the old school would take for a number: 127.1, 0x7f000001, 1.2.3.256.
bool ends_in_number(std::string_view host) {
  const std::string_view last = host.substr(host.rfind('.') + 1);  // npos + 1 is 0
  if (std::ranges::all_of(last, is_digit)) return true;
  return has_prefix_ignoring_case(last, "0x") && std::ranges::all_of(last.substr(2), is_hex);
}

step<void> check_host_bytes(std::string_view host) {
  for (std::size_t i = 0; i < host.size(); ++i) {
    const char c = host[i];
    if (is_letter(c) || is_digit(c) || c == '-' || c == '_' || c == '.') continue;
    const std::string where = "host " + quoted(host) + " has ";
    if (c == ' ') return wrong(where + "a space at byte " + std::to_string(i) + "; remove it");
    if (!is_ascii(c)) {
      return wrong(where + "a byte outside ASCII at byte " + std::to_string(i) +
                   "; write an international name in its xn-- form");
    }
    return wrong(where + quoted(host.substr(i, 1)) + " at byte " + std::to_string(i) +
                 "; names are letters, digits, '-', '_' and '.'");
  }
  return {};
}

step<void> check_host_name(std::string_view host) {
  if (auto bytes = check_host_bytes(host); !bytes) return bytes;
  if (host.size() > host_bytes_max) {
    return wrong("the host name has " + std::to_string(host.size()) + " bytes; it may have " +
                 std::to_string(host_bytes_max));
  }
  for (std::size_t begin = 0; begin <= host.size();) {
    const std::size_t end = std::min(host.find('.', begin), host.size());
    const std::string_view label = host.substr(begin, end - begin);
    if (label.empty()) {
      return wrong("host " + quoted(host) + " has nothing between two dots or before the first; " +
                   "names are labels with one '.' between them");
    }
    if (label.size() > label_bytes_max) {
      return wrong("label " + quoted(label) + " of the host has " + std::to_string(label.size()) +
                   " bytes; it may have " + std::to_string(label_bytes_max));
    }
    begin = end + 1;
  }
  if (ends_in_number(host)) {
    return wrong("host " + quoted(host) +
                 " is neither a name nor an IPv4 address; an address is four numbers of 0 to 255 "
                 "without leading zeros, as in 127.0.0.1");
  }
  return {};
}

step<checked_parts> parse_name_and_port(std::string_view host, std::string_view port_text) {
  if (host.empty()) {
    return wrong("the host before ':' is missing; write host:port, " +
                 std::string(host_port_example));
  }
  if (host.size() > 1 && host.ends_with('.')) host.remove_suffix(1);
  checked_parts parts;
  parts.name = canonical_address(AF_INET, host);
  parts.is_numeric = !parts.name.empty();
  if (!parts.is_numeric) {
    if (auto name = check_host_name(host); !name) return wrong(std::move(name.error()));
    parts.name = lowered(host);
  }
  const auto port = parse_port(port_text);
  if (!port) return wrong(port.error());
  parts.port = *port;
  return parts;
}

constexpr std::size_t zone_bytes_max = 15;  // IFNAMSIZ, without the NUL

// A link-local address, fe80::/10: the same exists on every network, so it needs its interface.
bool is_link_local(const std::string& canonical) {
  in6_addr address{};
  return ::inet_pton(AF_INET6, canonical.c_str(), &address) == 1 && IN6_IS_ADDR_LINKLOCAL(&address);
}

// `address` or `address%zone`, where the zone is an interface's name or number; canonical.
step<std::string> parse_ipv6(std::string_view text) {
  const std::size_t percent = text.find('%');
  std::string canonical = canonical_address(AF_INET6, text.substr(0, percent));
  if (canonical.empty()) {
    return wrong(quoted(text) + " in brackets is not an IPv6 address; only those have brackets");
  }
  const bool local = is_link_local(canonical);
  if (percent == text.npos) {
    if (!local) return canonical;
    return wrong("the link-local address " + quoted(text) +
                 " needs the interface that it is reached by, as in [fe80::1%eth0]:6379");
  }
  const std::string_view zone = text.substr(percent + 1);
  if (!local) {
    return wrong("only a link-local address (fe80::) has a zone; leave '%" + shown(zone) + "' out");
  }
  const auto odd = [](char c) {
    return is_control(c) || !is_ascii(c) || c == ' ' || c == '%';
  };
  if (zone.empty() || zone.size() > zone_bytes_max || std::ranges::any_of(zone, odd)) {
    return wrong("the zone in " + quoted(text) +
                 " is not the name or number of an interface, as in [fe80::1%eth0]:6379");
  }
  return canonical.append(1, '%').append(zone);
}

// `[address]:port`
step<checked_parts> parse_bracketed(std::string_view text) {
  const std::size_t close = text.find(']');
  if (close == text.npos) {
    return wrong("'[' without ']'; write an IPv6 address as in tcp://[::1]:6379");
  }
  const std::string_view address = text.substr(1, close - 1);
  const std::string_view after = text.substr(close + 1);
  checked_parts parts;
  step<std::string> canonical = parse_ipv6(address);
  if (!canonical) return wrong(std::move(canonical.error()));
  parts.name = std::move(*canonical);
  parts.is_numeric = true;
  if (after.empty()) {
    return wrong("there is no port after ']'; write [address]:port, as in tcp://[::1]:6379");
  }
  if (after.front() != ':') {
    return wrong(quoted(after) + " follows ']'; only ':' and a port may");
  }
  const auto port = parse_port(after.substr(1));
  if (!port) return wrong(port.error());
  parts.port = *port;
  return parts;
}

// Why `text`, which has more than one ':' and no brackets, is not host:port.
std::string explain_colons(std::string_view text) {
  const std::string_view before_last = text.substr(0, text.rfind(':'));
  if (!canonical_address(AF_INET6, text).empty() ||
      !canonical_address(AF_INET6, before_last).empty()) {
    return "an IPv6 address needs brackets, as in tcp://[::1]:6379; without them its end and the "
           "port cannot be told apart";
  }
  if (has_prefix_ignoring_case(text, "tcp:") || has_prefix_ignoring_case(text, "tls:")) {
    return "two slashes belong after the scheme; write " + shown(lowered(text.substr(0, 3))) +
           "://host:port";
  }
  return quoted(text) + " has more than one ':'; write host:port, or [address]:port for IPv6";
}

step<void> check_tag(std::string_view tag) {
  if (tag.size() > tag_bytes_max) {
    return wrong("the tag has " + std::to_string(tag.size()) + " bytes; it may have " +
                 std::to_string(tag_bytes_max));
  }
  const std::size_t odd =
      static_cast<std::size_t>(std::ranges::find_if(tag,
                                                    [](char c) {
                                                      return is_control(c) || !is_ascii(c) ||
                                                             c == ' ' || c == '#' || c == '@';
                                                    }) -
                               tag.begin());
  if (odd == tag.size()) return {};
  return wrong("the tag has " + quoted(tag.substr(odd, 1)) + " at byte " + std::to_string(odd) +
               "; a tag is printable ASCII without space, '#' and '@'");
}

// What follows tcp:// or tls://: `host:port` or `[address]:port`, and nothing else. `scheme` is
// empty where the text has none.
step<checked_parts> parse_authority(std::string_view text, std::string_view scheme) {
  if (text.empty()) {
    return wrong("there is nothing after '" + std::string(scheme) +
                 "://'; write a host and a port, " + std::string(host_port_example));
  }
  // First, so that no other sentence can quote a password.
  if (text.contains('@')) {
    return wrong("credentials before '@' do not belong into an endpoint; write only host:port");
  }
  if (const std::size_t slash = text.find_first_of("/?"); slash != text.npos) {
    if (scheme.empty() && (slash == 0 || !text.substr(0, slash).contains(':'))) {
      return wrong(quoted(text) +
                   " has a '/' but no scheme; write tcp://host:port, or unix:/path for a socket "
                   "in the file system");
    }
    if (scheme.empty() && text[slash - 1] == ':') {
      return wrong("two slashes belong after the scheme; write tcp://host:port");
    }
    return wrong(quoted(text.substr(slash)) +
                 " follows host and port; an endpoint says where to connect and has no path "
                 "or query");
  }
  if (text.front() == '[') return parse_bracketed(text);
  const std::size_t colon = text.find(':');
  if (colon == text.npos) {
    return wrong("there is no port after " + quoted(text) + "; write host:port, " +
                 std::string(host_port_example));
  }
  if (text.rfind(':') != colon) return wrong(explain_colons(text));
  return parse_name_and_port(text.substr(0, colon), text.substr(colon + 1));
}

// The same with `#tag` behind it, or without.
step<checked_parts> parse_tagged(std::string_view text, std::string_view scheme) {
  const std::size_t hash = text.find('#');
  // Nothing is quoted of what may hold a password.
  if (hash == text.npos || text.contains('@')) return parse_authority(text, scheme);
  auto parts = parse_authority(text.substr(0, hash), scheme);
  if (!parts) return parts;
  parts->tag = text.substr(hash + 1);
  if (parts->tag.empty()) return wrong("there is no tag after '#'; leave the '#' out");
  if (auto good = check_tag(parts->tag); !good) return wrong(std::move(good.error()));
  return parts;
}

// What follows unix: `/path` or `@name`.
step<checked_parts> parse_unix(std::string_view path) {
  if (path.empty()) {
    return wrong("there is no path after 'unix:'; write unix:/path or unix:@name");
  }
  const bool is_abstract = path.front() == '@';
  if (path == "@") {
    return wrong("there is no name after 'unix:@'; an abstract name has 1 to 107 bytes");
  }
  if (!is_abstract && path.front() != '/') {
    return wrong("Unix path " + quoted(path) +
                 " is not absolute; write unix:/path, unix:@name, or tcp://unix:port for a host "
                 "called unix");
  }
  if (path.starts_with("//")) {
    // unix:///path is how a URL spells it; in unix://a/path, a would be a host.
    if (!path.starts_with("///")) {
      return wrong("a Unix path begins with one slash or, as in a URL, with three; write unix:" +
                   shown(path.substr(1)));
    }
    path.remove_prefix(std::min(path.find_first_not_of('/'), path.size()) - 1);
  }
  if (!is_abstract && path.back() == '/') {
    return wrong("Unix path " + quoted(path) +
                 " ends in '/' and names a directory; add the socket's name");
  }
  const std::size_t size = is_abstract ? path.size() - 1 : path.size();
  if (size > unix_bytes_max) {
    return wrong("the Unix " + std::string(is_abstract ? "name" : "path") + " has " +
                 std::to_string(size) + " bytes; the kernel takes at most " +
                 std::to_string(unix_bytes_max));
  }
  if (const auto odd = std::ranges::find_if(path, is_control); odd != path.end()) {
    return wrong("Unix path " + quoted(path) + " has a control character at byte " +
                 std::to_string(odd - path.begin()) + "; remove it");
  }
  checked_parts parts;
  parts.transport = transport::unix_socket;
  parts.name = path;
  return parts;
}

// What somebody who wrote the scheme of a protocol may have meant.
std::string known_schemes(std::string_view written) {
  constexpr std::string_view plain[] = {"http",    "redis", "postgres", "postgresql", "mysql",
                                        "mongodb", "amqp",  "smtp",     "ws",         "h2c"};
  constexpr std::string_view secured[] = {"https", "rediss", "amqps", "smtps", "wss", "h2"};
  const auto instead = [](const char* scheme) {
    return std::string("write ") + scheme + "://host:port, which says how the bytes travel";
  };
  if (std::ranges::find(plain, written) != std::end(plain)) return instead("tcp");
  if (std::ranges::find(secured, written) != std::end(secured)) return instead("tls");
  return "the known ones are tcp://, tls:// and unix:";
}

step<checked_parts> parse_parts(std::string_view text) {
  if (text.empty()) {
    return wrong(
        "the text is empty; write tcp://host:port, tls://host:port, unix:/path or unix:@name");
  }
  if (const std::size_t nul = text.find('\0'); nul != text.npos) {
    return wrong("byte " + std::to_string(nul) +
                 " is NUL; an endpoint is text, and an abstract "
                 "name is written unix:@name");
  }
  if (has_prefix_ignoring_case(text, "unix:")) return parse_unix(text.substr(5));
  const std::size_t separator = text.find("://");
  if (separator == 0) {
    return wrong("the scheme before '://' is missing; write tcp:// or tls://");
  }
  if (separator == text.npos || !is_scheme(text.substr(0, separator))) {
    return parse_tagged(text, "");
  }
  const std::string scheme = lowered(text.substr(0, separator));
  if (scheme != "tcp" && scheme != "tls") {
    return wrong("scheme " + quoted(scheme) + " is unknown; " + known_schemes(scheme));
  }
  auto parts = parse_tagged(text.substr(separator + 3), scheme);
  if (parts && scheme == "tls") parts->transport = transport::tls;
  return parts;
}

// FNV-1a, then the finaliser of MurmurHash3: FNV alone leaves the upper bits of short, similar
// texts alike, and tables take their index from either end.
std::uint64_t hash_of(std::string_view text) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3u;
  }
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccdu;
  hash ^= hash >> 33;
  hash *= 0xc4ceb9fe1a85ec53u;
  hash ^= hash >> 33;
  return hash;
}

}  // namespace

const char* to_string(transport value) noexcept {
  switch (value) {
    case transport::tcp:
      return "tcp";
    case transport::tls:
      return "tls";
    case transport::unix_socket:
      return "unix";
  }
  return "unknown";
}

result<endpoint> endpoint::parse(std::string_view text) {
  const auto parts = parse_parts(text);
  if (!parts) {
    return fail(error(errc::invalid_endpoint, phase::configure)
                    .about(subject_of(text))
                    .with_detail(parts.error()));
  }
  endpoint made(parts->transport, parts->name, parts->port, parts->is_numeric);
  if (!parts->tag.empty()) made.set_tag(parts->tag);
  return made;
}

endpoint::endpoint(conpool::transport transport, std::string_view name, std::uint16_t port,
                   bool is_numeric)
    : text_(conpool::to_string(transport)),
      port_(port),
      transport_(transport),
      is_numeric_(is_numeric) {
  CONPOOL_ASSERT(!name.empty(), "an endpoint needs a host or a path");
  CONPOOL_ASSERT(name.size() <= std::numeric_limits<std::uint8_t>::max(), "the name is too long");
  const bool is_unix = transport == conpool::transport::unix_socket;
  CONPOOL_ASSERT(is_unix == (port == 0), "TCP needs a port, a Unix socket has none");
  const bool in_brackets = !is_unix && name.contains(':');
  text_ += is_unix ? ":" : "://";
  if (in_brackets) text_ += '[';
  name_begin_ = static_cast<std::uint8_t>(text_.size());
  name_size_ = static_cast<std::uint8_t>(name.size());
  text_ += name;
  if (in_brackets) text_ += ']';
  if (!is_unix) text_.append(":").append(std::to_string(port));
  rehash();
}

void endpoint::rehash() noexcept {
  // An odd constant spreads the small numbers over all bits.
  constexpr std::uint64_t spread = 0x9e3779b97f4a7c15U;
  hash_ = hash_of(text_) ^ (profile_id_ * spread);
}

void endpoint::set_tag(std::string_view tag) {
  if (tag_size_ > 0) text_.resize(text_.size() - tag_size_ - 1);
  tag_size_ = static_cast<std::uint8_t>(tag.size());
  if (!tag.empty()) text_.append("#").append(tag);
  rehash();
}

result<endpoint> endpoint::with_tag(std::string_view tag) const {
  if (auto good = check_tag(tag); !good) {
    return fail(
        error(errc::invalid_argument, phase::configure).about(text_).with_detail(good.error()));
  }
  endpoint made(*this);
  made.set_tag(tag);
  return made;
}

std::string_view endpoint::tag() const noexcept {
  return std::string_view(text_).substr(text_.size() - tag_size_);
}

result<endpoint> endpoint::with_profile(std::shared_ptr<const tls::profile> as) const {
  if (transport_ != conpool::transport::tls) {
    return fail(error(errc::invalid_argument, phase::configure)
                    .about(text_)
                    .with_detail("a TLS profile is for tls:// endpoints only"));
  }
  if (!tls::available()) {
    return fail(error(errc::unsupported, phase::configure)
                    .about(text_)
                    .with_detail("this build of conpool has no TLS (-Dtls=disabled)"));
  }
  endpoint made(*this);
  made.profile_ = std::move(as);
  made.profile_id_ = made.profile_ != nullptr ? made.profile_->id() : 0;
  made.rehash();
  return made;
}

std::string endpoint::to_string() const {
  if (profile_id_ == 0) return text_;
  return text_ + " (profile " + std::to_string(profile_id_) + ")";
}

std::string_view endpoint::name() const noexcept {
  CONPOOL_ASSERT(std::size_t{name_begin_} + name_size_ <= text_.size(),
                 "an endpoint was used after it was moved from");
  return std::string_view(text_).substr(name_begin_, name_size_);
}

std::string_view endpoint::host() const noexcept {
  return transport_ == conpool::transport::unix_socket ? std::string_view() : name();
}

std::string_view endpoint::path() const noexcept {
  return transport_ == conpool::transport::unix_socket ? name() : std::string_view();
}

bool endpoint::is_abstract() const noexcept {
  return path().starts_with('@');
}

}  // namespace conpool

#include <tests/support/dns_server.h>

#include <array>
#include <stdexcept>
#include <string>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace conpool::test {
namespace {

constexpr std::size_t header_bytes = 12;
constexpr std::uint16_t flag_response = 0x8180;  // an answer, recursion desired and available
constexpr std::uint16_t flag_truncated = 0x0200;
constexpr unsigned rcode_no_such_name = 3;

int open_on(int type, std::uint16_t port) {
  const int fd = ::socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    ::close(fd);
    return -1;
  }
  return fd;
}

std::uint16_t port_of(int fd) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.sin_port);
}

void append(std::vector<std::uint8_t>& to, std::uint32_t value, unsigned width) {
  for (unsigned i = width; i-- > 0;) to.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

}  // namespace

dns_server::dns_server() {
  // The same port for both; another program may have the TCP one, hence some attempts.
  for (unsigned attempt = 0; attempt < 16 && tcp_ < 0; ++attempt) {
    if (udp_ >= 0) ::close(udp_);
    udp_ = open_on(SOCK_DGRAM, 0);
    port_ = port_of(udp_);
    tcp_ = open_on(SOCK_STREAM, port_);
  }
  if (tcp_ < 0 || ::listen(tcp_, 8) != 0) throw std::runtime_error("no port for a DNS server");
}

dns_server::~dns_server() {
  ::close(udp_);
  ::close(tcp_);
  for (const connection& peer : connections_) ::close(peer.fd);
}

void dns_server::add(const std::string& name, std::string_view literal, std::uint32_t ttl_seconds) {
  const bool is_v6 = literal.find(':') != literal.npos;
  record added{is_v6 ? type_aaaa : type_a, ttl_seconds, bytes(is_v6 ? 16 : 4)};
  const std::string text(literal);
  if (::inet_pton(is_v6 ? AF_INET6 : AF_INET, text.c_str(), added.data.data()) != 1) {
    throw std::invalid_argument("not an address: " + text);
  }
  records_[name].push_back(std::move(added));
}

unsigned dns_server::asked(const std::string& name, std::uint16_t type) const {
  const auto at = asked_.find({name, type});
  return at == asked_.end() ? 0 : at->second;
}

dns_server::bytes dns_server::answer(const std::uint8_t* question, std::size_t size,
                                     bool over_tcp) {
  std::string name;
  std::size_t at = header_bytes;
  while (at < size && question[at] != 0) {
    const std::size_t label = question[at];
    if (label > 63 || at + 1 + label >= size) return {};
    if (!name.empty()) name += '.';
    name.append(reinterpret_cast<const char*>(question) + at + 1, label);
    at += 1 + label;
  }
  const std::size_t end = at + 5;  // the final zero, type and class
  if (end > size) return {};
  const auto type = static_cast<std::uint16_t>(question[at + 1] << 8 | question[at + 2]);
  ++asked_[{name, type}];
  if (over_tcp) ++asked_over_tcp_;

  const auto known = records_.find(name);
  unsigned rcode = rcode_;
  if (rcode == 0 && known == records_.end()) rcode = rcode_no_such_name;
  const bool cut = truncate_ && !over_tcp;
  std::vector<const record*> found;
  if (rcode == 0 && !cut) {
    for (const record& each : known->second) {
      if (each.type == type) found.push_back(&each);
    }
  }
  bytes reply(question, question + 2);
  append(reply, flag_response | rcode | (cut ? flag_truncated : 0U), 2);
  append(reply, 1, 2);
  append(reply, static_cast<std::uint32_t>(found.size()), 2);
  append(reply, 0, 4);
  reply.insert(reply.end(), question + header_bytes, question + end);
  for (const record* each : found) {
    append(reply, 0xc000 | header_bytes, 2);  // the name: see the question
    append(reply, each->type, 2);
    append(reply, 1, 2);
    append(reply, each->ttl_seconds, 4);
    append(reply, static_cast<std::uint32_t>(each->data.size()), 2);
    reply.insert(reply.end(), each->data.begin(), each->data.end());
  }
  return reply;
}

bool dns_server::serve_one_datagram() {
  std::array<std::uint8_t, 1500> question;
  sockaddr_in from{};
  socklen_t length = sizeof from;
  const ssize_t size = ::recvfrom(udp_, question.data(), question.size(), 0,
                                  reinterpret_cast<sockaddr*>(&from), &length);
  if (size < static_cast<ssize_t>(header_bytes)) return false;
  const bytes reply = answer(question.data(), static_cast<std::size_t>(size), false);
  ::sendto(udp_, reply.data(), reply.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&from),
           length);
  return true;
}

unsigned dns_server::serve_connection(connection& peer) {
  std::array<std::uint8_t, 1500> chunk;
  const ssize_t size = ::recv(peer.fd, chunk.data(), chunk.size(), 0);
  if (size > 0) peer.received.insert(peer.received.end(), chunk.data(), chunk.data() + size);
  unsigned served = 0;
  while (peer.received.size() >= 2) {
    const std::size_t expected = std::size_t{peer.received[0]} << 8 | peer.received[1];
    if (peer.received.size() < 2 + expected) break;
    const bytes reply = answer(peer.received.data() + 2, expected, true);
    bytes framed;
    append(framed, static_cast<std::uint32_t>(reply.size()), 2);
    framed.insert(framed.end(), reply.begin(), reply.end());
    ::send(peer.fd, framed.data(), framed.size(), MSG_NOSIGNAL);
    peer.received.erase(peer.received.begin(),
                        peer.received.begin() + static_cast<std::ptrdiff_t>(2 + expected));
    ++served;
  }
  return served;
}

unsigned dns_server::serve() {
  unsigned served = 0;
  while (serve_one_datagram()) ++served;
  for (;;) {
    const int fd = ::accept4(tcp_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) break;
    connections_.push_back({fd, {}});
  }
  for (connection& peer : connections_) served += serve_connection(peer);
  return served;
}

}  // namespace conpool::test

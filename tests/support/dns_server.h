// A DNS server on loopback, UDP and TCP, for tests of the resolver.
//
// It has no thread: it answers what has arrived when the test calls serve(). A test that does not
// call serve() thus has a silent server, and nothing depends on timing. The server knows A and AAAA
// records; a name that it does not know does not exist (NXDOMAIN).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace conpool::test {

class dns_server {
 public:
  static constexpr std::uint16_t type_a = 1;
  static constexpr std::uint16_t type_aaaa = 28;
  static constexpr unsigned rcode_server_failure = 2;
  static constexpr unsigned rcode_refused = 5;

  dns_server();
  ~dns_server();
  dns_server(const dns_server&) = delete;
  dns_server& operator=(const dns_server&) = delete;

  // "127.0.0.1:port", as resolver_options::servers takes it.
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  // Adds an address (a literal of either family) to `name`, which is in lower case.
  void add(const std::string& name, std::string_view literal, std::uint32_t ttl_seconds = 60);
  // Adds a name without addresses, for which the answer is "no data".
  void add_empty(const std::string& name) { records_[name]; }
  // From now on answers over UDP are cut short, so that the client has to come back over TCP.
  void truncate() { truncate_ = true; }
  // From now on every question is answered with this code and nothing else.
  void answer_with(unsigned rcode) { rcode_ = rcode; }

  // Answers all questions that have arrived; returns how many there were.
  unsigned serve();
  // Answers the first question that has arrived over UDP; returns how many there were, 0 or 1.
  unsigned serve_one() { return serve_one_datagram() ? 1 : 0; }

  // How often serve() has met a question for this name and type, and how often one over TCP.
  unsigned asked(const std::string& name, std::uint16_t type) const;
  unsigned asked_over_tcp() const { return asked_over_tcp_; }

 private:
  using bytes = std::vector<std::uint8_t>;
  struct record {
    std::uint16_t type;
    std::uint32_t ttl_seconds;
    bytes data;
  };
  struct connection {
    int fd;
    bytes received;
  };

  bytes answer(const std::uint8_t* question, std::size_t size, bool over_tcp);
  bool serve_one_datagram();
  unsigned serve_connection(connection& peer);

  int udp_ = -1;
  int tcp_ = -1;
  std::uint16_t port_ = 0;
  bool truncate_ = false;
  unsigned rcode_ = 0;
  unsigned asked_over_tcp_ = 0;
  std::vector<connection> connections_;
  std::map<std::string, std::vector<record>> records_;
  std::map<std::pair<std::string, std::uint16_t>, unsigned> asked_;
};

}  // namespace conpool::test

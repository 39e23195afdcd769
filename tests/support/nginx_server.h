// nginx over TLS, with certificates of the test's own. One port has two names and keeps connections
// alive for a second; one port wants client certificates; and one speaks TLS 1.2 only, with session
// ids instead of tickets.
//
// It answers any request with "NAME saw SERVER-NAME CLIENT SESSION-REUSED. end\n", where
// SESSION-REUSED is "r" for a session that was resumed and "." for one that was not.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <tests/support/server_process.h>
#include <tests/tls/certificates.h>

namespace conpool::test {

// Runs nginx with `servers`, the server blocks of its configuration, one of which listens on
// `port`.
std::unique_ptr<server_process> run_nginx(const temporary_folder& files, const std::string& servers,
                                          std::uint16_t port);

class nginx_server {
 public:
  static constexpr const char* a = "a.example";
  static constexpr const char* b = "b.example";

  // Its certificates are issued by `root` and valid from `from_s` on.
  nginx_server(const authority& root, std::int64_t from_s);

  std::uint16_t port() const noexcept { return port_; }
  std::uint16_t strict_port() const noexcept { return strict_port_; }
  std::uint16_t old_port() const noexcept { return old_port_; }

 private:
  // Makes a new certificate and returns its "ssl_certificate ...;".
  std::string certified(const authority& root, const std::string& name, std::int64_t from_s) const;

  const std::uint16_t port_ = free_port();
  const std::uint16_t strict_port_ = free_port();
  const std::uint16_t old_port_ = free_port();
  const temporary_folder files_;
  std::unique_ptr<server_process> server_;
};

}  // namespace conpool::test

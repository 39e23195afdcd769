// A PostgreSQL server of the test's own: Debian's, with a new and empty database in a temporary
// folder, on a free loopback port.
//
// It has one superuser, "conpool", who needs no password, and one role with a password, "locked":
// it is "right". It logs each connection's beginning and end. PostgreSQL refuses to run as root, so
// a test that is root runs it as the user postgres.
//
//   postgres_server server;
//   ... server.at() ...
//   server.ask("select count(*) from pg_stat_activity")   // over a connection of its own
//   server.kill();       // SIGKILL, for the server and all of its sessions
//   server.restart();    // on the same port, with what was committed
//
// The kernel stops it if the thread that started it ends before, so start it on a thread that lives
// as long. Throws std::runtime_error, with the reason, if it does not do its part.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <conpool/pool/endpoint.h>

#include <tests/support/server_process.h>

namespace conpool::test {

class postgres_server {
 public:
  static bool is_installed();

  postgres_server() : postgres_server({}, {}) {}
  // One that offers TLS: PEM texts.
  postgres_server(const std::string& certificate, const std::string& key);
  ~postgres_server();
  postgres_server(const postgres_server&) = delete;
  postgres_server& operator=(const postgres_server&) = delete;

  std::uint16_t port() const noexcept { return port_; }
  endpoint at() const;

  // Connects, asks one query, says goodbye; the first column of each row. Its application_name is
  // "outside"; that of a pool's connection (postgres_client.h) is "pooled".
  std::vector<std::string> ask(std::string_view sql) const;
  // All that it has logged so far, and how often a text is in it.
  std::string log() const;
  std::size_t logged(std::string_view text) const;

  // SIGSTOP and SIGCONT, for the server and all of its sessions.
  void pause() const;
  void resume() const;
  void kill();
  // Precondition: it was killed.
  void restart();

 private:
  std::vector<std::string> as_its_user(std::vector<std::string> words) const;
  std::vector<pid_t> sessions() const;
  void signal_all(int what) const;
  void start();

  const std::uint16_t port_ = free_port();
  const temporary_folder files_;
  bool has_tls_ = false;
  std::unique_ptr<server_process> server_;
};

}  // namespace conpool::test

// A Redis server of the test's own: Debian's redis-server, on a free loopback port.
//
// It keeps nothing on disk. The constructor starts it and returns once it has answered a PING. The
// destructor stops it and waits for its end. The kernel stops it if the thread that started it ends
// before, so start it on a thread that lives as long, such as the test's own.
//
//   redis_server server;
//   ... server.at() ...
//   server.kill();       // SIGKILL: its sockets end as the kernel sees fit
//   server.restart();    // on the same port, empty
//
// Throws std::runtime_error, with the reason, if there is no server to be had.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include <conpool/pool/endpoint.h>

namespace conpool::test {

class redis_server {
 public:
  redis_server();
  ~redis_server();
  redis_server(const redis_server&) = delete;
  redis_server& operator=(const redis_server&) = delete;

  std::uint16_t port() const noexcept { return port_; }
  endpoint at() const;

  // SIGSTOP and SIGCONT.
  void pause() const;
  void resume() const;
  // Kills it without any warning to it or its clients, and waits for its end.
  void kill();
  // Starts it again on the same port. Precondition: it was killed.
  void restart();

 private:
  bool start();
  void end(int signal) noexcept;

  pid_t child_ = -1;
  int log_ = -1;  // its output; kept open because it goes on printing
  std::uint16_t port_ = 0;
};

}  // namespace conpool::test

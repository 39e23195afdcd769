// A server on a thread of its own that breaks connections at random moments, and says when it did.
//
// Whoever sends it eight bytes gets the same eight back, over TCP or TLS. Behind one answer in
// `fault_odds`, at once or some hundred microseconds later, it ends the stream, resets the
// connection, or sends bytes that nobody asked for. It sends no session tickets, so bytes of TLS
// behind an answer mean as much as those of TCP.
//
//   faulty_server server(nullptr, seed);
//   ... server.broke(port_of_the_client) ...     // when it did so to that connection
//
// The moment is taken when the system call has returned. The loopback device delivers within that
// call, so a client that looks at its socket after this moment sees what was done.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include <conpool/runtime/clock.h>
#include <conpool/tls/server_profile.h>

namespace conpool::test {

class faulty_server {
 public:
  static constexpr unsigned fault_odds = 16;

  // With `secure` it speaks TLS; the options are copied by its thread before this returns.
  faulty_server(const tls::server_options* secure, std::uint64_t seed);
  ~faulty_server();
  faulty_server(const faulty_server&) = delete;
  faulty_server& operator=(const faulty_server&) = delete;

  std::uint16_t port() const noexcept { return port_; }
  // Any thread. The first fault of the last connection from that port; the epoch for none.
  time_point broke(std::uint16_t client_port) const noexcept {
    return time_point(duration(broke_[client_port].load(std::memory_order_acquire)));
  }
  // To be read when the clients are done.
  std::uint64_t ends() const noexcept { return ends_.load(); }
  std::uint64_t resets() const noexcept { return resets_.load(); }
  std::uint64_t strays() const noexcept { return strays_.load(); }

 private:
  friend class faulty_connection;
  class loop;

  int listener_ = -1;
  int stop_ = -1;
  std::uint16_t port_ = 0;
  std::unique_ptr<std::array<std::atomic<duration::rep>, 65536>> ports_;
  std::array<std::atomic<duration::rep>, 65536>& broke_;
  std::atomic<std::uint64_t> ends_ = 0;
  std::atomic<std::uint64_t> resets_ = 0;
  std::atomic<std::uint64_t> strays_ = 0;
  std::thread thread_;
};

}  // namespace conpool::test

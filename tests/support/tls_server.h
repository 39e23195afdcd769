// A TLS server on a shard of the test's own thread, over conpool's own sockets: echoes, says
// whom it saw, and misbehaves when told to.
//
// Its certificates are of `authority`; the time of day is test_epoch_s (tests/tls/certificates.h).
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <conpool/pool/endpoint.h>
#include <conpool/runtime/listener.h>
#include <conpool/runtime/scope.h>
#include <conpool/tls/handshake.h>
#include <conpool/tls/server_profile.h>

namespace conpool::test {

class tls_server {
 public:
  struct session {
    explicit session(socket accepted) : peer(std::move(accepted)) {}
    socket peer;
    std::string name;         // that the client asked for
    std::string protocol;     // agreed on
    std::string certificate;  // the client's own, DER
    bool resumed = false;
    bool open = false;         // its handshake is done
    std::size_t received = 0;  // plain bytes
    // How it ended for the server: errc{} with the client's close_notify.
    std::optional<errc> ended{};
  };

  tls_server(shard& home, tls::server_options options);
  // After its tasks have ended: call stop() and turn until stopped().
  ~tls_server();
  tls_server(const tls_server&) = delete;
  tls_server& operator=(const tls_server&) = delete;

  // tls://127.0.0.1:port
  const endpoint& at() const noexcept { return at_; }

  // True: accepts and then says nothing.
  void stall(bool on) noexcept { stalls_ = on; }
  // Instead of an echo: whom it saw, as "name protocol certificate-size resumed".
  void tell_whom(bool on) noexcept { tells_whom_ = on; }
  // Sent as soon as the handshake is done.
  void greet_with(std::string greeting) { greeting_ = std::move(greeting); }
  // Sent behind each answer, in the same record.
  void append(std::string stray) { stray_ = std::move(stray); }

  std::size_t accepted() const noexcept { return accepted_; }
  std::size_t handshakes() const noexcept { return handshakes_; }
  std::vector<std::shared_ptr<session>>& sessions() noexcept { return sessions_; }
  static std::string whom(const session& one);

  // On every session: close_notify and FIN; a FIN alone; bytes; a key update. All but the bytes,
  // which wait, need the handshake to be done.
  void close_all() noexcept;
  // close_notify and then a FIN, after which the server still listens.
  void end_all();
  void cut_all() noexcept;
  void send_to_all(std::string bytes);
  void update_keys(bool request);

  void stop() noexcept { tasks_.cancel(); }
  bool stopped() const noexcept { return tasks_.running() == 0; }

 private:
  task<void> accept_all();
  task<void> serve(std::shared_ptr<session> one);
  task<void> push(std::shared_ptr<session> one, std::string bytes);

  shard* home_;
  std::shared_ptr<tls::server_profile> profile_;
  listener door_;
  endpoint at_;
  scope tasks_;
  std::vector<std::shared_ptr<session>> sessions_;
  std::string greeting_;
  std::string stray_;
  std::size_t accepted_ = 0;
  std::size_t handshakes_ = 0;
  bool stalls_ = false;
  bool tells_whom_ = false;
};

}  // namespace conpool::test

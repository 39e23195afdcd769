// A TLS server on a shard of the test's own thread, over the library's own sockets. It echoes, says
// which client it saw, and misbehaves when told to.
//
// Its certificates are issued by an `authority`; the time of day is test_epoch_s
// (tests/tls/certificates.h).
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
    std::string name;         // the name that the client asked for
    std::string protocol;     // the protocol that was agreed on
    std::string certificate;  // the client's own, DER
    bool resumed = false;
    bool open = false;         // its handshake is done
    std::size_t received = 0;  // plain bytes
    // How the session ended for the server: with errc{} after the client's close_notify.
    std::optional<errc> ended{};
  };

  tls_server(shard& home, tls::server_options options);
  // To be destroyed after its tasks have ended: call stop() and turn until stopped().
  ~tls_server();
  tls_server(const tls_server&) = delete;
  tls_server& operator=(const tls_server&) = delete;

  // tls://127.0.0.1:port
  const endpoint& at() const noexcept { return at_; }

  // While `on`, the server accepts and then says nothing.
  void stall(bool on) noexcept { stalls_ = on; }
  // Begins in the clear: it waits for `asked`, says `answer`, and only then TLS begins. Without an
  // answer, the client's hello has been read ahead by then.
  void begin_in_the_clear(std::string asked, std::string answer) {
    asked_ = std::move(asked);
    answer_ = std::move(answer);
  }
  // While `on`, the answer is not an echo but which client it saw: "name protocol certificate-size
  // resumed".
  void tell_whom(bool on) noexcept { tells_whom_ = on; }
  // Sends `greeting` as soon as the handshake is done.
  void greet_with(std::string greeting) { greeting_ = std::move(greeting); }
  // Sends `stray` behind each answer, in the same record.
  void append(std::string stray) { stray_ = std::move(stray); }

  std::size_t accepted() const noexcept { return accepted_; }
  std::size_t handshakes() const noexcept { return handshakes_; }
  std::vector<std::shared_ptr<session>>& sessions() noexcept { return sessions_; }
  static std::string whom(const session& one);

  // These act on every session and send close_notify and a FIN, a FIN alone, bytes, or a key
  // update. All need the handshake to be done, except for the bytes, which wait for it.
  void close_all() noexcept;
  // Sends close_notify and then a FIN, after which the server still reads.
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
  std::string asked_;
  std::string answer_;
  std::string greeting_;
  std::string stray_;
  std::size_t accepted_ = 0;
  std::size_t handshakes_ = 0;
  bool stalls_ = false;
  bool tells_whom_ = false;
};

}  // namespace conpool::test

// What the fuzz of the channel plays with: profiles for each kind of session, and recordings.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include <conpool/tls/detail/boringssl.h>
#include <tests/tls/fuzz/rigged_random.h>
#include <tests/tls/tls_fixture.h>

namespace conpool::test {

// The first byte of an input.
struct session_kind {
  explicit session_kind(std::uint8_t byte) noexcept
      : attacks_server((byte & 1U) != 0),
        tls_1_2((byte & 2U) != 0),
        client_certificate((byte & 4U) != 0),
        resumed((byte & 8U) != 0) {}

  std::uint8_t byte() const noexcept {
    return static_cast<std::uint8_t>((attacks_server ? 1 : 0) | (tls_1_2 ? 2 : 0) |
                                     (client_certificate ? 4 : 0) | (resumed ? 8 : 0));
  }
  // Where what the honest end says depends on a signature of the attacked one: see
  // rigged_random.h.
  bool has_rsa_keys() const noexcept { return attacks_server || client_certificate; }
  // Whether its recording is good to the end; else up to what answers that signature.
  bool can_be_replayed() const noexcept { return !attacks_server || tls_1_2 || resumed; }

  bool attacks_server;
  bool tls_1_2;
  bool client_certificate;
  bool resumed;
};
inline constexpr std::uint8_t session_kinds = 16;
inline constexpr std::uint8_t live_bit = 16;

// What each end sends: byte after byte of a pattern, so that what arrives shows its place.
class pattern {
 public:
  std::string next(std::size_t count) {
    std::string made(count, '\0');
    for (char& byte : made) byte = at(sent_++);
    return made;
  }
  // Whether this continues what was heard; counts it.
  bool continues(const std::string& heard) {
    for (const char byte : heard) {
      if (byte != at(heard_++)) return false;
    }
    return true;
  }
  std::size_t sent() const noexcept { return sent_; }
  std::size_t heard() const noexcept { return heard_; }

 private:
  static char at(std::size_t place) noexcept {
    return static_cast<char>(place * 31 + place / 251 + 7);
  }
  std::size_t sent_ = 0;
  std::size_t heard_ = 0;
};

// A session whose ends draw from sequences of their own.
class rigged_session {
 public:
  rigged_session(tls::ssl_config& client_side, tls::ssl_config& server_side,
                 const session_kind& kind);

  // The channel that is attacked, and the one that behaves.
  end& target() noexcept { return attack_server_ ? *server_ : *client_; }
  end& honest() noexcept { return attack_server_ ? *client_ : *server_; }
  rigged_random& of(const end& one) noexcept {
    return &one == client_.get() ? client_random_ : server_random_;
  }
  // What the honest end says is not of interest any more.
  void deliver_to_honest() {
    append(honest().inbox, target().outbox);
    target().outbox.clear();
  }

 private:
  bool attack_server_;
  std::string server_name_ = "tls://server:443";
  std::string client_name_ = "client";
  rigged_random client_random_{2};
  rigged_random server_random_{3};
  std::unique_ptr<end> client_;
  std::unique_ptr<end> server_;
};

class world {
 public:
  static world& get();

  // A new session of this kind, from the same state each time.
  std::unique_ptr<rigged_session> open(const session_kind& kind);
  // All that the honest end says to the attacked one in a good session: the handshake, tickets,
  // data, a key update, more data, close_notify.
  const bytes& recording(const session_kind& kind) { return recordings_.at(kind.byte()); }
  std::size_t recorded_text(const session_kind& kind) { return texts_.at(kind.byte()); }

 private:
  struct pair {
    tls::profile_ptr profile;
    tls::profile_on_shard* client = nullptr;
    std::unique_ptr<tls::server_profile> server;
    tls::boringssl_ptr<ssl_session_st> session{};
  };

  world();
  void make_pair(const session_kind& kind);
  void record(const session_kind& kind);

  tls::manual_wall_clock clock_{test_epoch_s};
  authority root_{"fuzz root"};
  certificate ec_ = root_.issue({.dns = {"a.example"}});
  certificate rsa_ = root_.issue({.dns = {"a.example"}, .key = key_kind::rsa_2048});
  tls::trust_ptr trust_ = root_.trust();
  tls::shard_resources resources_{tls::shard_limits(), clock_};
  std::array<pair, session_kinds> pairs_;
  std::map<std::uint8_t, bytes> recordings_;
  std::map<std::uint8_t, std::size_t> texts_;
};

}  // namespace conpool::test

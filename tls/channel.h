// TLS over bytes that somebody else moves: eats ciphertext from spans, writes records into slabs.
//
// It has no descriptor, no ring, no timer and no buffer of its own. Its driver, a connection,
// gives it what was received, wherever the kernel put it, and sends what is in the slab:
//
//   tls::channel stream(context, peer);
//   auto step = stream.handshake(input, out);       // first with no input: the ClientHello
//   ...                                             // send out, receive, again, until `open`
//   auto count = stream.read(input, into);          // ciphertext in, plain bytes out
//   auto taken = stream.write(parts, out);          // plain bytes in, whole records out
//   stream.close(out);                              // close_notify, if it still can be sent
//
// Input: each call takes from the front of `input` and shortens it. What a call has taken is kept
// by the stream, a partial record too: the driver's buffer is free again. What it has not taken
// (the caller's memory was full) is given again.
// Output: into the slab, which belongs to the driver and stays in place until its send completed;
// the stream never looks at it again. What has to be said while there is no slab, an alert, waits
// inside (has_output(), flush()).
//
// States: handshaking -> open -> peer_closed or closing -> closed; failed is the end from anywhere.
// Data read before a failure is handed over first. failure() has the reason, with the peer, the
// server name and the library's own words.
//
// Costs, beyond the library's own: no lock, no allocation, one copy of the ciphertext each way.
// A connection that is idle takes 2.8 KB in the library and sizeof(stream) here.
//
// Does not move: its context refers to it. Used on its shard's thread; outlived by its context and
// by `peer`.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <conpool/runtime/error.h>
#include <conpool/tls/detail/boringssl_pointers.h>
#include <conpool/tls/detail/record_buffer.h>
#include <conpool/tls/detail/ssl_config.h>
#include <conpool/tls/profile.h>

namespace conpool::tls {

enum class channel_state : std::uint8_t {
  handshaking,
  open,
  peer_closed,  // the peer sent close_notify: no more to read; writing is still possible
  closing,      // close() was called; the peer's close_notify has not come
  closed,       // both
  failed,
};

enum class handshake_step : std::uint8_t {
  wants_input,   // send what is in the slab, receive, call again
  wants_output,  // the slab is full: send it, call again, with another one
  open,          // done; send what is in the slab. What is left of the input is for read()
  failed,        // failure() says why; send what is in the slab (an alert), then close
};

// What arrived on a connection that nobody was using.
enum class idle_outcome : std::uint8_t {
  keep,     // tickets, key updates: still good, wait for more
  closed,   // close_notify
  refused,  // data, an error, or too much of what is harmless: failure() says why
};

class channel {
 public:
  using const_bytes = std::span<const std::byte>;

  // `peer`: what it is connected to, for errors and, together with the profile, the key of its
  // sessions. Must outlive the stream.
  channel(ssl_config& context, const std::string& peer);
  channel(const channel&) = delete;
  channel& operator=(const channel&) = delete;
  ~channel();

  // Takes the handshake as far as it goes. One call costs up to the verification of one chain and
  // a key exchange (0.7 ms with Debian's library): a driver with many of them gives each a call in
  // turn, and looks at the clock between them. The slab should have 4 KiB; less works.
  handshake_step handshake(const_bytes& input, record_buffer& out);

  // Decrypts into the caller's memory until that is full or the input is used up. 0 with an empty
  // input: more is needed, or, in state peer_closed, the end. Precondition: the handshake is done.
  // Errors: failure(), and only if no bytes are handed over.
  result<std::size_t> read(const_bytes& input, std::span<std::byte> into);
  // Whether read() has something without more input.
  bool has_plain() const noexcept { return plain_left_; }

  // Encrypts from `parts`, one after the other, as much as there is room for in whole records; how
  // many plain bytes that was. Small parts are joined into one record. 0 for a slab with less room
  // than record_bytes_max + record_overhead_max, unless all of it fits. What was waiting inside
  // goes first. Precondition: state open or peer_closed. Errors: failure().
  result<std::size_t> write(std::span<const const_bytes> parts, record_buffer& out);
  result<std::size_t> write(const_bytes bytes, record_buffer& out) {
    return write(std::span<const const_bytes>(&bytes, 1), out);
  }

  // Ends this side with close_notify, in any state; where it cannot be said any more, does nothing
  // but flush. After it only read() is of use, to see what the peer still sends.
  void close(record_buffer& out);

  // The peer's end of the TCP stream. Without an error if close_notify came before; else truncated,
  // which is also failure() from then on.
  result<void> end_of_input();

  // What arrived while nobody was using it; all of the input is taken. Its bounds count from the
  // last read or write. Precondition: state open, nothing unread.
  idle_outcome idle(const_bytes input);

  // Whether what is read next is a record's first byte.
  bool between_records() const noexcept { return !inside_a_record(); }

  // What waits inside for a slab.
  bool has_output() const noexcept { return waiting_size_ > 0; }
  void flush(record_buffer& out) noexcept {
    if (waiting_size_ > 0) flush_waiting(out);
  }

  channel_state state() const noexcept { return state_; }
  // Open, nothing unread, no record half received, none of its bounds reached: may be lent again.
  bool reusable() const noexcept {
    return state_ == channel_state::open && !plain_left_ && !limits_reached_ &&
           waiting_size_ == 0 && !inside_a_record();
  }
  // Enough records for its keys, and no new ones can be made: to be closed when it is free.
  bool retire_due() const noexcept { return limits_reached_; }
  // Precondition: state failed.
  const error& failure() const noexcept { return *failure_; }

  // Of a handshake that is done.
  conpool::tls::version version() const noexcept;
  std::string_view cipher() const noexcept;
  // The protocol chosen, empty if none was.
  std::string_view alpn() const noexcept;
  bool resumed() const noexcept;
  // The peer's own certificate, DER; empty if it sent none.
  const_bytes peer_certificate() const noexcept;
  // On a server: the name that the client asked for, empty for none.
  std::string_view requested_name() const noexcept;
  const std::string& peer() const noexcept { return *peer_; }
  ssl_config& config() const noexcept { return *config_; }

  // The library's object, for what is not offered here. Not for reading and writing.
  ssl_st* native() const noexcept { return ssl_.get(); }

 private:
  friend class ssl_config;
  friend class shard_resources;
  friend class io_scope;
  friend class server_profile;
  friend class profile_on_shard;
  friend struct span_bio;

  static constexpr std::size_t waiting_max = 64;

  handshake_step handshake_ended();
  handshake_step handshake_broke(int result);
  void read_ended(int result);
  void fail_with(error why);
  void fail_by_boringssl(phase where);
  error describe(errc why, phase where, std::string_view reason) const;
  void refuse_certificate(errc why, std::string_view reason);
  void flush_waiting(record_buffer& out) noexcept;
  result<void> renew_keys(std::uint64_t sealed);
  void ask_for_new_keys(std::uint64_t opened);
  const_bytes next_record(std::span<const const_bytes>& parts, std::size_t& offset);
  bool inside_a_record() const noexcept { return header_size_ > 0 || body_left_ > 0; }
  void count_frames(const_bytes received) noexcept;
  void keep_session(boringssl_ptr<ssl_session_st> session) noexcept;
  std::size_t keep(const_bytes record) noexcept;

  ssl_config* config_;
  const std::string* peer_;
  boringssl_ptr<ssl_st> ssl_;
  std::optional<error> failure_;
  std::optional<error> refusal_;  // the verifier's, until the library reports it
  std::size_t handshake_bytes_ = 0;
  std::size_t idle_bytes_ = 0;
  std::uint32_t idle_messages_ = 0;
  // Where in a record the input is: bytes of its header, then what is left of its body.
  std::uint16_t body_left_ = 0;
  std::uint8_t header_size_ = 0;
  std::byte header_length_high_{0};
  std::uint8_t waiting_size_ = 0;
  std::uint8_t alert_sent_ = 0;
  channel_state state_ = channel_state::handshaking;
  bool started_ = false;
  bool offered_session_ = false;
  bool certificate_requested_ = false;
  bool had_record_ = false;  // a whole one has come
  bool has_read_ = false;
  bool plain_left_ = false;
  bool asked_new_keys_ = false;
  bool limits_reached_ = false;
  std::array<std::byte, waiting_max> waiting_;
};

static_assert(sizeof(channel) <= 320, "each idle connection has one");

}  // namespace conpool::tls

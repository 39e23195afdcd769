// One TLS connection over bytes that somebody else moves: it reads ciphertext from spans, and
// writes records into record buffers.
//
// It has no descriptor, no ring, no timer and no buffer of its own. Its driver (connection_codec)
// gives it what was received, wherever the kernel put it, and sends what is in the record buffer:
//
//   tls::channel channel(config, peer);
//   auto step = channel.handshake(input, out);      // first with no input: the ClientHello
//   ...                                             // send out, receive, again, until `open`
//   auto count = channel.read(input, into);         // ciphertext in, plain bytes out
//   auto taken = channel.write(parts, out);         // plain bytes in, whole records out
//   channel.close(out);                             // close_notify, if it still can be sent
//
// Input: each call takes bytes from the front of `input` and shortens it. The channel keeps what a
// call has taken, a partial record too, so the driver's buffer is free again. The driver gives what
// was not taken (the caller's memory was full) to the next call.
// Output: it goes into the record buffer, which belongs to the driver and stays in place until its
// send has completed; the channel never looks at it again. What must be said while there is no
// record buffer, such as an alert, waits inside (has_output(), flush()).
//
// States: handshaking -> open -> peer_closed or closing -> closed; failed is the end from anywhere.
// Data that was read before a failure is handed over first. failure() has the reason, with the
// peer, the server name and BoringSSL's own words.
//
// Costs, beyond BoringSSL's own: no lock, no allocation, one copy of the ciphertext each way.
// A connection that is idle takes 2.8 KB in BoringSSL and sizeof(channel) here.
//
// A channel does not move, since BoringSSL's callbacks find it by its address. It is used on its
// shard's thread; its ssl_config and the string `peer` outlive it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <conpool/runtime/error.h>
#include <conpool/tls/connection_info.h>
#include <conpool/tls/detail/boringssl_pointers.h>
#include <conpool/tls/detail/held_output.h>
#include <conpool/tls/detail/record_buffer.h>
#include <conpool/tls/detail/record_position.h>
#include <conpool/tls/detail/ssl_config.h>

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
  wants_input,   // send what is in the record buffer, receive, call again
  wants_output,  // the record buffer is full: send it, call again with another one
  open,          // done; send what is in the record buffer. What is left of the input is for read()
  failed,        // failure() says why; send what is in the record buffer (an alert), then close
};

// What became of a connection for which something arrived while nobody was using it.
enum class idle_outcome : std::uint8_t {
  keep,     // tickets, key updates: still good, wait for more
  closed,   // close_notify
  refused,  // data, an error, or too much of what is harmless: failure() says why
};

class channel final : public connection_info {
 public:
  using const_bytes = std::span<const std::byte>;

  // `peer`: what it is connected to, for errors and, together with the profile, the key of its
  // sessions. Must outlive the channel.
  channel(ssl_config& config, const std::string& peer);
  ~channel();

  // Takes the handshake as far as it goes. One call costs up to the verification of one chain and
  // a key exchange (0.7 ms with Debian's BoringSSL): a driver with many channels gives each a call
  // in turn, and looks at the clock between them. The record buffer should have 4 KiB; less works.
  handshake_step handshake(const_bytes& input, record_buffer& out);
  // No earlier session is offered. Precondition: handshake() was not called.
  void offer_no_session() noexcept { may_offer_session_ = false; }
  // Whether one was.
  bool offered_session() const noexcept { return offered_session_; }
  // The network, or the peer by saying nothing, has ended the handshake: there will be no input.
  void handshake_given_up() noexcept;
  // Whether the handshake has failed with an earlier session offered, and before the peer had begun
  // a full one.
  bool resumption_failed() const noexcept { return resumption_failed_; }

  // Decrypts into the caller's memory until that is full or the input is used up. 0 with an empty
  // input means that more is needed, or, in state peer_closed, the end. Precondition: the handshake
  // is done. Errors: failure(), and only if no bytes are handed over.
  result<std::size_t> read(const_bytes& input, std::span<std::byte> into);
  // Whether read() has something without more input.
  bool has_plain() const noexcept { return plain_left_; }

  // Encrypts from `parts`, one after the other, as much as there is room for in whole records; how
  // many plain bytes that was. Small parts are joined into one record. 0 for a record buffer with
  // less room than record_bytes_max + record_overhead_max, unless all of it fits. What was waiting
  // inside goes first. Precondition: the handshake is done. Errors: failure(); connection_closed
  // after close().
  result<std::size_t> write(std::span<const const_bytes> parts, record_buffer& out);
  result<std::size_t> write(const_bytes bytes, record_buffer& out) {
    return write(std::span<const const_bytes>(&bytes, 1), out);
  }

  // Ends this side with close_notify, in any state; where it cannot be said any more, close() does
  // nothing but flush. After it only read() is of use, to see what the peer still sends.
  void close(record_buffer& out);

  // The peer's end of the TCP stream. No error if close_notify came before; else truncated, which
  // is also failure() from then on.
  result<void> end_of_input();

  // What arrived while nobody was using it; all of the input is taken. Its bounds count from the
  // last read or write. Precondition: nothing is unread.
  idle_outcome idle(const_bytes input);

  // Whether what is read next is a record's first byte.
  bool between_records() const noexcept { return !position_.inside_a_record(); }

  // Whether something waits inside for a record buffer.
  bool has_output() const noexcept { return !held_.empty(); }
  void flush(record_buffer& out) noexcept {
    if (!held_.empty()) held_.move_to(out);
  }

  channel_state state() const noexcept { return state_; }
  // Open, nothing unread, no record half received, none of its bounds reached: may be lent again.
  bool reusable() const noexcept {
    return state_ == channel_state::open && !plain_left_ && !limits_reached_ && held_.empty() &&
           !position_.inside_a_record();
  }
  // Enough records for its keys, and no new ones can be made: to be closed when it is free.
  bool retire_due() const noexcept { return limits_reached_; }
  // Precondition: state failed.
  const error& failure() const noexcept { return *failure_; }
  ssl_config& config() const noexcept { return *config_; }

  // What BoringSSL's callbacks tell it, in the middle of one of the calls above.
  void alert_was_sent(std::uint8_t alert) noexcept { alert_sent_ = alert; }
  void certificate_was_requested() noexcept { certificate_requested_ = true; }
  void keep_session(boringssl_ptr<ssl_session_st> session) noexcept;
  // The verifier's verdict on the peer's chain: when it ends, or the failure, once BoringSSL
  // reports one.
  void accept_certificate(std::int64_t ends_s) noexcept;
  void refuse_certificate(errc why, std::string_view reason);
  void refuse_without_memory() noexcept { refusal_.emplace(errc::out_of_memory, phase::handshake); }

 private:
  friend struct span_bio;

  void note_full_handshake() noexcept;
  void note_failed_resumption() noexcept;
  handshake_step handshake_ended();
  handshake_step handshake_broke(int result);
  void read_ended(int result);
  void fail_with(error why);
  void fail_by_boringssl(phase where);
  error describe(errc why, phase where, std::string_view reason) const;
  result<void> renew_keys(std::uint64_t sealed);
  void ask_for_new_keys(std::uint64_t opened);
  const_bytes next_record(std::span<const const_bytes>& parts, std::size_t& offset);

  ssl_config* config_;
  std::optional<error> failure_;
  std::optional<error> refusal_;   // the verifier's, until BoringSSL reports it
  std::int64_t chain_ends_s_ = 0;  // its sessions end with it
  std::size_t handshake_bytes_ = 0;
  std::size_t idle_bytes_ = 0;
  std::uint32_t idle_messages_ = 0;
  record_position position_;  // of what was received
  std::uint8_t alert_sent_ = 0;
  channel_state state_ = channel_state::handshaking;
  bool started_ = false;
  bool may_offer_session_ = true;
  bool offered_session_ = false;
  bool full_handshake_ = false;  // the peer has begun one
  bool resumption_failed_ = false;
  bool certificate_requested_ = false;
  bool has_read_ = false;
  bool plain_left_ = false;
  bool asked_new_keys_ = false;
  bool limits_reached_ = false;
  held_output held_;
};

static_assert(sizeof(channel) <= 320, "each idle connection has one");

}  // namespace conpool::tls

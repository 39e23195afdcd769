// A codec stands between a stream's user and the wire: TLS is one.
//
// A stream with a codec gives it what was received and sends what it has written; reads and writes
// carry plain bytes as before. runtime/ knows nothing of a codec but this interface, and a stream
// without one pays a look at a null pointer for each read and each write.
//
//   peer->use_codec(std::move(made), early);      // after the handshake, before anybody reads
//
// The stream owns its codec from then on, and destroys it when the stream is closed: after the last
// completion, before the shard ends. A codec is used on the shard's thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <conpool/runtime/error.h>

namespace conpool {

// What a codec found in the bytes that arrived while nobody read.
enum class idle_input : std::uint8_t {
  nothing,  // nothing that the stream's user would see
  data,     // plain bytes: they wait for the next reader
  end,      // the peer ended the stream
  refused,  // bytes that nobody may send now, an error, or too much of what is harmless
};

class codec {
 public:
  using const_bytes = std::span<const std::byte>;

  codec() = default;
  codec(const codec&) = delete;
  codec& operator=(const codec&) = delete;
  virtual ~codec() = default;

  // Decodes from the front of `input` into the reader's memory until that is full or the input is
  // used up; returns the number of plain bytes. `input` is shortened by what the codec took; the
  // rest is given again. When it fails, the bytes decoded before the failure are returned first.
  virtual std::size_t decode(const_bytes& input, std::span<std::byte> into) noexcept = 0;
  // Whether decode() would return bytes without more input.
  virtual bool has_plain() const noexcept = 0;
  // Whether nothing is half received, so that the next byte begins something new.
  virtual bool at_rest() const noexcept = 0;
  // Whether the peer has ended the stream in the codec's own way, so that no more plain bytes come.
  virtual bool ended() const noexcept = 0;
  // Tells the codec that the byte stream has ended, which may be a failure unless ended().
  virtual void end_of_input() noexcept = 0;
  // Why nothing can be read or written any more; null while it can.
  virtual const error* failure() const noexcept = 0;

  // Encodes at least one byte from the front of `pieces`, one behind the other, and returns how
  // many; 0 if it failed, see failure(). The result is in wire(), and stays in place until
  // wire_sent() has been told that all of it was sent. Precondition: wire() is empty, and the first
  // piece is not.
  virtual std::size_t encode(std::span<const const_bytes> pieces) noexcept = 0;
  virtual const_bytes wire() const noexcept = 0;
  virtual void wire_sent(std::size_t count) noexcept = 0;
  // Ends this side and returns the last bytes to be sent. There are none when only a part of what
  // encode() wrote was sent, because the peer could not tell where one ends and the other begins.
  virtual const_bytes farewell() noexcept = 0;

  // Takes what arrived while nobody reads: all of it, or up to the first plain bytes. If `welcome`,
  // these are kept for a reader, the answer is `data`, and the rest of `input` is given again;
  // otherwise they are a reason to refuse. Precondition: not has_plain().
  virtual idle_input idle(const_bytes& input, bool welcome) noexcept = 0;
  // Whether the codec should not be used much longer: its stream should be closed when it is free.
  virtual bool retire_due() const noexcept { return false; }
};

}  // namespace conpool

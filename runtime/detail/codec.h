// What stands between a stream's user and the wire, if anything does: TLS.
//
// A stream with a codec gives it what was received and sends what it has written; reads and writes
// carry plain bytes as before. runtime/ knows no codec but this interface, and a stream without one
// pays a look at a null pointer for each read and write.
//
//   peer->use_codec(std::move(made), early);      // after the handshake, before anybody reads
//
// Owned by its stream from then on, and destroyed when that is closed: after the last completion,
// before the shard ends. Used on the shard's thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <conpool/runtime/error.h>

namespace conpool {

// What arrived on a stream that nobody reads.
enum class idle_input : std::uint8_t {
  nothing,  // nothing that its user would see
  data,     // plain bytes: they wait for the next reader
  end,      // the peer ended it
  refused,  // bytes that nobody may send now, an error, or too much of what is harmless
};

class codec {
 public:
  using const_bytes = std::span<const std::byte>;

  codec() = default;
  codec(const codec&) = delete;
  codec& operator=(const codec&) = delete;
  virtual ~codec() = default;

  // Decodes from the front of `input`, and shortens it, into the reader's memory until that is full
  // or the input is used up. What was taken is the codec's; what was not is given again. On a
  // failure what was decoded before it is returned first.
  virtual std::size_t decode(const_bytes& input, std::span<std::byte> into) noexcept = 0;
  // Whether decode() has something without more input.
  virtual bool has_plain() const noexcept = 0;
  // Nothing is half received: what comes next begins something new.
  virtual bool at_rest() const noexcept = 0;
  // The peer has ended it in the codec's own way: no more plain bytes will come.
  virtual bool ended() const noexcept = 0;
  // The byte stream ended. Unless ended(), that may be a failure.
  virtual void end_of_input() noexcept = 0;
  // Why nothing can be read or written any more; null while it can.
  virtual const error* failure() const noexcept = 0;

  // Encodes from the front of `plain`, at least one byte; how many. The result is in wire() until
  // wire_sent() was told of all of it, and stays in place until then. 0: see failure().
  // Precondition: wire() is empty.
  virtual std::size_t encode(const_bytes plain) noexcept = 0;
  virtual const_bytes wire() const noexcept = 0;
  virtual void wire_sent(std::size_t count) noexcept = 0;
  // Ends this side: the last bytes to be sent, if they can be said at all. None behind a part of
  // what encode() wrote: the peer could not tell where one ends and the other begins.
  virtual const_bytes farewell() noexcept = 0;

  // Takes what arrived while nobody reads: all of it, or up to the first plain bytes. With
  // `welcome` these are kept for a reader (`data`; the rest of `input` is given again); without,
  // they are a reason to refuse. Precondition: no has_plain().
  virtual idle_input idle(const_bytes& input, bool welcome) noexcept = 0;
  // Whether it may not be used much longer, and should be closed when it is free.
  virtual bool retire_due() const noexcept { return false; }
};

}  // namespace conpool

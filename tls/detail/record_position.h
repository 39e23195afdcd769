// Where in the sequence of TLS records the received bytes end: between two, or inside of one.
//
// BoringSSL does not say, and it matters: an idle connection that holds half a record must not be
// lent, and an end of the stream inside of a record is another failure than one between two. Only
// record headers are looked at: five bytes, of which the last two are the length of the body.
//
// Owned by a channel, used on its shard's thread. Costs a few instructions for each read of
// BoringSSL's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace conpool::tls {

class record_position {
 public:
  // Counts bytes that BoringSSL has taken.
  void advance(std::span<const std::byte> received) noexcept;

  bool inside_a_record() const noexcept { return header_size_ > 0 || body_left_ > 0; }
  // Whether a whole record has come since the beginning.
  bool had_record() const noexcept { return had_record_; }

 private:
  std::uint16_t body_left_ = 0;
  std::uint8_t header_size_ = 0;
  std::byte header_length_high_{0};
  bool had_record_ = false;
};

}  // namespace conpool::tls

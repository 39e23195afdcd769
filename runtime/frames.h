// Integers in network byte order, and messages that say how long they are.
//
//   std::string hello = ...;
//   conpool::append_big_endian<std::uint16_t>(hello, version);       // two bytes more
//   const auto kind = conpool::big_endian<std::uint32_t>(body, 8);   // the four bytes at 8
//
// A frame_format says where the length of a message is and what it counts, which is all that a
// buffered_reader needs to cut a stream into messages (buffered_reader::read_frame). PostgreSQL's
// begin with a kind, and their length counts itself but not the kind:
//
//   constexpr conpool::frame_format postgres{
//       .header_bytes = 5, .length_at = 1, .length_bytes = 4, .uncounted_bytes = 1};
//
// Plain functions of memory; they allocate nothing, but append_big_endian() may.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include <conpool/runtime/detail/requirements.h>

namespace conpool {

// The integer whose first byte is at `at`; 0 if not all of its bytes are there.
template <std::unsigned_integral T>
T big_endian(std::string_view bytes, std::size_t at = 0) noexcept {
  if (at > bytes.size() || sizeof(T) > bytes.size() - at) return 0;
  T number = 0;
  std::memcpy(&number, bytes.data() + at, sizeof number);
  if constexpr (std::endian::native == std::endian::little && sizeof(T) > 1) {
    number = std::byteswap(number);
  }
  return number;
}

template <std::unsigned_integral T>
void append_big_endian(std::string& to, std::type_identity_t<T> number) {
  if constexpr (std::endian::native == std::endian::little && sizeof(T) > 1) {
    number = std::byteswap(number);
  }
  to.append(reinterpret_cast<const char*>(&number), sizeof number);
}

// A message is a header of a fixed size, with an unsigned length in it, and what else it counts.
// By default that is a length of four bytes and as many bytes behind it.
struct frame_format {
  std::size_t header_bytes = 4;
  std::size_t length_at = 0;     // where the length is in the header
  std::size_t length_bytes = 4;  // 1 to 8
  // How many of the message's bytes the length does not count: all of the header (the default), or
  // what is in front of a length that counts itself, or none.
  std::size_t uncounted_bytes = 4;

  constexpr bool is_valid() const noexcept {
    return length_bytes >= 1 && length_bytes <= 8 && length_at <= header_bytes &&
           length_bytes <= header_bytes - length_at && uncounted_bytes <= header_bytes;
  }
  // The bytes of the message in all, its header included. Precondition: the header is there.
  std::uint64_t size_of(std::string_view header) const noexcept {
    std::uint64_t length = 0;
    if (length_bytes == 4) {
      length = big_endian<std::uint32_t>(header, length_at);
    } else {
      for (const char byte : header.substr(length_at, length_bytes)) {
        length = length << 8U | static_cast<unsigned char>(byte);
      }
    }
    const std::uint64_t size = length + uncounted_bytes;
    return size < length ? ~std::uint64_t{0} : size;
  }
};

}  // namespace conpool

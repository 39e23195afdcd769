// The small part of RESP2, the protocol of Redis, that the harness speaks: commands as arrays of
// bulk strings, and replies.
//
// Both parsers look at the bytes that have arrived so far and say how many of them one complete
// command or reply takes. They copy nothing: what they return refers to the given bytes. Their
// limits keep a peer from making them wait for more bytes for ever.
//
// https://redis.io/docs/latest/develop/reference/protocol-spec/
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace conpool::bench {

enum class resp_status : std::uint8_t {
  complete,
  incomplete,  // valid so far: read more
  malformed,   // can never become valid
};

inline constexpr std::size_t resp_arguments_max = 8;
inline constexpr std::size_t resp_bulk_bytes_max = 64 << 20;

struct resp_command {
  resp_status status = resp_status::incomplete;
  std::size_t size = 0;  // how many bytes it takes, if complete
  std::size_t count = 0;
  std::array<std::string_view, resp_arguments_max> arguments{};
};

struct resp_reply {
  resp_status status = resp_status::incomplete;
  std::size_t size = 0;
  char kind = 0;          // '+' '-' ':' '$'
  bool null = false;      // the null bulk string: there is no value
  std::string_view text;  // the line, or the bulk string's bytes
};

resp_command parse_command(std::string_view bytes) noexcept;

// Simple strings, errors, integers and bulk strings; anything else is malformed.
resp_reply parse_reply(std::string_view bytes) noexcept;

void append_command(std::string& to, std::span<const std::string_view> arguments);
void append_bulk(std::string& to, std::string_view bytes);

}  // namespace conpool::bench

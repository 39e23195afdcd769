// What a ClientHello says, read off the wire: whether it offers an earlier session.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace conpool::test {

// Reads big-endian numbers and skips what they count; at the end everything is 0.
class hello_reader {
 public:
  explicit hello_reader(std::string_view text) noexcept : left_(text) {}
  std::size_t number(std::size_t bytes) noexcept {
    std::size_t value = 0;
    for (const char one : take(bytes)) value = value << 8 | static_cast<std::uint8_t>(one);
    return value;
  }
  std::string_view take(std::size_t bytes) noexcept {
    const std::string_view taken = left_.substr(0, bytes);
    left_.remove_prefix(taken.size());
    return taken;
  }
  bool at_end() const noexcept { return left_.empty(); }

 private:
  std::string_view left_;
};

// `first_flight`: a client's first bytes, the whole ClientHello in one record. True for a ticket of
// either version, and for a session id of TLS 1.2, which a client of TLS 1.3 makes up.
inline bool offers_session(std::string_view first_flight) noexcept {
  constexpr std::size_t session_ticket = 35;
  constexpr std::size_t pre_shared_key = 41;
  constexpr std::size_t supported_versions = 43;
  hello_reader hello(first_flight);
  hello.take(5 + 4 + 2 + 32);  // the record's header, the message's, a version, random bytes
  const bool has_id = !hello.take(hello.number(1)).empty();
  hello.take(hello.number(2));  // cipher suites
  hello.take(hello.number(1));  // compression
  hello_reader extensions(hello.take(hello.number(2)));
  bool ticket = false;
  bool is_1_3 = false;
  while (!extensions.at_end()) {
    const std::size_t which = extensions.number(2);
    const std::string_view content = extensions.take(extensions.number(2));
    is_1_3 = is_1_3 || which == supported_versions;
    ticket = ticket || which == pre_shared_key || (which == session_ticket && !content.empty());
  }
  return ticket || (has_id && !is_1_3);
}

}  // namespace conpool::test

// The name that a peer must prove with its certificate: a DNS name or an IP address.
//
// BoringSSL's own setters take anything, and then compare it with the wrong kind of entry, or with
// none. So a name is checked and brought into one form here, before BoringSSL sees it.
//
//   auto name = tls::peer_name::parse("API.Example.com.");   // "api.example.com", dns
//
// A DNS name is in lower case, without a trailing dot, of 1 to 253 bytes; its labels have 1 to 63
// of letters, digits, hyphens and underscores, and the last one is not a number. An IP address is
// in inet_ntop(3)'s form, without brackets and without a scope id, which no certificate can prove.
// A plain value, usable on any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <conpool/runtime/error.h>

namespace conpool::tls {

class peer_name {
 public:
  enum class kind : std::uint8_t { none, dns, ip };

  // No name: there is nothing to compare with.
  peer_name() = default;
  // Errors: invalid_argument, phase::configure; the detail says what is wrong.
  static result<peer_name> parse(std::string_view text);

  kind what() const noexcept { return kind_; }
  const std::string& text() const noexcept { return text_; }
  // The 4 or 16 bytes of an IP address, in network order; empty for the others.
  std::span<const std::uint8_t> address() const noexcept {
    return std::span(address_).first(address_size_);
  }

  friend bool operator==(const peer_name&, const peer_name&) = default;

 private:
  std::string text_;
  std::array<std::uint8_t, 16> address_{};
  std::uint8_t address_size_ = 0;
  kind kind_ = kind::none;
};

}  // namespace conpool::tls

#include <arpa/inet.h>

#include <conpool/tls/detail/peer_name.h>
#include <algorithm>

namespace conpool::tls {
namespace {

constexpr std::size_t name_bytes_max = 253;
constexpr std::size_t label_bytes_max = 63;

bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

bool is_label_byte(char c) noexcept {
  return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_';
}

// What is wrong with a name in lower case; null if nothing is.
const char* name_fault(std::string_view name) noexcept {
  if (name.empty()) return "the name is empty";
  if (name.size() > name_bytes_max) return "the name is longer than 253 bytes";
  std::string_view label;
  for (std::size_t at = 0; at <= name.size();) {
    label = name.substr(at, name.find('.', at) - at);
    if (label.empty()) return "the name has an empty label";
    if (label.size() > label_bytes_max) return "a label is longer than 63 bytes";
    if (!std::ranges::all_of(label, is_label_byte)) {
      return "only letters, digits, hyphens and underscores, in ASCII, make a label";
    }
    at += label.size() + 1;
  }
  // inet_aton(3) and URLs take "127.1" and "1" for addresses.
  if (std::ranges::all_of(label, is_digit)) return "the last label is a number";
  return nullptr;
}

std::string in_lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

}  // namespace

result<peer_name> peer_name::parse(std::string_view text) {
  peer_name parsed;
  std::string name = in_lower_case(text);
  // inet_pton reads up to a NUL: what has one is left to name_fault.
  if (name.find('\0') == std::string::npos) {
    std::string literal = name;
    if (literal.size() > 2 && literal.front() == '[' && literal.back() == ']') {
      literal = literal.substr(1, literal.size() - 2);
    }
    const bool is_v6 = literal.find(':') != std::string::npos;
    if (is_v6 || literal.size() == name.size()) {
      const int family = is_v6 ? AF_INET6 : AF_INET;
      if (::inet_pton(family, literal.c_str(), parsed.address_.data()) == 1) {
        char canonical[INET6_ADDRSTRLEN];
        parsed.text_ = ::inet_ntop(family, parsed.address_.data(), canonical, sizeof canonical);
        parsed.address_size_ = is_v6 ? 16 : 4;
        parsed.kind_ = kind::ip;
        return parsed;
      }
    }
    if (is_v6 && literal.find('%') != std::string::npos) {
      return fail(error(errc::invalid_argument, phase::configure)
                      .with_detail("a certificate cannot prove an address with a scope id"));
    }
  }
  if (!name.empty() && name.back() == '.') name.pop_back();
  if (const char* fault = name_fault(name)) {
    return fail(error(errc::invalid_argument, phase::configure).with_detail(fault));
  }
  parsed.text_ = std::move(name);
  parsed.kind_ = kind::dns;
  return parsed;
}

}  // namespace conpool::tls

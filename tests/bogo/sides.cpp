#include <tests/bogo/sides.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <string_view>
#include <utility>

namespace conpool::bogo {
namespace {

struct versions {
  tls::version lowest = tls::version::tls_1_2;
  tls::version highest = tls::version::tls_1_3;
};

// Those asked for that conpool has: the lower ones are as if they had not been named.
std::optional<versions> versions_of(const settings& asked) {
  constexpr int v12 = static_cast<int>(tls::version::tls_1_2);
  constexpr int v13 = static_cast<int>(tls::version::tls_1_3);
  int lowest = std::max(asked.min_version, v12);
  int highest = asked.max_version == 0 ? v13 : std::min(asked.max_version, v13);
  if (asked.no_tls12) lowest = std::max(lowest, v13);
  if (asked.no_tls13) highest = std::min(highest, v12);
  if (lowest > highest) return std::nullopt;
  return versions{static_cast<tls::version>(lowest), static_cast<tls::version>(highest)};
}

std::optional<std::string> groups_of(const std::vector<int>& curves) {
  constexpr auto known = std::to_array<std::pair<int, std::string_view>>({{21, "P-224"},
                                                                          {23, "P-256"},
                                                                          {24, "P-384"},
                                                                          {25, "P-521"},
                                                                          {29, "X25519"},
                                                                          {16696, "CECPQ2"}});
  std::string list;
  for (const int curve : curves) {
    const auto* found = std::ranges::find(known, curve, &std::pair<int, std::string_view>::first);
    if (found == known.end()) return std::nullopt;
    if (!list.empty()) list += ':';
    list += found->second;
  }
  return list;
}

// Of a list in which each has its length before it.
std::vector<std::string> protocols_of(std::string_view wire) {
  std::vector<std::string> protocols;
  while (!wire.empty()) {
    const auto size = static_cast<unsigned char>(wire.front());
    protocols.emplace_back(wire.substr(1, size));
    wire.remove_prefix(std::min<std::size_t>(wire.size(), 1U + size));
  }
  return protocols;
}

}  // namespace

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::optional<tls::profile_options> client_options(const settings& asked) {
  const auto range = versions_of(asked);
  auto groups = groups_of(asked.curves);
  // Whether a client asks for tickets cannot be chosen apart from whether it resumes.
  if (!range || !groups || asked.no_ticket || asked.decline_alpn || asked.reject_alpn) {
    return std::nullopt;
  }
  tls::profile_options options;
  options.insecure = true;
  options.min_version = range->lowest;
  options.max_version = range->highest;
  options.groups = *std::move(groups);
  options.send_server_name = !asked.host_name.empty();
  options.server_name = asked.host_name;
  if (asked.advertise_alpn) options.alpn = protocols_of(*asked.advertise_alpn);
  options.certificate_chain_pem = contents(asked.cert_file);
  options.private_key_pem = contents(asked.key_file);
  if (asked.verify_fail) options.pins.emplace_back();
  return options;
}

std::optional<tls::server_options> server_options(const settings& asked) {
  const auto range = versions_of(asked);
  if (!range || !asked.curves.empty() || asked.verify_fail) return std::nullopt;
  tls::server_options options;
  options.min_version = range->lowest;
  options.max_version = range->highest;
  options.certificate_chain_pem = contents(asked.cert_file);
  options.private_key_pem = contents(asked.key_file);
  if (!asked.select_alpn.empty()) options.alpn = {asked.select_alpn};
  if (asked.reject_alpn) {
    options.alpn = {"none that a client offers"};
    options.require_alpn = true;
  }
  if (asked.no_ticket) options.tickets = 0;
  if (!asked.ticket_key.empty()) {
    if (asked.ticket_key.size() != options.ticket_key.emplace().size()) return std::nullopt;
    std::ranges::copy(asked.ticket_key, options.ticket_key->begin());
  }
  return options;
}

}  // namespace conpool::bogo

#include <tests/bogo/sides.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include <conpool/tls/detail/boringssl.h>
#include <tests/bogo/not_offered.h>

namespace conpool::bogo {
namespace {

constexpr std::string_view old_versions = "versions below TLS 1.2: not secure";

std::unexpected<refusal> not_offered(std::string_view why) {
  return std::unexpected(refusal{false, std::string(why)});
}

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

std::expected<tls::profile_options, refusal> client_options(const settings& asked) {
  const auto range = versions_of(asked);
  auto groups = groups_of(asked.curves);
  if (!range) return not_offered(old_versions);
  if (!groups) return not_offered("a group that BoringSSL does not know");
  if (asked.verify_fail && !asked.verify_peer && !asked.custom_verify) {
    return not_offered("a failed verification that is noted only: it always ends the handshake");
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

std::expected<tls::server_options, refusal> server_options(const settings& asked) {
  const auto range = versions_of(asked);
  if (!range) return not_offered(old_versions);
  if (asked.verify_peer || asked.custom_verify || asked.verify_fail) {
    return not_offered(why_not_offered("-require-any-client-certificate"));
  }
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
  if (!asked.ticket_key.empty()) {
    if (asked.ticket_key.size() != options.ticket_key.emplace().size()) {
      return not_offered("ticket keys of another form");
    }
    std::ranges::copy(asked.ticket_key, options.ticket_key->begin());
  }
  return options;
}

bool set_on_ssl(ssl_st* ssl, const settings& asked) {
  if (asked.no_ticket) SSL_set_options(ssl, SSL_OP_NO_TICKET);
  if (asked.enable_ocsp_stapling) SSL_enable_ocsp_stapling(ssl);
  if (asked.enable_signed_cert_timestamps) SSL_enable_signed_cert_timestamps(ssl);
  if (asked.enable_grease) SSL_CTX_set_grease_enabled(SSL_get_SSL_CTX(ssl), 1);
  if (asked.enable_ech_grease) SSL_set_enable_ech_grease(ssl, 1);
  if (asked.permute_extensions) SSL_set_permute_extensions(ssl, 1);
  if (asked.fallback_scsv) SSL_set_mode(ssl, SSL_MODE_SEND_FALLBACK_SCSV);
  if (asked.max_cert_list > 0) {
    SSL_set_max_cert_list(ssl, static_cast<std::size_t>(asked.max_cert_list));
  }
  // A client's are in its profile; a server of conpool's has no choice of them.
  if (asked.server && !asked.curves.empty()) {
    const auto groups = groups_of(asked.curves);
    if (!groups || SSL_set1_curves_list(ssl, groups->c_str()) != 1) return false;
  }
  const std::vector<std::uint16_t> taken(asked.verify_prefs.begin(), asked.verify_prefs.end());
  const std::vector<std::uint16_t> made(asked.signing_prefs.begin(), asked.signing_prefs.end());
  return (taken.empty() || SSL_set_verify_algorithm_prefs(ssl, taken.data(), taken.size()) == 1) &&
         (made.empty() || SSL_set_signing_algorithm_prefs(ssl, made.data(), made.size()) == 1);
}

}  // namespace conpool::bogo

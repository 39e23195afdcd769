#include <tests/bogo/flags.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <string_view>
#include <variant>

#include <conpool/tls/detail/boringssl.h>
#include <tests/bogo/not_offered.h>

namespace conpool::bogo {
namespace {

struct base64 {
  std::string settings::* into;
};
// Names what the channel always does, or the only way in which it does it.
struct always {};

using target =
    std::variant<always, bool settings::*, int settings::*, std::string settings::*,
                 std::optional<std::string> settings::*, std::vector<int> settings::*, base64>;

struct flag {
  std::string_view name;
  target into;
};

constexpr flag flags[] = {
    {"-port", &settings::port},
    {"-resume-count", &settings::resume_count},
    {"-server", &settings::server},
    {"-write-settings", &settings::write_settings},
    {"-min-version", &settings::min_version},
    {"-max-version", &settings::max_version},
    {"-no-tls1", always()},
    {"-no-tls11", always()},
    {"-no-tls12", &settings::no_tls12},
    {"-no-tls13", &settings::no_tls13},
    {"-host-name", &settings::host_name},
    {"-advertise-alpn", &settings::advertise_alpn},
    {"-select-alpn", &settings::select_alpn},
    {"-decline-alpn", &settings::decline_alpn},
    {"-reject-alpn", &settings::reject_alpn},
    {"-curves", &settings::curves},
    {"-key-file", &settings::key_file},
    {"-cert-file", &settings::cert_file},
    {"-ticket-key", base64(&settings::ticket_key)},
    {"-no-ticket", &settings::no_ticket},
    {"-verify-fail", &settings::verify_fail},
    {"-verify-peer", &settings::verify_peer},
    {"-use-custom-verify-callback", &settings::custom_verify},
    {"-enable-ocsp-stapling", &settings::enable_ocsp_stapling},
    {"-enable-signed-cert-timestamps", &settings::enable_signed_cert_timestamps},
    {"-enforce-rsa-key-usage", &settings::enforce_rsa_key_usage},
    {"-enable-grease", &settings::enable_grease},
    {"-enable-ech-grease", &settings::enable_ech_grease},
    {"-permute-extensions", &settings::permute_extensions},
    {"-fallback-scsv", &settings::fallback_scsv},
    {"-max-cert-list", &settings::max_cert_list},
    {"-verify-prefs", &settings::verify_prefs},
    {"-signing-prefs", &settings::signing_prefs},
    {"-reverify-on-resume", always()},
    {"-partial-write", always()},
    {"-implicit-handshake", always()},
    {"-async", &settings::async},
    {"-shim-writes-first", &settings::shim_writes_first},
    {"-shim-shuts-down", &settings::shim_shuts_down},
    {"-check-close-notify", &settings::check_close_notify},
    {"-write-different-record-sizes", &settings::write_different_record_sizes},
    {"-key-update", &settings::key_update},
    {"-read-size", &settings::read_size},
    {"-resumption-delay", &settings::resumption_delay},
    {"-export-keying-material", &settings::export_keying_material},
    {"-export-label", &settings::export_label},
    {"-export-context", &settings::export_context},
    {"-use-export-context", &settings::use_export_context},
    {"-export-traffic-secrets", &settings::export_traffic_secrets},
    {"-tls-unique", &settings::tls_unique},
    {"-expect-version", &settings::expect_version},
    {"-expect-curve-id", &settings::expect_curve_id},
    {"-expect-peer-signature-algorithm", &settings::expect_peer_signature_algorithm},
    {"-expect-cipher", &settings::expect_cipher},
    {"-expect-cipher-aes", &settings::expect_cipher_aes},
    {"-expect-cipher-no-aes", &settings::expect_cipher_no_aes},
    {"-expect-alpn", &settings::expect_alpn},
    {"-expect-server-name", &settings::expect_server_name},
    {"-expect-peer-cert-file", &settings::expect_peer_cert_file},
    {"-expect-ticket-age-skew", &settings::expect_ticket_age_skew},
    {"-expect-session-miss", &settings::expect_session_miss},
    {"-expect-no-session", &settings::expect_no_session},
    {"-expect-ticket-renewal", &settings::expect_ticket_renewal},
    {"-expect-session-id", &settings::expect_session_id},
    {"-expect-no-session-id", &settings::expect_no_session_id},
    {"-expect-extended-master-secret", &settings::expect_extended_master_secret},
    {"-expect-secure-renegotiation", &settings::expect_secure_renegotiation},
    {"-expect-no-secure-renegotiation", &settings::expect_no_secure_renegotiation},
    {"-expect-verify-result", &settings::expect_verify_result},
    {"-expect-ocsp-response", base64(&settings::expect_ocsp_response)},
    {"-expect-signed-cert-timestamps", base64(&settings::expect_signed_cert_timestamps)},
    {"-expect-hrr", &settings::expect_hrr},
    {"-expect-no-hrr", &settings::expect_no_hrr},
    {"-handshake-never-done", &settings::handshake_never_done},
    {"-is-handshaker-supported", &settings::handshaker_asked},
};

// Takes `prefix` and leaves the dash behind it: "-on-resume-async" is "-async" of a resumption.
bool take_prefix(std::string_view& name, std::string_view prefix) {
  if (!name.starts_with(prefix) || name.size() <= prefix.size() || name[prefix.size()] != '-') {
    return false;
  }
  name.remove_prefix(prefix.size());
  return true;
}

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::string> decoded(std::string_view text) {
  std::size_t size = 0;
  if (EVP_DecodedLength(&size, text.size()) != 1) return std::nullopt;
  std::string bytes(size, '\0');
  if (EVP_DecodeBase64(reinterpret_cast<std::uint8_t*>(bytes.data()), &size, bytes.size(),
                       reinterpret_cast<const std::uint8_t*>(text.data()), text.size()) != 1) {
    return std::nullopt;
  }
  bytes.resize(size);
  return bytes;
}

bool takes_value(const target& into) {
  return !std::holds_alternative<always>(into) && !std::holds_alternative<bool settings::*>(into);
}

// False: the value is not of the flag's kind.
bool set(settings& of, const target& into, std::string_view value) {
  if (const auto* field = std::get_if<bool settings::*>(&into)) {
    of.*(*field) = true;
  } else if (const auto* text = std::get_if<std::string settings::*>(&into)) {
    of.*(*text) = value;
  } else if (const auto* maybe = std::get_if<std::optional<std::string> settings::*>(&into)) {
    of.*(*maybe) = value;
  } else if (const auto* encoded = std::get_if<base64>(&into)) {
    auto bytes = decoded(value);
    if (!bytes) return false;
    of.*(encoded->into) = *std::move(bytes);
  } else if (takes_value(into)) {
    const auto parsed = number(value);
    if (!parsed) return false;
    if (const auto* one = std::get_if<int settings::*>(&into)) of.*(*one) = *parsed;
    if (const auto* many = std::get_if<std::vector<int> settings::*>(&into)) {
      (of.*(*many)).push_back(*parsed);
    }
  }
  return true;
}

}  // namespace

std::expected<command_line, refusal> parse(std::span<char*> arguments) {
  command_line parsed;
  while (!arguments.empty()) {
    const std::string given = arguments.front();
    arguments = arguments.subspan(1);
    std::string_view name = given;
    take_prefix(name, "-on-shim");
    const bool only_first = take_prefix(name, "-on-initial");
    const bool only_resumed = !only_first && take_prefix(name, "-on-resume");
    for (const std::string_view prefix : {"-on-retry", "-on-handshaker"}) {
      if (take_prefix(name, prefix)) name = prefix;
    }
    const auto* found = std::ranges::find(flags, name, &flag::name);
    if (found == std::end(flags)) {
      const std::string_view why = why_not_offered(name);
      if (why.empty()) return std::unexpected(refusal{true, "unknown flag: " + given});
      return std::unexpected(refusal{false, std::string(why)});
    }
    std::string_view value;
    if (takes_value(found->into)) {
      if (arguments.empty()) return std::unexpected(refusal{true, "no value: " + given});
      value = arguments.front();
      arguments = arguments.subspan(1);
    }
    if ((!only_resumed && !set(parsed.first, found->into, value)) ||
        (!only_first && !set(parsed.resumed, found->into, value))) {
      return std::unexpected(refusal{true, "not a value of " + given});
    }
  }
  return parsed;
}

}  // namespace conpool::bogo

#include <algorithm>
#include <ranges>
#include <utility>

#include <conpool/tls/detail/boringssl_settings.h>

namespace conpool::tls {
namespace {

std::vector<std::string_view> names_of(std::string_view list) {
  std::vector<std::string_view> names;
  for (const auto& name : std::views::split(list, ':'))
    names.emplace_back(name.begin(), name.end());
  return names;
}

// Each of them one of the known, and once.
result<void> check_names(std::string_view field, const std::vector<std::string_view>& names,
                         const std::vector<std::string_view>& known) {
  for (auto name = names.begin(); name != names.end(); ++name) {
    const bool good = std::ranges::find(known, *name) != known.end();
    if (good && std::find(names.begin(), name, *name) == name) continue;
    std::string why = good ? "named twice: " : "not one that is taken: ";
    why.append(*name);
    return fail(error(errc::invalid_config, phase::configure).about(field).with_detail(why));
  }
  return {};
}

// Known to every build: the list is in terms of its header.
std::string_view name_of(std::uint16_t signature) {
  return SSL_get_signature_algorithm_name(signature, 1);
}

}  // namespace

bool set_common(ssl_ctx_st* context, const common_settings& wanted) {
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_grease_enabled(context, 0);
  SSL_CTX_set_max_cert_list(context, certificate_bytes_max);
  return SSL_CTX_set_min_proto_version(context, static_cast<std::uint16_t>(wanted.lowest)) == 1 &&
         SSL_CTX_set_max_proto_version(context, static_cast<std::uint16_t>(wanted.highest)) == 1 &&
         SSL_CTX_set_strict_cipher_list(context, wanted.ciphers) == 1 &&
         SSL_CTX_set1_curves_list(context, wanted.groups) == 1 &&
         SSL_CTX_set_verify_algorithm_prefs(context, wanted.signatures.data(),
                                            wanted.signatures.size()) == 1;
}

result<void> check_ciphers(std::string_view list) {
  return check_names("ciphers", names_of(list), names_of(ciphers_of_1_2));
}

std::string default_signatures() {
  std::string names;
  for (const std::uint16_t one : signatures_taken) {
    names.append(names.empty() ? "" : ":").append(name_of(one));
  }
  return names;
}

result<std::vector<std::uint16_t>> parse_signatures(std::string_view list) {
  const std::vector<std::string_view> names = names_of(list);
  const std::string known = default_signatures();
  if (auto good = check_names("signature_algorithms", names, names_of(known)); !good) {
    return fail(std::move(good).error());
  }
  std::vector<std::uint16_t> signatures;
  signatures.reserve(names.size());
  for (const std::string_view name : names) {
    signatures.push_back(*std::ranges::find(signatures_taken, name, name_of));
  }
  return signatures;
}

result<void> check_alpn(const std::vector<std::string>& protocols) {
  std::size_t size = 0;
  for (const std::string& one : protocols) {
    size += 1 + one.size();
    if (one.empty() || one.size() > 255 || size > 0xffff) {
      return fail(error(errc::invalid_config, phase::configure)
                      .about("alpn")
                      .with_detail("a protocol has 1 to 255 bytes, all of them 64 KiB at most"));
    }
  }
  return {};
}

std::vector<std::uint8_t> wire_form(const std::vector<std::string>& protocols) {
  std::vector<std::uint8_t> wire;
  for (const std::string& one : protocols) {
    wire.push_back(static_cast<std::uint8_t>(one.size()));
    wire.insert(wire.end(), one.begin(), one.end());
  }
  return wire;
}

}  // namespace conpool::tls

#include <algorithm>
#include <mutex>
#include <utility>

#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/boringssl_settings.h>
#include <conpool/tls/detail/credentials.h>
#include <conpool/tls/detail/symbol_check.h>
#include <conpool/tls/detail/wiping.h>
#include <conpool/tls/profile.h>

namespace conpool::tls {
namespace {

std::unexpected<error> bad(std::string_view field, std::string_view why) {
  return fail(error(errc::invalid_config, phase::configure).about(field).with_detail(why));
}

// All profiles that live, and the ids given so far. Found by comparison: profiles are few, and made
// once.
struct registry {
  std::mutex lock;
  std::vector<std::weak_ptr<const profile>> known;
  std::uint32_t last_id = 0;
};

registry& the_registry() {
  static registry instance;
  return instance;
}

// The name that is sent: as given, or the verified one; never an address.
result<std::string> name_to_send(const profile_options& options, const peer_name& verified) {
  if (!options.send_server_name) return std::string();
  if (options.server_name.empty()) {
    return verified.what() == peer_name::kind::dns ? verified.text() : std::string();
  }
  auto parsed = peer_name::parse(options.server_name);
  if (!parsed) return bad("server_name", parsed.error().detail());
  if (parsed->what() != peer_name::kind::dns) {
    return bad("server_name", "an IP address cannot be sent as a server name");
  }
  return parsed->text();
}

// Fills the defaults in, so that they and their names in full are the same profile.
result<void> settle_algorithms(profile_options& options) {
  if (options.ciphers.empty()) options.ciphers = ciphers_of_1_2;
  if (auto good = check_ciphers(options.ciphers); !good) return good;
  if (options.signature_algorithms.empty()) options.signature_algorithms = default_signatures();
  if (auto good = parse_signatures(options.signature_algorithms); !good) {
    return fail(std::move(good).error());
  }
  if (options.groups.empty()) options.groups = default_groups;
  const boringssl_ptr<ssl_ctx_st> trial(SSL_CTX_new(TLS_with_buffers_method()));
  if (!trial) return fail(error(errc::out_of_memory, phase::configure));
  const bool groups_good = SSL_CTX_set1_curves_list(trial.get(), options.groups.c_str()) == 1;
  ERR_clear_error();
  if (!groups_good) return bad("groups", "BoringSSL does not know one of them: " + options.groups);
  return {};
}

}  // namespace

bool available() noexcept {
  return true;
}

profile::profile(made_by_make, profile_options options, peer_name name, std::uint32_t id)
    : options_(std::move(options)), name_(std::move(name)), id_(id) {
  alpn_wire_ = wire_form(options_.alpn);
}

profile::~profile() {
  wipe_keys(options_);
}

result<profile_ptr> profile::make(profile_options options) {
  const keys_wiped_at_end wiped(options);
  if (auto bound = symbol_check(); !bound) return fail(std::move(bound).error());
  peer_name name;
  if (!options.verify_name.empty()) {
    auto parsed = peer_name::parse(options.verify_name);
    if (!parsed) return bad("verify_name", parsed.error().detail());
    name = *std::move(parsed);
    options.verify_name = name.text();
  } else if (!options.insecure) {
    return bad("verify_name",
               "name what the certificate must be for, or set `insecure` to accept anybody's");
  }
  auto sent = name_to_send(options, name);
  if (!sent) return fail(std::move(sent).error());
  options.server_name = *std::move(sent);
  if (options.insecure) {
    options.trust.reset();
  } else if (!options.trust) {
    auto system = trust_store::system();
    if (!system) return fail(std::move(system).error());
    options.trust = *std::move(system);
  }
  if (auto good = check_alpn(options.alpn); !good) return fail(std::move(good).error());
  if (options.require_alpn && options.alpn.empty()) {
    return bad("require_alpn", "there is no protocol to choose: fill alpn");
  }
  if (options.min_version > options.max_version) {
    return bad("min_version", "it is above max_version");
  }
  if (auto good = settle_algorithms(options); !good) return fail(std::move(good).error());
  if (!options.certificate_chain_pem.empty() || !options.private_key_pem.empty()) {
    auto own = parse_credentials(options.certificate_chain_pem, options.private_key_pem, nullptr);
    if (!own) return fail(std::move(own).error());
  }

  registry& all = the_registry();
  const std::lock_guard guard(all.lock);
  std::erase_if(all.known, [](const auto& known) { return known.expired(); });
  for (const auto& known : all.known) {
    profile_ptr same = known.lock();
    if (same && same->options() == options) return same;
  }
  auto made = std::make_shared<const profile>(made_by_make(), std::move(options), std::move(name),
                                              ++all.last_id);
  all.known.emplace_back(made);
  return made;
}

}  // namespace conpool::tls

#include <algorithm>
#include <cstring>
#include <utility>

#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/boringssl_settings.h>
#include <conpool/tls/detail/chain_verifier.h>
#include <conpool/tls/detail/channel.h>
#include <conpool/tls/detail/credentials.h>
#include <conpool/tls/detail/peer_chain.h>
#include <conpool/tls/detail/shard_resources.h>
#include <conpool/tls/detail/wiping.h>
#include <conpool/tls/server_profile.h>

namespace conpool::tls {
namespace {

std::unexpected<error> bad(std::string_view field, std::string_view why) {
  ERR_clear_error();
  return fail(error(errc::invalid_config, phase::configure).about(field).with_detail(why));
}

// The first of the server's protocols that the client offers.
int choose_protocol(const std::vector<std::string>& own, bool required, const std::uint8_t** chosen,
                    std::uint8_t* chosen_size, std::span<const std::uint8_t> offered) {
  for (const std::string& wanted : own) {
    for (std::size_t at = 0; at < offered.size(); at += 1 + offered[at]) {
      const std::size_t size = offered[at];
      if (at + 1 + size > offered.size()) break;
      if (size == wanted.size() && std::memcmp(&offered[at + 1], wanted.data(), size) == 0) {
        *chosen = &offered[at + 1];
        *chosen_size = static_cast<std::uint8_t>(size);
        return SSL_TLSEXT_ERR_OK;
      }
    }
  }
  return required ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

server_profile::server_profile(shard_resources& home, server_options options)
    : ssl_config(home, true), options_(std::move(options)) {
  require_alpn_ = options_.require_alpn;
  home_->server_began();
}

server_profile::~server_profile() {
  home_->server_ended();
}

result<std::unique_ptr<server_profile>> server_profile::make(shard_resources& home,
                                                             server_options options) {
  const keys_wiped_at_end wiped(options);
  if (!home.usable()) return fail(home.usable().error());
  if (auto good = check_alpn(options.alpn); !good) return fail(std::move(good).error());
  if (options.require_alpn && options.alpn.empty()) {
    return bad("require_alpn", "there is no protocol to choose: fill alpn");
  }
  if (options.min_version > options.max_version) {
    return bad("min_version", "it is above max_version");
  }
  if (options.tickets > 16) return bad("tickets", "at most 16");
  if (options.clients != client_certificates::none && !options.client_trust) {
    return bad("client_trust", "name the roots of the clients' certificates");
  }
  std::unique_ptr<server_profile> made(new server_profile(home, std::move(options)));
  const keys_wiped_at_end parsed(made->options_);
  if (auto done = made->configure(); !done) return fail(std::move(done).error());
  return made;
}

result<void> server_profile::configure() {
  if (auto made = make_ssl_ctx(); !made) return made;
  SSL_CTX* made = ssl_ctx_.get();
  if (!set_common(made, {options_.min_version, options_.max_version})) {
    return bad("server", "BoringSSL does not take its settings");
  }
  auto own = parse_credentials(options_.certificate_chain_pem, options_.private_key_pem,
                               home_->certificates());
  if (!own) return fail(std::move(own).error());
  if (auto used = use_credentials(made, *own); !used) return used;
  if (!options_.alpn.empty()) {
    SSL_CTX_set_alpn_select_cb(
        made,
        [](SSL*, const std::uint8_t** chosen, std::uint8_t* chosen_size,
           const std::uint8_t* offered, unsigned size, void* self) {
          const server_options& own = static_cast<server_profile*>(self)->options_;
          return choose_protocol(own.alpn, own.require_alpn, chosen, chosen_size,
                                 std::span(offered, size));
        },
        this);
  }
  SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_OFF);
  if (options_.tickets == 0) SSL_CTX_set_options(made, SSL_OP_NO_TICKET);
  if (SSL_CTX_set_num_tickets(made, options_.tickets) != 1)
    return bad("tickets", "BoringSSL refuses this number");
  if (options_.ticket_key && SSL_CTX_set_tlsext_ticket_keys(made, options_.ticket_key->data(),
                                                            options_.ticket_key->size()) != 1) {
    return bad("ticket_key", "BoringSSL refuses it");
  }
  if (options_.keys) {
    SSL_CTX_set_keylog_callback(made, [](const SSL* session, const char* line) {
      static_cast<server_profile&>(of(session)).options_.keys->write_line(line);
    });
  }
  return configure_clients();
}

result<void> server_profile::configure_clients() {
  SSL_CTX* made = ssl_ctx_.get();
  // A ticket is good only under the rules that it was given under.
  std::array<std::uint8_t, 9> rules{static_cast<std::uint8_t>(options_.clients)};
  if (options_.client_trust) {
    const std::uint64_t generation = options_.client_trust->generation();
    std::memcpy(&rules[1], &generation, sizeof generation);
  }
  if (SSL_CTX_set_session_id_context(made, rules.data(), rules.size()) != 1) {
    return bad("server", "BoringSSL does not take its session id context");
  }
  if (options_.clients == client_certificates::none) return {};
  auto roots = home_->roots_of(options_.client_trust);
  if (!roots) return fail(std::move(roots).error());
  roots_ = *roots;
  set_verify(options_.clients == client_certificates::required
                 ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                 : SSL_VERIFY_PEER);
  return {};
}

bool server_profile::verify(channel& of, const ssl_st* session, std::uint8_t& alert) {
  const chain_answer answer = verify_chain(
      peer_chain(session), {roots_, nullptr, false, options_.weak, {}, home_->now_s()});
  ++home_->counters().verifications;
  if (answer.good()) return true;
  alert = answer.alert;
  of.refuse_certificate(answer.why, answer.reason);
  return false;
}

}  // namespace conpool::tls

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/boringssl_settings.h>
#include <conpool/tls/detail/chain_verifier.h>
#include <conpool/tls/detail/channel.h>
#include <conpool/tls/detail/credentials.h>
#include <conpool/tls/detail/peer_chain.h>
#include <conpool/tls/detail/profile_on_shard.h>
#include <conpool/tls/detail/shard_resources.h>

namespace conpool::tls {

profile_on_shard::profile_on_shard(shard_resources& home, profile_ptr which)
    : ssl_config(home, false),
      profile_(std::move(which)),
      verified_(home.limits().verified_chains_max) {
  const profile_options& options = profile_->options();
  profile_id_ = profile_->id();
  require_alpn_ = options.require_alpn;
  offers_sessions_ = options.resumption;
  insecure_ = options.insecure;
  has_certificate_ = !options.certificate_chain_pem.empty();
  profile_->holders().fetch_add(1, std::memory_order_relaxed);
}

profile_on_shard::~profile_on_shard() {
  // Before the reference goes: the number is never above that of the references.
  profile_->holders().fetch_sub(1, std::memory_order_release);
}

result<void> profile_on_shard::make() {
  const profile_options& options = profile_->options();
  if (!options.insecure) {
    auto roots = home_->roots_of(options.trust);
    if (!roots) return fail(std::move(roots).error());
    roots_ = *roots;
  }
  if (auto made = make_ssl_ctx(); !made) return made;
  SSL_CTX* made = ssl_ctx_.get();
  const std::vector<std::uint8_t>& alpn = profile_->alpn_wire();
  const auto signatures = parse_signatures(options.signature_algorithms);
  if (!signatures) return fail(signatures.error());
  // SSL_CTX_set_alpn_protos returns 0 for success.
  if (!set_common(made, {options.min_version, options.max_version, options.groups.c_str(),
                         options.ciphers.c_str(), *signatures}) ||
      SSL_CTX_set_alpn_protos(made, alpn.data(), alpn.size()) != 0) {
    ERR_clear_error();
    return fail(error(errc::invalid_config, phase::configure)
                    .about("TLS profile")
                    .with_detail("BoringSSL does not take its settings"));
  }
  if (!options.certificate_chain_pem.empty()) {
    auto own = parse_credentials(options.certificate_chain_pem, options.private_key_pem,
                                 home_->certificates());
    if (!own) return fail(std::move(own).error());
    if (auto used = use_credentials(made, *own); !used) return used;
  }
  set_verify(SSL_VERIFY_PEER);
  SSL_CTX_set_reverify_on_resume(made, 1);
  SSL_CTX_set_cert_cb(
      made,
      [](SSL* session, void*) {
        current(session).certificate_was_requested();
        return 1;
      },
      nullptr);
  if (options.resumption) {
    SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(made, [](SSL* session, SSL_SESSION* ticket) {
      current(session).keep_session(boringssl_ptr<ssl_session_st>(ticket));
      return 1;
    });
  }
  if (options.keys) {
    SSL_CTX_set_keylog_callback(made, [](const SSL* session, const char* line) {
      static_cast<profile_on_shard&>(of(session)).profile_->options().keys->write_line(line);
    });
  }
  return {};
}

bool profile_on_shard::verify(channel& of, const ssl_st* session, std::uint8_t& alert) {
  const profile_options& options = profile_->options();
  const std::vector<crypto_buffer_st*> chain = peer_chain(session);
  const std::int64_t now_s = home_->now_s();
  if (!chain.empty()) {
    if (const auto known = verified_.end_of(chain, now_s)) {
      ++home_->counters().verifications_saved;
      of.accept_certificate(*known);
      return true;
    }
  }
  const chain_answer answer =
      verify_chain(chain, {roots_, &profile_->name(), true, options.weak, options.pins, now_s});
  if (roots_ != nullptr) ++home_->counters().verifications;
  if (!answer.good()) {
    alert = answer.alert;
    of.refuse_certificate(answer.why, answer.reason);
    return false;
  }
  if (roots_ == nullptr) {
    of.accept_certificate(std::numeric_limits<std::int64_t>::max());
    return true;
  }
  const std::int64_t ends_s = std::min(answer.ends_s, options.trust->stale_at_s());
  verified_.insert(chain, ends_s,
                   std::min(ends_s, now_s + home_->limits().verified_lifetime_max_s));
  of.accept_certificate(ends_s);
  return true;
}

}  // namespace conpool::tls

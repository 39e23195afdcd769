#include <tests/tls/fuzz/world.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

extern "C" int RAND_bytes(std::uint8_t* into, std::size_t size) {
  auto& from = conpool::test::rigged_random::current();
  for (std::size_t at = 0; at < size; ++at) into[at] = static_cast<std::uint8_t>(from.next());
  return 1;
}

namespace conpool::test {
namespace {

void must(bool good, const char* what, const session_kind& kind) {
  if (good) return;
  std::fprintf(stderr, "channel-fuzz: kind %u: %s\n", kind.byte(), what);
  std::abort();
}

}  // namespace

rigged_session::rigged_session(tls::ssl_config& client_side, tls::ssl_config& server_side,
                               const session_kind& kind)
    : attack_server_(kind.attacks_server),
      client_(std::make_unique<end>(client_side, server_name_)),
      server_(std::make_unique<end>(server_side, client_name_)) {
  if (!kind.tls_1_2 || !kind.has_rsa_keys()) return;
  const std::uint16_t plain_rsa = SSL_SIGN_RSA_PKCS1_SHA256;
  must(SSL_set_signing_algorithm_prefs(client_->channel.native(), &plain_rsa, 1) == 1 &&
           SSL_set_signing_algorithm_prefs(server_->channel.native(), &plain_rsa, 1) == 1,
       "signatures", kind);
}

world& world::get() {
  static world& made = *new world;  // its profiles outlive the last input
  return made;
}

world::world() {
  for (std::uint8_t byte = 0; byte < session_kinds; ++byte) {
    make_pair(session_kind(byte));
    record(session_kind(byte));
  }
}

void world::make_pair(const session_kind& kind) {
  const certificate& own = kind.has_rsa_keys() ? rsa_ : ec_;
  const tls::version version = kind.tls_1_2 ? tls::version::tls_1_2 : tls::version::tls_1_3;
  tls::profile_options asked;
  asked.trust = trust_;
  asked.verify_name = "a.example";
  asked.alpn = {"kind" + std::to_string(kind.byte())};
  asked.require_alpn = true;
  asked.min_version = asked.max_version = version;
  asked.resumption = kind.resumed;
  if (kind.client_certificate) {
    asked.certificate_chain_pem = rsa_.chain_pem();
    asked.private_key_pem = rsa_.key_pem;
  }
  tls::server_options served;
  served.certificate_chain_pem = own.chain_pem();
  served.private_key_pem = own.key_pem;
  served.alpn = asked.alpn;
  if (kind.client_certificate) {
    served.clients = tls::client_certificates::required;
    served.client_trust = trust_;
  }
  pair& made = pairs_[kind.byte()];
  made.profile = tls::profile::make(std::move(asked)).value();
  made.client = resources_.config_for(made.profile).value();
  made.server = tls::server_profile::make(resources_, std::move(served)).value();
}

std::unique_ptr<rigged_session> world::open(const session_kind& kind) {
  pair& of = pairs_[kind.byte()];
  const std::string peer = "tls://server:443";
  resources_.sessions().purge(of.profile->id(), peer);
  if (of.session) {
    SSL_SESSION_up_ref(of.session.get());
    resources_.sessions().put(of.profile->id(), peer,
                              tls::boringssl_ptr<ssl_session_st>(of.session.get()), clock_.now_s(),
                              INT64_MAX);
  }
  return std::make_unique<rigged_session>(*of.client, *of.server, kind);
}

void world::record(const session_kind& kind) {
  bytes said;
  pattern sent;
  auto exchange = [&](rigged_session& both, auto&& action) {
    action();
    append(said, both.honest().outbox);
    append(both.target().inbox, both.honest().outbox);
    both.honest().outbox.clear();
    both.deliver_to_honest();
  };
  auto run = [&] {
    said.clear();
    sent = pattern();
    auto both = open(kind);
    end& honest = both->honest();
    end& target = both->target();
    for (int round = 0; round < 8; ++round) {
      for (end* one : {&target, &honest}) {
        const rigged_random::scope drawn(both->of(*one));
        exchange(*both, [&] {
          if (one->channel.state() == tls::channel_state::handshaking) one->step();
        });
      }
    }
    must(target.channel.state() == tls::channel_state::open, target.why().c_str(), kind);
    must(honest.channel.state() == tls::channel_state::open, honest.why().c_str(), kind);
    must(target.channel.resumed() == (pairs_[kind.byte()].session != nullptr), "resumed", kind);
    const rigged_random::scope drawn(both->of(honest));
    for (const std::size_t size : {1U, 500U, 30U}) {
      exchange(*both, [&] { must(honest.write(sent.next(size)).has_value(), "write", kind); });
      if (!kind.tls_1_2 && size == 500) SSL_key_update(honest.channel.native(), 0);
    }
    static_cast<void>(honest.read());  // the server's tickets
    exchange(*both, [&] { honest.close(); });
    must(target.read().value().size() == sent.sent(), "the text", kind);
  };
  run();
  if (kind.resumed) {
    pair& of = pairs_[kind.byte()];
    of.session = resources_.sessions().take(of.profile->id(), "tls://server:443", clock_.now_s());
    must(of.session != nullptr, "no ticket", kind);
    run();
  }
  recordings_[kind.byte()] = said;
  texts_[kind.byte()] = sent.sent();
}

}  // namespace conpool::test

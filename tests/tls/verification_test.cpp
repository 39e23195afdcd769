// The certificate matrix: what is accepted, and the error of each thing that is not.
#include <tests/tls/tls_fixture.h>

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace conpool::test {
namespace {

class tls_verification : public tls_test {
 protected:
  errc verdict(tls::profile_options options, const certificate& own) {
    session both(client(std::move(options)), server(server_options(own)));
    if (both.shake()) return errc{};
    EXPECT_EQ(both.client.channel.state(), tls::channel_state::failed);
    // The server was told by an alert, not left to guess.
    EXPECT_EQ(both.server.channel.state() == tls::channel_state::failed ||
                  !both.server.read().has_value(),
              true);
    return both.client.channel.failure().kind();
  }
  errc verdict(const certificate_request& request) {
    return verdict(client_options(), root().issue(request));
  }
  errc verdict_for(const std::string& name, const certificate_request& request) {
    auto options = client_options();
    options.verify_name = name;
    return verdict(std::move(options), root().issue(request));
  }
  static constexpr errc good{};
};

TEST_F(tls_verification, names_are_compared_with_alternative_names_only) {
  EXPECT_EQ(verdict({.dns = {host}}), good);
  EXPECT_EQ(verdict({.dns = {"x.example.com", host}}), good);
  EXPECT_EQ(verdict({.dns = {"API.EXAMPLE.COM"}}), good);
  EXPECT_EQ(verdict({.dns = {"wrong.example.com"}}), errc::certificate_host_mismatch);
  EXPECT_EQ(verdict({.common_name = host}), errc::certificate_host_mismatch);
  EXPECT_EQ(verdict({.common_name = host, .dns = {"wrong.example.com"}}),
            errc::certificate_host_mismatch);
  EXPECT_EQ(verdict_for("API.example.com.", {.dns = {host}}), good);
}

TEST_F(tls_verification, wildcards_stand_for_one_whole_label) {
  EXPECT_EQ(verdict({.dns = {"*.example.com"}}), good);
  EXPECT_EQ(verdict({.dns = {"*.com"}}), errc::certificate_host_mismatch);
  EXPECT_EQ(verdict_for("a.b.example.com", {.dns = {"*.example.com"}}),
            errc::certificate_host_mismatch);
  EXPECT_EQ(verdict_for("example.com", {.dns = {"*.example.com"}}),
            errc::certificate_host_mismatch);
  EXPECT_EQ(verdict({.dns = {"a*.example.com"}}), errc::certificate_host_mismatch);
  EXPECT_EQ(verdict({.dns = {"api.*.com"}}), errc::certificate_host_mismatch);
  // BoringSSL's wildcards, like OpenSSL's, match no underscore.
  EXPECT_EQ(verdict_for("foo_bar.example.com", {.dns = {"*.example.com"}}),
            errc::certificate_host_mismatch);
  EXPECT_EQ(verdict_for("foo_bar.example.com", {.dns = {"foo_bar.example.com"}}), good);
}

TEST_F(tls_verification, addresses_are_compared_with_addresses_only) {
  EXPECT_EQ(verdict_for("127.0.0.1", {.ip = {"127.0.0.1"}}), good);
  EXPECT_EQ(verdict_for("::1", {.ip = {"::1"}}), good);
  EXPECT_EQ(verdict_for("[2001:DB8::0:1]", {.ip = {"2001:db8::1"}}), good);
  EXPECT_EQ(verdict_for("127.0.0.1", {.ip = {"127.0.0.2"}}), errc::certificate_host_mismatch);
  EXPECT_EQ(verdict_for("127.0.0.1", {.dns = {"127.0.0.1"}}), errc::certificate_host_mismatch);
  EXPECT_EQ(verdict_for("127.0.0.1", {.common_name = "127.0.0.1"}),
            errc::certificate_host_mismatch);
  EXPECT_EQ(verdict_for(host, {.ip = {"127.0.0.1"}}), errc::certificate_host_mismatch);
}

TEST_F(tls_verification, an_address_is_never_sent_as_a_server_name) {
  auto options = client_options();
  options.verify_name = "127.0.0.1";
  session both(client(std::move(options)),
               server(server_options(root().issue({.ip = {"127.0.0.1"}}))));
  ASSERT_TRUE(both.shake());
  EXPECT_EQ(both.server.channel.requested_name(), "");
}

TEST_F(tls_verification, times_are_those_of_the_engines_clock) {
  EXPECT_EQ(verdict({.dns = {host}, .until_s = test_epoch_s - 1}), errc::certificate_expired);
  EXPECT_EQ(verdict({.dns = {host}, .from_s = test_epoch_s + 60}), errc::certificate_not_yet_valid);
  clock.advance_s(120);
  EXPECT_EQ(verdict({.dns = {host}, .from_s = test_epoch_s + 60}), good);
}

TEST_F(tls_verification, issuers_are_checked) {
  EXPECT_EQ(verdict(client_options(), authority::self_signed({.dns = {host}})),
            errc::certificate_self_signed);
  EXPECT_EQ(verdict(client_options(), authority::self_signed({.dns = {host}, .is_ca = true})),
            errc::certificate_self_signed);
  const authority other("another root");
  EXPECT_EQ(verdict(client_options(), other.issue({.dns = {host}})),
            errc::certificate_unknown_issuer);
  const authority between = root().intermediate("an intermediate");
  certificate below = between.issue({.dns = {host}});
  EXPECT_EQ(verdict(client_options(), below), good);
  below.issuers_pem.clear();
  EXPECT_EQ(verdict(client_options(), below), errc::certificate_unknown_issuer);
  // A root that comes along is not trusted for that.
  certificate with_root = other.issue({.dns = {host}});
  with_root.issuers_pem = other.pem();
  EXPECT_EQ(verdict(client_options(), with_root), errc::certificate_self_signed);
}

TEST_F(tls_verification, a_leaf_cannot_issue) {
  const certificate leaf_as_issuer = root().issue({.dns = {"leaf.example.com"}});
  certificate forged = authority::self_signed({.common_name = "x", .dns = {host}});
  forged.issuers_pem = leaf_as_issuer.pem;
  EXPECT_NE(verdict(client_options(), forged), good);
}

TEST_F(tls_verification, purposes_are_checked) {
  EXPECT_EQ(verdict({.dns = {host}, .usage = "serverAuth"}), good);
  EXPECT_EQ(verdict({.dns = {host}, .usage = ""}), good);
  EXPECT_EQ(verdict({.dns = {host}, .usage = "clientAuth"}), errc::certificate_bad_purpose);
  EXPECT_EQ(verdict({.dns = {host}, .usage = "codeSigning"}), errc::certificate_bad_purpose);
}

// In every handshake offered here the server signs with its key.
TEST_F(tls_verification, a_key_that_may_not_sign_is_refused) {
  for (const tls::version only : {tls::version::tls_1_2, tls::version::tls_1_3}) {
    auto options = client_options();
    options.min_version = options.max_version = only;
    SCOPED_TRACE(tls::to_string(only));
    const auto with = [&](const char* usage) {
      return root().issue({.dns = {host}, .key = key_kind::rsa_2048, .key_usage = usage});
    };
    EXPECT_EQ(verdict(options, with("digitalSignature")), good);
    EXPECT_EQ(verdict(options, with("digitalSignature,keyEncipherment")), good);
    EXPECT_EQ(verdict(options, with("keyEncipherment")), errc::certificate_bad_purpose);
    EXPECT_EQ(verdict(options, with("keyAgreement")), errc::certificate_bad_purpose);
  }
}

TEST_F(tls_verification, weak_certificates_are_refused_unless_accepted) {
  const certificate rsa = root().issue({.dns = {host}, .key = key_kind::rsa_2048});
  EXPECT_EQ(verdict(client_options(), rsa), good);
  const certificate short_key = root().issue({.dns = {host}, .key = key_kind::rsa_1024});
  const certificate sha1 = root().issue({.dns = {host}, .sha1 = true});
  EXPECT_EQ(verdict(client_options(), short_key), errc::certificate_weak);
  EXPECT_EQ(verdict(client_options(), sha1), errc::certificate_weak);
  auto lenient = client_options();
  lenient.weak = tls::weak_certificates::accept;
  EXPECT_EQ(verdict(lenient, short_key), good);
  EXPECT_EQ(verdict(lenient, sha1), good);
}

TEST_F(tls_verification, name_constraints_of_an_issuer_hold) {
  const authority bound = root().intermediate("bound", "permitted;DNS:example.com");
  EXPECT_EQ(verdict(client_options(), bound.issue({.dns = {host}})), good);
  const authority elsewhere = root().intermediate("elsewhere", "permitted;DNS:example.org");
  EXPECT_EQ(verdict(client_options(), elsewhere.issue({.dns = {host}})),
            errc::certificate_rejected);
}

TEST_F(tls_verification, revocation_lists_are_obeyed) {
  const certificate kept = root().issue({.dns = {host}});
  const certificate revoked = root().issue({.dns = {host}});
  const auto with_list = [&](std::int64_t until_s) {
    const std::string list = root().revoke({revoked}, until_s);
    auto options = client_options();
    options.trust = tls::trust_store::from_pem(root().pem(), {.crls_pem = list}).value();
    EXPECT_TRUE(options.trust->checks_revocation());
    EXPECT_EQ(options.trust->stale_at_s(), until_s);
    return options;
  };
  const auto fresh = with_list(test_epoch_s + day_s);
  EXPECT_EQ(verdict(fresh, kept), good);
  EXPECT_EQ(verdict(fresh, revoked), errc::certificate_revoked);
  // It is the list that is too old, not the certificate.
  EXPECT_EQ(verdict(with_list(test_epoch_s - 1), kept), errc::revocation_unknown);
  // An issuer without a list is not taken for one that revokes nothing.
  const authority between = root().intermediate("without a list");
  EXPECT_EQ(verdict(fresh, between.issue({.dns = {host}})), errc::revocation_unknown);
}

TEST_F(tls_verification, a_stale_revocation_list_is_named_and_the_servers_certificate_not_blamed) {
  auto options = client_options();
  options.trust =
      tls::trust_store::from_pem(root().pem(), {.crls_pem = root().revoke({}, test_epoch_s - 1)})
          .value();
  const error why = refused(client(std::move(options)), server());
  EXPECT_EQ(why, errc::revocation_unknown);
  EXPECT_NE(why.message().find("CRL has expired"), std::string::npos) << why.message();
  EXPECT_EQ(why.message().find("alert sent: certificate expired"), std::string::npos)
      << why.message();
}

TEST_F(tls_verification, a_verdict_by_a_revocation_list_ends_with_the_list) {
  auto options = client_options();
  options.resumption = false;
  options.trust =
      tls::trust_store::from_pem(root().pem(), {.crls_pem = root().revoke({}, test_epoch_s + 60)})
          .value();
  tls::profile_on_shard& client_side = client(std::move(options));
  tls::server_profile& server_side = server();
  session first(client_side, server_side);
  ASSERT_TRUE(first.shake());
  EXPECT_EQ(client_side.verified().size(), 1U);
  clock.advance_s(61);
  EXPECT_EQ(refused(client_side, server_side), errc::revocation_unknown);
}

TEST_F(tls_verification, pins_are_obeyed) {
  const authority between = root().intermediate("pinned intermediate");
  const certificate pinned = between.issue({.dns = {host}});
  const certificate other = root().issue({.dns = {host}});
  auto options = client_options();
  options.pins = {pinned.key_hash};
  EXPECT_EQ(verdict(options, pinned), good);
  EXPECT_EQ(verdict(options, other), errc::pin_mismatch);
  options.pins = {other.key_hash, pinned.key_hash};
  EXPECT_EQ(verdict(options, other), good);
  // With nothing else verified, it is the peer's own key that counts.
  auto insecure = client_options();
  insecure.insecure = true;
  insecure.pins = {pinned.key_hash};
  EXPECT_EQ(verdict(insecure, pinned), good);
  EXPECT_EQ(verdict(insecure, authority::self_signed({.dns = {"any"}})), errc::pin_mismatch);
}

TEST_F(tls_verification, insecure_accepts_anybody_and_is_counted) {
  tls::profile_options options;
  options.insecure = true;
  EXPECT_EQ(verdict(options, authority::self_signed({.dns = {"any"}})), good);
  EXPECT_EQ(client_resources().counters().insecure, 1U);
  EXPECT_EQ(client_resources().counters().verifications, 0U);
}

TEST_F(tls_verification, a_chain_that_is_too_deep_is_refused) {
  std::vector<authority> chain;
  chain.push_back(root().intermediate("0"));
  for (int depth = 1; depth < 12; ++depth) {
    chain.push_back(chain.back().intermediate(std::to_string(depth)));
  }
  EXPECT_EQ(verdict(client_options(), chain[4].issue({.dns = {host}})), good);
  EXPECT_NE(verdict(client_options(), chain.back().issue({.dns = {host}})), good);
}

TEST_F(tls_verification, a_flood_of_certificates_is_refused_by_its_size) {
  certificate flood = root().issue({.dns = {host}});
  while (flood.issuers_pem.size() < 120 * 1024) flood.issuers_pem += root().pem();
  const errc why = verdict(client_options(), flood);
  EXPECT_EQ(why, errc::tls_protocol);
}

// Nobody's shard stands still for what a peer sends: the two largest things that are taken.
TEST_F(tls_verification, a_thousand_names_and_a_hundred_certificates_take_bounded_time) {
  const auto timed = [&](const certificate& own) {
    const auto before = std::chrono::steady_clock::now();
    const errc why = verdict(client_options(), own);
    // 1 ms and 30 ms with sanitizers; what is not bounded takes minutes.
    EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(3));
    return why;
  };
  certificate_request many;
  for (int i = 0; i < 999; ++i) many.dns.push_back("n" + std::to_string(i) + ".example.com");
  EXPECT_EQ(timed(root().issue(many)), errc::certificate_host_mismatch);
  many.dns.emplace_back(host);
  EXPECT_EQ(timed(root().issue(many)), good);

  std::vector<authority> chain;
  chain.push_back(root().intermediate("0"));
  while (chain.size() < 100) {
    chain.push_back(chain.back().intermediate(std::to_string(chain.size())));
  }
  EXPECT_EQ(timed(chain.back().issue({.dns = {host}})), errc::certificate_unknown_issuer);
}

TEST_F(tls_verification, errors_say_who_and_why) {
  const certificate wrong = root().issue({.dns = {"wrong.example.com"}});
  const error why = refused(client(), server(server_options(wrong)));
  EXPECT_EQ(why.where(), phase::handshake);
  EXPECT_EQ(why.subject(), "tls://peer:443");
  EXPECT_NE(why.message().find("certificate is for another name"), std::string::npos);
  EXPECT_NE(why.detail().find("server name api.example.com"), std::string::npos) << why.message();
}

}  // namespace
}  // namespace conpool::test

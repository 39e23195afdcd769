// What can be asked for: names, profiles, protocols, client certificates, roots.
#include <tests/tls/tls_fixture.h>

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <conpool/tls/detail/peer_name.h>
#include <conpool/tls/detail/symbol_check.h>

#include <tests/support/temporary_file.h>

namespace conpool::test {
namespace {

using tls::peer_name;

TEST(peer_name, is_brought_into_one_form) {
  const std::pair<const char*, const char*> table[] = {
      {"example.com", "example.com"},
      {"API.Example.COM.", "api.example.com"},
      {"localhost", "localhost"},
      {"_sip.foo_bar.example", "_sip.foo_bar.example"},
      {"xn--bcher-kva.example", "xn--bcher-kva.example"},
      {"3com.com", "3com.com"},
      {"1.2.3.4.example", "1.2.3.4.example"},
  };
  for (const auto& [given, wanted] : table) {
    const auto parsed = peer_name::parse(given);
    ASSERT_TRUE(parsed) << given;
    EXPECT_EQ(parsed->what(), peer_name::kind::dns) << given;
    EXPECT_EQ(parsed->text(), wanted);
    EXPECT_TRUE(parsed->address().empty());
  }
  const std::pair<const char*, const char*> addresses[] = {
      {"127.0.0.1", "127.0.0.1"},
      {"::1", "::1"},
      {"[2001:DB8:0::1]", "2001:db8::1"},
      {"::ffff:1.2.3.4", "::ffff:1.2.3.4"},
  };
  for (const auto& [given, wanted] : addresses) {
    const auto parsed = peer_name::parse(given);
    ASSERT_TRUE(parsed) << given;
    EXPECT_EQ(parsed->what(), peer_name::kind::ip) << given;
    EXPECT_EQ(parsed->text(), wanted);
  }
}

TEST(peer_name, refuses_what_no_certificate_can_prove) {
  using namespace std::string_view_literals;
  const std::string long_label(64, 'a');
  const std::string long_name = std::string(126, 'a').replace(63, 1, ".") + "." +
                                std::string(126, 'b').replace(63, 1, ".") + ".c";
  const std::string_view table[] = {"",
                                    ".",
                                    "..",
                                    "a..b",
                                    ".a",
                                    "a b",
                                    "a\0b"sv,
                                    "a.com\0"sv,
                                    "127.1",
                                    "1",
                                    "127.0.0.1.",
                                    "0x7f.1",
                                    "*.a.com",
                                    "a:443",
                                    "[127.0.0.1]",
                                    "fe80::1%eth0",
                                    "b\xc3\xbc.de",
                                    "a/b",
                                    long_label,
                                    long_name,
                                    "::g",
                                    "127.0.0.1\0x"sv,
                                    "user@host"};
  for (const std::string_view given : table) {
    const auto parsed = peer_name::parse(given);
    ASSERT_FALSE(parsed) << given;
    EXPECT_EQ(parsed.error(), errc::invalid_argument);
    EXPECT_FALSE(parsed.error().detail().empty());
  }
  EXPECT_TRUE(peer_name::parse(std::string(63, 'a') + ".com"));
}

class tls_profile : public tls_test {
 protected:
  static std::string refused_field(tls::profile_options options) {
    auto made = tls::profile::make(std::move(options));
    if (made) return "none";
    EXPECT_EQ(made.error(), errc::invalid_config);
    EXPECT_FALSE(made.error().detail().empty());
    return std::string(made.error().subject());
  }
};

TEST_F(tls_profile, verification_cannot_be_forgotten) {
  tls::profile_options options;
  options.trust = trust();
  EXPECT_EQ(refused_field(options), "verify_name");
  options.insecure = true;
  EXPECT_EQ(refused_field(options), "none");
}

TEST_F(tls_profile, fields_are_checked) {
  const auto with = [](auto change) {
    auto options = client_options();
    change(options);
    return refused_field(std::move(options));
  };
  EXPECT_EQ(with([](auto& o) { o.verify_name = "a b"; }), "verify_name");
  EXPECT_EQ(with([](auto& o) { o.server_name = "127.0.0.1"; }), "server_name");
  EXPECT_EQ(with([](auto& o) { o.alpn = {""}; }), "alpn");
  EXPECT_EQ(with([](auto& o) { o.alpn = {std::string(256, 'x')}; }), "alpn");
  EXPECT_EQ(with([](auto& o) { o.require_alpn = true; }), "require_alpn");
  EXPECT_EQ(with([](auto& o) { o.groups = "X25519:nonsense"; }), "groups");
  for (const char* unknown : {"RC4-MD5", "ECDHE-RSA-AES128-SHA", "ALL", "!aNULL", ":",
                              "ECDHE-RSA-AES128-GCM-SHA256:", "TLS_AES_128_GCM_SHA256",
                              "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"}) {
    EXPECT_EQ(with([&](auto& o) { o.ciphers = unknown; }), "ciphers") << unknown;
  }
  for (const char* unknown : {"rsa_pkcs1_sha1", "ecdsa_sha1", "RSA+SHA256", ":",
                              "ed25519:", "ed25519:rsa_pss_rsae_sha256:ed25519"}) {
    EXPECT_EQ(with([&](auto& o) { o.signature_algorithms = unknown; }), "signature_algorithms")
        << unknown;
  }
  EXPECT_EQ(with([](auto& o) { o.private_key_pem = "nonsense"; }), "certificate_chain_pem");
  EXPECT_EQ(with([](auto& o) { o.certificate_chain_pem = leaf().pem; }), "private_key_pem");
  EXPECT_EQ(with([](auto& o) {
              o.certificate_chain_pem = leaf().pem;
              o.private_key_pem = root().issue({}).key_pem;
            }),
            "private_key_pem");
  EXPECT_EQ(with([](auto& o) {
              o.min_version = tls::version::tls_1_3;
              o.max_version = tls::version::tls_1_2;
            }),
            "min_version");
}

TEST_F(tls_profile, equal_options_make_one_profile_and_others_another) {
  auto options = client_options();
  const auto first = tls::profile::make(options).value();
  options.verify_name = "API.EXAMPLE.COM.";
  EXPECT_EQ(tls::profile::make(options).value(), first);
  options.server_name = host;  // what would be sent anyway
  EXPECT_EQ(tls::profile::make(options).value(), first);
  options.alpn = {"h2"};
  EXPECT_NE(tls::profile::make(options).value()->id(), first->id());
}

TEST_F(tls_profile, algorithms_are_part_of_it_and_defaults_the_same_as_their_names) {
  auto options = client_options();
  const auto first = tls::profile::make(options).value();
  options.groups = first->options().groups;  // which differ between builds of BoringSSL
  EXPECT_NE(options.groups.find("X25519"), std::string::npos);
  options.ciphers =
      "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
      "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
      "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
  options.signature_algorithms =
      "ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256:rsa_pkcs1_sha256:ecdsa_secp384r1_sha384:"
      "rsa_pss_rsae_sha384:rsa_pkcs1_sha384:rsa_pss_rsae_sha512:rsa_pkcs1_sha512:ed25519";
  EXPECT_EQ(tls::profile::make(options).value(), first);
  auto ciphers = options;
  ciphers.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
  auto groups = options;
  groups.groups = "X25519";
  auto signatures = options;
  signatures.signature_algorithms = "ed25519";
  for (const auto& other : {ciphers, groups, signatures}) {
    EXPECT_NE(tls::profile::make(other).value(), first);
  }
}

TEST_F(tls_profile, a_cipher_suite_can_be_asked_for_in_tls_1_2) {
  auto options = client_options();
  options.max_version = tls::version::tls_1_2;
  options.ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384";
  session both(client(options), server());
  ASSERT_TRUE(both.shake()) << both.client.why();
  EXPECT_EQ(both.client.channel.cipher(), "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256");
  options.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384";
  session other(client(options), server());
  ASSERT_TRUE(other.shake()) << other.client.why();
  EXPECT_EQ(other.client.channel.cipher(), "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
  options.ciphers = "ECDHE-RSA-AES128-GCM-SHA256";  // the server's key is not RSA
  EXPECT_EQ(refused(client(options), server()), errc::alert_received);
}

TEST_F(tls_profile, signatures_that_are_not_wanted_are_not_taken) {
  auto options = client_options();
  for (const tls::version version : {tls::version::tls_1_2, tls::version::tls_1_3}) {
    options.min_version = options.max_version = version;
    options.signature_algorithms = "rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256";
    session both(client(options), server());
    EXPECT_TRUE(both.shake()) << both.client.why();
    options.signature_algorithms = "rsa_pss_rsae_sha256:rsa_pkcs1_sha256";
    EXPECT_EQ(refused(client(options), server()), errc::alert_received);
  }
}

TEST_F(tls_profile, is_made_on_any_thread) {
  std::vector<std::thread> threads;
  std::vector<tls::profile_ptr> made(4);
  for (std::size_t at = 0; at < made.size(); ++at) {
    threads.emplace_back([&, at] {
      auto options = client_options();
      options.alpn = {"threads"};
      made[at] = tls::profile::make(std::move(options)).value();
    });
  }
  for (std::thread& one : threads) one.join();
  for (const auto& one : made) EXPECT_EQ(one, made.front());
}

TEST_F(tls_profile, the_name_sent_can_be_another_or_none) {
  auto options = client_options();
  options.server_name = "front.example.com";
  session other(client(options), server());
  ASSERT_TRUE(other.shake());
  EXPECT_EQ(other.server.channel.requested_name(), "front.example.com");
  options.send_server_name = false;
  session none(client(options), server());
  ASSERT_TRUE(none.shake());
  EXPECT_EQ(none.server.channel.requested_name(), "");
}

class tls_alpn : public tls_test {
 protected:
  static tls::profile_options offering(std::vector<std::string> protocols, bool required) {
    auto options = client_options();
    options.alpn = std::move(protocols);
    options.require_alpn = required;
    return options;
  }
  static tls::server_options speaking(std::vector<std::string> protocols, bool required) {
    auto options = server_options();
    options.alpn = std::move(protocols);
    options.require_alpn = required;
    return options;
  }
};

TEST_F(tls_alpn, the_servers_preference_decides) {
  session both(client(offering({"http/1.1", "h2"}, true)), server(speaking({"h2", "x"}, true)));
  ASSERT_TRUE(both.shake());
  EXPECT_EQ(both.client.channel.alpn(), "h2");
  EXPECT_EQ(both.server.channel.alpn(), "h2");
}

TEST_F(tls_alpn, a_server_that_ignores_it_is_served_unless_it_is_required) {
  session lenient(client(offering({"h2"}, false)), server());
  ASSERT_TRUE(lenient.shake());
  EXPECT_EQ(lenient.client.channel.alpn(), "");
  session strict(client(offering({"h2"}, true)), server());
  EXPECT_FALSE(strict.shake());
  EXPECT_EQ(strict.client.channel.failure(), errc::alpn_mismatch);
  EXPECT_EQ(strict.server.read().error(), errc::alpn_mismatch);
}

TEST_F(tls_alpn, nothing_in_common_is_a_mismatch_on_both_sides) {
  session both(client(offering({"h2"}, false)), server(speaking({"http/1.1"}, true)));
  EXPECT_FALSE(both.shake());
  EXPECT_EQ(both.client.channel.failure(), errc::alpn_mismatch);
  EXPECT_EQ(both.server.channel.failure(), errc::alpn_mismatch);
  session without(client(), server(speaking({"http/1.1"}, true)));
  without.shake();
  EXPECT_EQ(without.server.channel.failure(), errc::alpn_mismatch);
}

class tls_client_certificate : public tls_test, public ::testing::WithParamInterface<tls::version> {
 protected:
  tls::server_profile& demanding(tls::client_certificates how) {
    auto options = server_options();
    options.clients = how;
    options.client_trust = trust();
    return server(std::move(options));
  }
  tls::profile_options as(const certificate* own) {
    auto options = client_options();
    options.min_version = options.max_version = GetParam();
    if (own != nullptr) {
      options.certificate_chain_pem = own->chain_pem();
      options.private_key_pem = own->key_pem;
    }
    return options;
  }
  // What the client finds out, at the latest with its first read.
  errc outcome(const certificate* own, tls::client_certificates how) {
    session both(client(as(own)), demanding(how));
    both.shake();
    if (both.client.channel.state() == tls::channel_state::open) {
      auto got = both.client.read();
      if (!got) return got.error().kind();
    }
    if (both.client.channel.state() == tls::channel_state::failed) {
      return both.client.channel.failure().kind();
    }
    both.expect_echo();
    return errc{};
  }
};

TEST_P(tls_client_certificate, a_good_one_is_seen_by_the_server) {
  const certificate own = root().issue({.common_name = "a client", .usage = "clientAuth"});
  session both(client(as(&own)), demanding(tls::client_certificates::required));
  ASSERT_TRUE(both.shake()) << both.client.why();
  both.expect_echo();
  EXPECT_FALSE(both.server.channel.peer_certificate().empty());
}

TEST_P(tls_client_certificate, a_missing_one_is_refused_where_it_is_required) {
  EXPECT_EQ(outcome(nullptr, tls::client_certificates::required), errc::client_certificate_refused);
  EXPECT_EQ(outcome(nullptr, tls::client_certificates::optional), errc{});
}

TEST_P(tls_client_certificate, a_wrong_one_is_refused_even_where_none_is_required) {
  const authority other("another root");
  const certificate stranger = other.issue({.common_name = "a stranger"});
  const certificate server_only = root().issue({.usage = "serverAuth"});
  const certificate expired = root().issue({.until_s = test_epoch_s - 1});
  for (const certificate* own : {&stranger, &server_only, &expired}) {
    EXPECT_EQ(outcome(own, tls::client_certificates::required), errc::client_certificate_refused);
    EXPECT_EQ(outcome(own, tls::client_certificates::optional), errc::client_certificate_refused);
  }
}

INSTANTIATE_TEST_SUITE_P(versions, tls_client_certificate,
                         ::testing::Values(tls::version::tls_1_2, tls::version::tls_1_3),
                         [](const auto& info) {
                           return info.param == tls::version::tls_1_2 ? "tls_1_2" : "tls_1_3";
                         });

// A file that is gone when the test is.
class tls_trust : public tls_test {};

TEST_F(tls_trust, generations_differ_and_bad_bundles_are_errors) {
  const auto first = tls::trust_store::from_pem(root().pem()).value();
  const auto second = tls::trust_store::from_pem(root().pem()).value();
  EXPECT_NE(first->generation(), second->generation());
  EXPECT_EQ(first->certificates(), 1U);
  EXPECT_EQ(tls::trust_store::from_pem("").error(), errc::trust_unavailable);
  EXPECT_EQ(tls::trust_store::from_pem("nonsense").error(), errc::trust_unavailable);
  std::string broken = root().pem();
  broken.replace(28, 4, "AAAA");
  EXPECT_EQ(tls::trust_store::from_pem(root().pem() + broken).error(), errc::trust_unavailable);
  EXPECT_EQ(tls::trust_store::from_pem(root().pem(), {.crls_pem = "nonsense"}).error(),
            errc::trust_unavailable);
  const auto missing = tls::trust_store::from_file("/nonexistent/bundle.pem");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().system_errno(), ENOENT);
}

TEST_F(tls_trust, the_systems_roots_follow_the_variables) {
  const temporary_file file;
  const authority second("second root");
  std::ofstream(file.path()) << root().pem() << "junk\n" << root().pem() << second.pem();
  ::unsetenv("SSL_CERT_DIR");
  ::setenv("SSL_CERT_FILE", file.path().c_str(), 1);
  const auto loaded = tls::trust_store::reload_system();
  ::setenv("SSL_CERT_FILE", "/nonexistent/bundle.pem", 1);
  const auto missing = tls::trust_store::reload_system();
  ::unsetenv("SSL_CERT_FILE");
  ASSERT_TRUE(loaded);
  EXPECT_EQ((*loaded)->certificates(), 2U);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error(), errc::trust_unavailable);
  // A failed reload leaves what was there.
  EXPECT_EQ(tls::trust_store::system().value(), *loaded);
}

TEST_F(tls_trust, another_trust_store_makes_another_profile) {
  auto options = client_options();
  const auto before = tls::profile::make(options).value();
  options.trust = root().trust();
  EXPECT_NE(tls::profile::make(options).value()->id(), before->id());
}

TEST(symbol_check, boringssl_is_bound) {
  const auto checked = tls::symbol_check();
  EXPECT_TRUE(checked) << checked.error().message();
}

}  // namespace
}  // namespace conpool::test

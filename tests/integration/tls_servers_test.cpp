// The TLS channel against servers of other libraries, as they come from their packages: OpenSSL,
// GnuTLS, and nginx. Each is started by the test that needs it.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <conpool/tls/detail/profile_on_shard.h>
#include <conpool/tls/detail/shard_resources.h>

#include <tests/support/blocking_tls.h>
#include <tests/support/expect.h>
#include <tests/support/nginx_server.h>
#include <tests/support/server_process.h>
#include <tests/tls/certificates.h>

namespace conpool::test {
namespace {

using tls::idle_outcome;
using words = std::vector<std::string>;

constexpr const char* host = "a.example";
constexpr std::int64_t long_ago_s = 1'577'836'800;  // 2020

class tls_servers : public ::testing::Test {
 protected:
  static const authority& root() {
    static const authority made("servers' root", long_ago_s);
    return made;
  }
  static certificate issue(std::string name) {
    return root().issue({.common_name = name, .dns = {name}, .from_s = long_ago_s});
  }
  static const certificate& leaf() {
    static const certificate made = issue(host);
    return made;
  }
  static const certificate& client_leaf() {
    static const certificate made = issue("client.example");
    return made;
  }

  static tls::profile_options client_options(std::string name = host) {
    static const tls::trust_ptr trust = root().trust();
    tls::profile_options options;
    options.trust = trust;
    options.verify_name = std::move(name);
    return options;
  }
  static tls::profile_options with_certificate(tls::profile_options options) {
    options.certificate_chain_pem = client_leaf().chain_pem();
    options.private_key_pem = client_leaf().key_pem;
    return options;
  }
  tls::profile_on_shard& on_shard(tls::profile_options options) {
    profiles_.push_back(tls::profile::make(std::move(options)).value());
    return *resources_.config_for(profiles_.back()).value();
  }
  std::unique_ptr<blocking_tls> connect(std::uint16_t port,
                                        tls::profile_options options = client_options()) {
    auto made = std::make_unique<blocking_tls>(on_shard(std::move(options)), port);
    port_ = port;
    return made;
  }
  // How many tickets of the last server are kept.
  std::size_t tickets() {
    return resources_.sessions().count(profiles_.back()->id(),
                                       "tls://127.0.0.1:" + std::to_string(port_));
  }

  const temporary_folder files_;
  const std::string certificate_file_ = files_.file("leaf.pem", leaf().chain_pem());
  const std::string key_file_ = files_.file("leaf.key", leaf().key_pem);
  const std::string root_file_ = files_.file("root.pem", root().pem());

 private:
  tls::shard_resources resources_;
  std::vector<tls::profile_ptr> profiles_;
  std::uint16_t port_ = 0;
};

void expect_reversed(blocking_tls& client, const std::string& text) {
  ASSERT_TRUE(client.write(text + "\n"));
  EXPECT_EQ(client.read_until("\n").value_or("-"), std::string(text.rbegin(), text.rend()) + "\n");
}

void expect_open(blocking_tls& client) {
  const auto open = client.shake();
  ASSERT_OK(open);
}

// --- OpenSSL

class openssl_peer : public tls_servers {
 protected:
  std::uint16_t serve(const words& more) {
    words all{"openssl", "s_server",        "-accept", "127.0.0.1:0",
              "-cert",   certificate_file_, "-key",    key_file_};
    all.insert(all.end(), more.begin(), more.end());
    server_.reset();
    server_ = std::make_unique<server_process>(all);
    return server_->wait_for("ACCEPT 127.0.0.1:");
  }
  errc refused(const words& more, tls::profile_options options = client_options(),
               const std::string& reason = {}) {
    const auto client = connect(serve(more), std::move(options));
    if (const auto open = client->shake(); !open) {
      EXPECT_NE(open.error().detail().find(reason), std::string::npos) << open.error().message();
      return open.error().kind();
    }
    const auto answer = client->read();  // TLS 1.3 refuses a client's certificate late
    return answer ? errc{} : answer.error().kind();
  }
  server_process& server() { return *server_; }

 private:
  std::unique_ptr<server_process> server_;
};

TEST_F(openssl_peer, tickets_that_come_while_it_is_idle_are_kept) {
  for (const std::size_t count : {0U, 2U, 4U}) {
    const auto client = connect(serve({"-num_tickets", std::to_string(count), "-rev"}));
    expect_open(*client);
    while (tickets() < count) ASSERT_EQ(client->idle(), idle_outcome::keep);
    EXPECT_TRUE(client->channel().reusable());
    expect_reversed(*client, "hello");
    EXPECT_EQ(tickets(), count);
  }
}

TEST_F(openssl_peer, a_thousand_tickets_are_too_many) {
  const auto client = connect(serve({"-num_tickets", "1000", "-rev"}));
  expect_open(*client);
  idle_outcome verdict = idle_outcome::keep;
  while (verdict == idle_outcome::keep) verdict = client->idle();
  EXPECT_EQ(verdict, idle_outcome::refused);
  EXPECT_EQ(client->channel().failure().kind(), errc::record_limit);
}

TEST_F(openssl_peer, sessions_are_resumed) {
  for (const words& how : {words{"-rev"}, words{"-rev", "-tls1_2"},
                           words{"-rev", "-tls1_2", "-no_ticket"}, words{"-rev", "-no_ticket"}}) {
    const std::uint16_t port = serve(how);
    for (const bool again : {false, true}) {
      const auto client = connect(port);
      expect_open(*client);
      expect_reversed(*client, "hello");
      EXPECT_EQ(client->channel().resumed(), again) << how.back();
      EXPECT_GE(tickets(), 1U);
      client->close();
    }
  }
}

TEST_F(openssl_peer, a_server_of_1_2_only_is_good) {
  const auto client = connect(serve({"-tls1_2", "-rev"}));
  expect_open(*client);
  EXPECT_EQ(client->channel().version(), tls::version::tls_1_2);
  expect_reversed(*client, "hello");
}

TEST_F(openssl_peer, old_versions_and_ciphers_are_refused) {
  const auto with = [&](const words& how, const std::string& reason) {
    return refused(how, client_options(), reason);
  };
  const std::string no_cipher = "HANDSHAKE_FAILURE_ON_CLIENT_HELLO";
  EXPECT_EQ(with({"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"}, no_cipher),
            errc::alert_received);
  EXPECT_EQ(with({"-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0"}, no_cipher),
            errc::alert_received);
  const std::string no_version = "alert 70, protocol version";
  EXPECT_EQ(with({"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"}, no_version), errc::alert_received);
  EXPECT_EQ(with({"-tls1", "-cipher", "ALL:@SECLEVEL=0"}, no_version), errc::alert_received);
}

TEST_F(openssl_peer, a_client_certificate_is_sent_where_it_is_required) {
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    const words how{version, "-rev", "-Verify", "1", "-verify_return_error", "-CAfile", root_file_};
    const auto client = connect(serve(how), with_certificate(client_options()));
    expect_open(*client);
    expect_reversed(*client, "hello");
    server().wait_for("CN = client.example");
  }
}

TEST_F(openssl_peer, a_client_certificate_that_is_missing_has_its_own_error) {
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    const words how{version, "-rev", "-Verify", "1", "-verify_return_error", "-CAfile", root_file_};
    EXPECT_EQ(refused(how), errc::client_certificate_refused) << version;
  }
}

TEST_F(openssl_peer, a_client_certificate_that_is_wrong_has_its_own_error) {
  const authority stranger("a stranger", long_ago_s);
  const certificate own = stranger.issue({.dns = {"client.example"}, .from_s = long_ago_s});
  tls::profile_options options = client_options();
  options.certificate_chain_pem = own.chain_pem();
  options.private_key_pem = own.key_pem;
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    const words how{version, "-rev", "-Verify", "1", "-verify_return_error", "-CAfile", root_file_};
    EXPECT_EQ(refused(how, options), errc::client_certificate_refused) << version;
  }
}

TEST_F(openssl_peer, the_protocol_is_agreed_on) {
  tls::profile_options options = client_options();
  options.alpn = {"h2", "http/1.1"};
  options.require_alpn = true;
  const auto client = connect(serve({"-rev", "-alpn", "http/1.1"}), options);
  expect_open(*client);
  EXPECT_EQ(client->channel().alpn(), "http/1.1");
  EXPECT_EQ(refused({"-rev"}, options), errc::alpn_mismatch);
  EXPECT_EQ(refused({"-rev", "-alpn", "spdy"}, options), errc::alpn_mismatch);
}

TEST_F(openssl_peer, small_records_and_padded_ones_are_put_together) {
  std::string text(9'000, 'a');
  for (std::size_t at = 0; at < text.size(); ++at) text[at] = static_cast<char>('a' + at % 23);
  for (const words& how :
       {words{"-rev", "-max_send_frag", "512"}, words{"-rev", "-max_send_frag", "512", "-tls1_2"},
        words{"-rev", "-record_padding", "1024"},
        words{"-rev", "-max_send_frag", "600", "-record_padding", "4096"}}) {
    const auto client = connect(serve(how));
    expect_open(*client);
    expect_reversed(*client, text);
  }
}

TEST_F(openssl_peer, T30_a_key_update_of_openssl_is_followed) {
  const auto client = connect(serve({"-tls1_3"}));
  expect_open(*client);
  while (tickets() < 2) ASSERT_EQ(client->idle(), idle_outcome::keep);
  server().wait_for("CIPHER is");
  for (const std::string update : {"k\n", "K\n", "K\n"}) {
    server().say(update);
    ASSERT_EQ(client->idle(), idle_outcome::keep);
    EXPECT_TRUE(client->channel().state() == tls::channel_state::open);
    ASSERT_TRUE(client->write("from the client\n"));
    server().wait_for("from the client");
    server().say("from the server\n");
    EXPECT_EQ(client->read_until("\n").value_or("-"), "from the server\n");
  }
}

TEST_F(openssl_peer, renegotiation_is_refused) {
  const auto client = connect(serve({"-tls1_2"}));
  expect_open(*client);
  server().wait_for("CIPHER is");
  server().say("R\n");
  EXPECT_EQ(client->idle(), idle_outcome::refused);
  EXPECT_EQ(client->channel().failure().kind(), errc::tls_protocol);
}

// --- GnuTLS

class gnutls_peer : public tls_servers {
 protected:
  std::uint16_t serve(const words& more) {
    const std::uint16_t port = free_port();
    words all{"gnutls-serv",   "--echo",  "--x509certfile", certificate_file_,
              "--x509keyfile", key_file_, "--port",         std::to_string(port)};
    all.insert(all.end(), more.begin(), more.end());
    server_.reset();
    server_ = std::make_unique<server_process>(all);
    server_->wait_for("Echo Server listening on IPv4");
    return port;
  }
  static void expect_echo(blocking_tls& client) {
    ASSERT_TRUE(client.write("hello\n"));
    EXPECT_EQ(client.read_until("\n").value_or("-"), "hello\n");
  }

 private:
  std::unique_ptr<server_process> server_;
};

constexpr const char* only_1_2 = "NORMAL:-VERS-ALL:+VERS-TLS1.2";
constexpr const char* only_1_3 = "NORMAL:-VERS-ALL:+VERS-TLS1.3";

TEST_F(gnutls_peer, echoes_and_resumes) {
  for (const char* versions : {only_1_2, only_1_3}) {
    const std::uint16_t port = serve({"--priority", versions});
    for (const bool again : {false, true}) {
      const auto client = connect(port);
      expect_open(*client);
      expect_echo(*client);
      while (tickets() < 1) ASSERT_EQ(client->idle(), idle_outcome::keep);
      EXPECT_EQ(client->channel().resumed(), again) << versions;
      EXPECT_TRUE(client->channel().reusable());
      client->close();
    }
  }
}

TEST_F(gnutls_peer, a_client_certificate_is_sent_where_it_is_required) {
  for (const char* versions : {only_1_2, only_1_3}) {
    const std::uint16_t port = serve({"--priority", versions, "--require-client-cert",
                                      "--verify-client-cert", "--x509cafile", root_file_});
    const auto client = connect(port, with_certificate(client_options()));
    expect_open(*client);
    expect_echo(*client);
    const auto stranger = connect(port);
    auto open = stranger->shake();
    if (open) {
      const auto answer = stranger->read();
      ASSERT_FALSE(answer);
      open = fail(answer.error());
    }
    EXPECT_EQ(open.error(), errc::client_certificate_refused) << open.error().message();
    // GnuTLS answers an empty list of TLS 1.2 with "decode error": what it said is in the text.
    const char* const said = versions == only_1_2 ? "alert 50, decode error" : "alert 116";
    EXPECT_NE(open.error().detail().find(said), std::string::npos) << open.error().message();
  }
}

// Debian's OpenSSL has no 3DES, GnuTLS does. It has one alert for all of these.
TEST_F(gnutls_peer, old_versions_and_ciphers_are_refused) {
  for (const char* priority :
       {"NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC",
        "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+3DES-CBC",
        "NORMAL:-VERS-ALL:+VERS-TLS1.1:+VERS-TLS1.0", "NORMAL:-VERS-ALL:+VERS-TLS1.0"}) {
    const auto client = connect(serve({"--priority", priority}));
    const auto open = client->shake();
    ASSERT_FALSE(open) << priority;
    EXPECT_EQ(open.error(), errc::alert_received) << open.error().message();
    EXPECT_NE(open.error().detail().find("alert 40, handshake failure"), std::string::npos)
        << open.error().message();
  }
}

// --- nginx

class nginx_peer : public tls_servers {
 protected:
  static std::string get(blocking_tls& client) {
    if (auto sent = client.write("GET / HTTP/1.1\r\nHost: " +
                                 std::string(client.channel().config().server_name()) + "\r\n\r\n");
        !sent) {
      return sent.error().message();
    }
    auto answer = client.read_until("end\n");
    return answer ? *answer : answer.error().message();
  }
  static void expect_answer(blocking_tls& client, const std::string& text) {
    const std::string answer = get(client);
    EXPECT_NE(answer.find("200 OK"), answer.npos) << answer;
    EXPECT_NE(answer.find(text), answer.npos) << answer;
  }

  const nginx_server server_{root(), long_ago_s};
};

TEST_F(nginx_peer, a_session_is_resumed) {
  for (const std::uint16_t port : {server_.port(), server_.old_port()}) {
    for (const bool again : {false, true}) {
      const auto client = connect(port);
      expect_open(*client);
      expect_answer(*client, again ? " r. end" : " .. end");
      EXPECT_EQ(client->channel().resumed(), again);
    }
  }
}

TEST_F(nginx_peer, T29_a_close_notify_comes_when_its_keep_alive_ends) {
  const auto client = connect(server_.port());
  expect_open(*client);
  expect_answer(*client, "a.example");
  idle_outcome verdict = idle_outcome::keep;
  while (verdict == idle_outcome::keep) {
    verdict = client->idle();
    // Its close_notify is the end, and not what comes behind it.
    if (verdict == idle_outcome::keep) {
      EXPECT_EQ(client->channel().state(), tls::channel_state::open);
    }
  }
  EXPECT_EQ(verdict, idle_outcome::closed);
  EXPECT_FALSE(client->channel().reusable());
}

}  // namespace
}  // namespace conpool::test

// Real servers that begin in the clear: PostgreSQL's SSLRequest, and SMTP's STARTTLS.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include <conpool/conpool.h>

#include <tests/pool/tls_fixture.h>
#include <tests/support/postgres_client.h>
#include <tests/support/postgres_server.h>
#include <tests/support/server_process.h>

namespace conpool::test {
namespace {

class starttls : public pool_tls {
 protected:
  static tls::profile_ptr verifying(std::string name = "127.0.0.1") {
    return tls::profile::make(client_options(std::move(name))).value();
  }
};

TEST_F(starttls, postgresql_is_asked_first_and_says_itself_that_it_is_encrypted) {
  if (!postgres_server::is_installed()) GTEST_SKIP() << "no PostgreSQL: scripts/deps test";
  const postgres_server server(leaf().chain_pem(), leaf().key_pem);
  const std::string witness =
      "select ssl || ' ' || version from pg_stat_ssl where pid = pg_backend_pid()";
  for (const bool secured : {true, false}) {
    postgres_protocol speaks;
    speaks.port = server.port();
    if (secured) speaks.secured_as = verifying();
    configure({}, speaks);
    for (int lease_count = 0; lease_count < 2; ++lease_count) {
      ASSERT_TRUE(run([&]() -> task<void> {
        auto lent = co_await backends().acquire(server.at());
        CO_ASSERT_OK(lent);
        auto asking = postgres_query(**lent, witness);
        auto rows = co_await asking;
        CO_ASSERT_OK(rows);
        if (secured) {
          EXPECT_EQ(*rows, postgres_rows{"true TLSv1.3"});
        } else {
          EXPECT_EQ(rows->size(), 1U);  // "false" and no version is no value at all
        }
      }));
      settle();
    }
    EXPECT_EQ(totals().created, 1U);
    EXPECT_EQ(totals().handshakes, secured ? 1U : 0U);
  }
}

TEST_F(starttls, postgresql_with_a_certificate_for_another_is_refused_before_anything_is_said) {
  if (!postgres_server::is_installed()) GTEST_SKIP() << "no PostgreSQL: scripts/deps test";
  const postgres_server server(leaf().chain_pem(), leaf().key_pem);
  postgres_protocol speaks;
  speaks.port = server.port();
  speaks.secured_as = verifying("another.example.com");
  configure({}, speaks);
  const error why = refused(server.at());
  EXPECT_EQ(why, errc::certificate_host_mismatch) << why.message();
  EXPECT_EQ(totals().handshakes_failed, 1U);
  EXPECT_EQ(server.logged("application_name=pooled"), 0U) << "it never logged in";
}

// --- SMTP (RFC 5321, RFC 3207)

struct smtp {
  struct state {};
  tls::profile_ptr as;

  // The whole answer, of one line or of several, if it has the code.
  static task<result<void>> expect(connection& from, std::string_view code) {
    buffered_reader in(from);
    for (;;) {
      auto line = co_await in.read_until("\r\n");
      if (!line) co_return fail(std::move(line.error()));
      if (!line->starts_with(code)) {
        co_return fail(error(errc::io_failed, phase::read).with_detail(*line));
      }
      if (line->size() == code.size() || (*line)[code.size()] == ' ') co_return result<void>{};
    }
  }
  static task<result<void>> say(connection& to, std::string words, std::string_view code) {
    words += "\r\n";
    auto sent = co_await to.write(words);
    if (!sent) co_return fail(std::move(sent.error()));
    auto reading = expect(to, code);
    auto answered = co_await reading;
    co_return answered;
  }

  task<result<void>> on_connect(connection& to, state&) {
    auto greeting = expect(to, "220");
    auto done = co_await greeting;
    if (!done) co_return done;
    static constexpr std::pair<const char*, const char*> in_the_clear[] = {{"EHLO conpool", "250"},
                                                                           {"STARTTLS", "220"}};
    for (const auto& [words, code] : in_the_clear) {
      auto talk = say(to, words, code);
      done = co_await talk;
      if (!done) co_return done;
    }
    auto securing = to.upgrade(as);
    done = co_await securing;
    if (!done) co_return done;
    auto again = say(to, "EHLO conpool", "250");
    done = co_await again;
    co_return done;
  }
};

// Debian's aiosmtpd, which refuses mail that does not come over TLS.
class smtp_server {
 public:
  static bool is_installed() { return ::access("/usr/bin/aiosmtpd", X_OK) == 0; }

  smtp_server(const std::string& certificate, const std::string& key)
      : server_({"/usr/bin/aiosmtpd", "-n", "-l", "127.0.0.1:" + std::to_string(port_), "--tlscert",
                 files_.file("certificate", certificate), "--tlskey", files_.file("key", key)}) {
    server_.wait_for_port(port_);
  }
  endpoint at() const {
    return endpoint::parse("tcp://127.0.0.1:" + std::to_string(port_)).value();
  }
  void wait_for(std::string_view text) { server_.wait_for(text); }

 private:
  const std::uint16_t port_ = free_port();
  const temporary_folder files_;
  server_process server_;
};

TEST_F(starttls, an_smtp_server_takes_mail_of_two_leases_over_one_connection) {
  if (!smtp_server::is_installed()) GTEST_SKIP() << "no aiosmtpd: scripts/deps test";
  smtp_server server(leaf().chain_pem(), leaf().key_pem);
  configure({}, smtp{verifying()});
  for (const std::string word : {"first", "second"}) {
    const std::vector<std::pair<std::string, const char*>> mail{
        {"MAIL FROM:<a@example.com>", "250"},
        {"RCPT TO:<b@example.com>", "250"},
        {"DATA", "354"},
        {"Subject: " + word + "\r\n\r\nof two.\r\n.", "250"}};
    ASSERT_TRUE(run([&]() -> task<void> {
      auto lent = co_await backends().acquire(server.at());
      CO_ASSERT_OK(lent);
      for (const auto& [words, code] : mail) {
        auto talk = smtp::say(**lent, words, code);
        auto done = co_await talk;
        CO_ASSERT_OK(done);
      }
    }));
    server.wait_for("Subject: " + word);
    settle();
  }
  EXPECT_EQ(totals().created, 1U);
  EXPECT_EQ(totals().handshakes, 1U);
  EXPECT_EQ(totals().closed(), 0U);
}

}  // namespace
}  // namespace conpool::test

// Somebody between the two, or a server of long ago, wants less than both could have: each way of
// asking is refused, with an error that says which.
#include <tests/tls/tls_fixture.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

#include <conpool/tls/detail/boringssl.h>

namespace conpool::test {
namespace {

using tls::handshake_step;

// In a record of a ServerHello, behind the headers of record and message.
constexpr std::size_t server_version_at = 5 + 4;
constexpr std::size_t server_random_at = server_version_at + 2;
constexpr std::size_t server_session_at = server_random_at + 32;
constexpr std::size_t sentinel_at = server_session_at - 8;  // RFC 8446, 4.1.3

class tls_downgrade : public tls_test {
 protected:
  // A handshake whose ServerHello is changed on its way; what the client makes of it.
  template <typename Change>
  error after(tls::version best, Change change) {
    auto old = server_options();
    old.max_version = best;
    session both(client(), server(std::move(old)));
    both.client.step();
    both.deliver();
    both.server.step();
    change(both.server.outbox);
    both.deliver();
    return refusal(both);
  }
  static error refusal(session& both) {
    EXPECT_EQ(both.client.step(), handshake_step::failed);
    EXPECT_FALSE(both.client.outbox.empty()) << "the server is not told";
    if (both.client.channel.state() != tls::channel_state::failed) return error(errc{});
    return both.client.channel.failure();
  }
  static void put(bytes& flight, std::size_t at, std::string_view what) {
    ASSERT_GE(flight.size(), at + what.size());
    std::memcpy(flight.data() + at, what.data(), what.size());
  }
  static void put16(bytes& flight, std::size_t at, unsigned value) {
    const std::array<char, 2> wire{static_cast<char>(value >> 8), static_cast<char>(value)};
    put(flight, at, {wire.data(), wire.size()});
  }
  static void expect_reason(const error& why, errc kind, std::string_view reason) {
    EXPECT_EQ(why, kind) << why.message();
    EXPECT_EQ(why.where(), phase::handshake);
    EXPECT_NE(why.detail().find(reason), std::string_view::npos) << why.message();
    EXPECT_NE(why.detail().find("alert sent: "), std::string_view::npos) << why.message();
  }
};

// The attack itself: both have TLS 1.3, and the client's offer of it is hidden from the server,
// which then says in its random what it would have chosen.
TEST_F(tls_downgrade, an_offer_of_1_3_that_was_taken_out_is_noticed_by_the_servers_random) {
  session both(client(), server());
  both.client.step();
  constexpr std::array supported_versions{std::byte{0}, std::byte{43}, std::byte{0}};
  bytes& hello = both.client.outbox;
  const auto found = std::ranges::search(hello, supported_versions).begin();
  ASSERT_NE(found, hello.end());
  *found = std::byte{0x7a};  // no extension that anybody knows
  both.deliver();
  both.server.step();
  EXPECT_EQ(text_of(std::span(both.server.outbox).subspan(sentinel_at, 8)), "DOWNGRD\1");
  both.deliver();
  expect_reason(refusal(both), errc::tls_protocol, "TLS13_DOWNGRADE");
}

TEST_F(tls_downgrade, the_marks_of_a_downgrade_to_1_2_and_below_are_both_refused) {
  for (const std::string_view mark : {std::string_view("DOWNGRD\1", 8), {"DOWNGRD\0", 8}}) {
    const error why =
        after(tls::version::tls_1_2, [&](bytes& flight) { put(flight, sentinel_at, mark); });
    expect_reason(why, errc::tls_protocol, "TLS13_DOWNGRADE");
  }
}

// Who asks for 1.2 only is not downgraded by a server that could do more.
TEST_F(tls_downgrade, the_mark_is_no_concern_of_a_client_of_1_2) {
  auto options = client_options();
  options.max_version = tls::version::tls_1_2;
  session both(client(std::move(options)), server());
  EXPECT_TRUE(both.shake()) << both.client.why();
}

TEST_F(tls_downgrade, a_server_that_answers_in_an_old_version_is_refused) {
  for (const unsigned old : {0x0300U, 0x0301U, 0x0302U}) {
    const error why =
        after(tls::version::tls_1_2, [&](bytes& flight) { put16(flight, server_version_at, old); });
    expect_reason(why, errc::tls_protocol, "UNSUPPORTED_PROTOCOL");
  }
}

TEST_F(tls_downgrade, a_server_that_chooses_a_cipher_that_was_not_offered_is_refused) {
  const std::pair<unsigned, const char*> table[] = {{0x000a, "3DES"},
                                                    {0x002f, "RSA key exchange"},
                                                    {0xc009, "CBC with SHA-1"},
                                                    {0xc023, "CBC"},
                                                    {0x0005, "RC4"},
                                                    {0x0000, "nothing at all"},
                                                    {0xc008, "3DES, EC"},
                                                    {0x009c, "GCM, RSA key exchange"}};
  for (const auto& [cipher, what] : table) {
    SCOPED_TRACE(what);
    const error why = after(tls::version::tls_1_2, [&](bytes& flight) {
      const auto id_bytes = std::to_integer<std::size_t>(flight.at(server_session_at));
      put16(flight, server_session_at + 1 + id_bytes, cipher);
    });
    EXPECT_EQ(why, errc::tls_protocol) << why.message();
    EXPECT_NE(why.detail().find("CIPHER_RETURNED"), std::string_view::npos) << why.message();
  }
}

// Servers that have nothing newer; the alert is theirs.
TEST_F(tls_downgrade, servers_of_1_0_and_1_1_only_are_refused) {
  for (const std::uint16_t only : {TLS1_VERSION, TLS1_1_VERSION}) {
    session both(client(), server());
    ASSERT_EQ(SSL_set_min_proto_version(both.server.channel.native(), TLS1_VERSION), 1);
    ASSERT_EQ(SSL_set_max_proto_version(both.server.channel.native(), only), 1);
    EXPECT_FALSE(both.shake());
    const error& why = both.client.channel.failure();
    EXPECT_EQ(why, errc::alert_received);
    EXPECT_NE(why.detail().find("alert 70, protocol version"), std::string_view::npos)
        << why.message();
    EXPECT_EQ(both.server.channel.failure(), errc::tls_protocol);
  }
}

}  // namespace
}  // namespace conpool::test

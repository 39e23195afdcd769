// How a channel ends: close_notify, truncation, tampering; what remains readable, what is said.
#include <conpool/tls/detail/boringssl.h>
#include <tests/tls/tls_fixture.h>

#include <gtest/gtest.h>

#include <string>

namespace conpool::test {
namespace {

using tls::channel_state;

class tls_end : public tls_test, public ::testing::WithParamInterface<tls::version> {
 protected:
  tls::profile_on_shard& client_of_version() {
    auto options = client_options();
    options.min_version = options.max_version = GetParam();
    return client(std::move(options));
  }
  // Open, tickets read.
  std::unique_ptr<session> opened() {
    auto both = std::make_unique<session>(client_of_version(), server());
    EXPECT_TRUE(both->shake());
    both->expect_echo();
    return both;
  }
};

TEST_P(tls_end, close_notify_ends_both_directions_in_turn) {
  auto both = opened();
  ASSERT_TRUE(both->server.write("last words"));
  both->server.close();
  EXPECT_EQ(both->server.channel.state(), channel_state::closing);
  both->deliver();
  EXPECT_EQ(both->client.read().value(), "last words");
  EXPECT_EQ(both->client.channel.state(), channel_state::peer_closed);
  EXPECT_TRUE(both->client.channel.end_of_input());
  EXPECT_EQ(both->client.read().value(), "");
  EXPECT_FALSE(both->client.channel.reusable());
  // This side may still write.
  ASSERT_TRUE(both->client.write("goodbye"));
  both->client.close();
  EXPECT_EQ(both->client.channel.state(), channel_state::closed);
  both->deliver();
  EXPECT_EQ(both->server.read().value(), "goodbye");
  EXPECT_EQ(both->server.channel.state(), channel_state::closed);
  EXPECT_TRUE(both->server.channel.end_of_input());
  EXPECT_EQ(both->server.write("too late").error(), errc::connection_closed);
}

TEST_P(tls_end, an_end_between_records_is_truncation) {
  auto both = opened();
  ASSERT_TRUE(both->server.write("headers"));
  both->deliver();
  EXPECT_EQ(both->client.read().value(), "headers");
  const auto ended = both->client.channel.end_of_input();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error(), errc::truncated);
  EXPECT_EQ(ended.error().where(), phase::read);
  EXPECT_NE(ended.error().detail().find("between two records"), std::string::npos);
  EXPECT_EQ(both->client.channel.state(), channel_state::failed);
  EXPECT_EQ(both->client.read().error(), errc::truncated);
}

TEST_P(tls_end, an_end_inside_of_a_record_is_truncation_at_every_offset) {
  auto first = opened();
  ASSERT_TRUE(first->server.write("0123456789"));
  const std::size_t size = first->server.outbox.size();
  for (std::size_t cut = 1; cut < size; ++cut) {
    auto both = opened();
    ASSERT_TRUE(both->server.write("0123456789"));
    both->server.outbox.resize(cut);
    both->deliver();
    ASSERT_EQ(both->client.read().value(), "");
    const auto ended = both->client.channel.end_of_input();
    ASSERT_FALSE(ended);
    ASSERT_EQ(ended.error(), errc::truncated);
    ASSERT_NE(ended.error().detail().find("middle of a record"), std::string::npos) << cut;
  }
}

TEST_P(tls_end, an_end_during_the_handshake_is_truncation_of_it) {
  session both(client_of_version(), server());
  both.client.step();
  both.deliver();
  both.server.step();
  both.server.outbox.resize(both.server.outbox.size() / 2);
  both.deliver();
  EXPECT_EQ(both.client.step(), tls::handshake_step::wants_input);
  const auto ended = both.client.channel.end_of_input();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error(), errc::truncated);
  EXPECT_EQ(ended.error().where(), phase::handshake);
  EXPECT_EQ(client_resources().counters().handshakes_failed, 1U);
}

// Each byte of a record flipped: data before it is handed over, then the same error for ever, and
// an alert for the peer.
TEST_P(tls_end, a_tampered_record_fails_and_says_so) {
  auto both = opened();
  ASSERT_TRUE(both->server.write("good"));
  ASSERT_TRUE(both->server.write("evil"));
  both->server.outbox.back() ^= std::byte{1};
  both->deliver();
  EXPECT_EQ(both->client.read().value(), "good");
  EXPECT_EQ(both->client.channel.state(), channel_state::failed);
  const auto again = both->client.read();
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error(), errc::tls_protocol);
  EXPECT_NE(again.error().detail().find("bad record mac"), std::string::npos)
      << again.error().message();
  // The cause, and what came of it.
  EXPECT_NE(again.error().detail().find("BAD_DECRYPT, DECRYPTION_FAILED_OR_BAD_RECORD_MAC"),
            std::string::npos)
      << again.error().message();
  EXPECT_EQ(both->client.write("x").error(), errc::tls_protocol);
  both->client.flush();
  both->deliver();
  const auto heard = both->server.read();
  ASSERT_FALSE(heard);
  EXPECT_EQ(heard.error(), errc::alert_received);
  EXPECT_FALSE(both->client.channel.has_output());
}

TEST_P(tls_end, an_alert_waits_until_there_is_a_record_buffer) {
  auto both = opened();
  append(both->client.inbox, bytes_of("this is no record, by far"));
  EXPECT_FALSE(both->client.read());
  EXPECT_TRUE(both->client.channel.has_output());
  EXPECT_FALSE(both->client.channel.reusable());
  both->client.close();
  EXPECT_FALSE(both->client.channel.has_output());
  EXPECT_FALSE(both->client.outbox.empty());
  EXPECT_EQ(both->client.channel.state(), channel_state::failed);
}

TEST_P(tls_end, closing_during_the_handshake_says_nothing) {
  session both(client_of_version(), server());
  both.client.step();
  both.client.outbox.clear();
  both.client.close();
  EXPECT_TRUE(both.client.outbox.empty());
  EXPECT_EQ(both.client.channel.state(), channel_state::closed);
}

TEST_P(tls_end, a_full_reader_leaves_the_rest_in_the_input) {
  auto both = opened();
  ASSERT_TRUE(both->server.write("first"));
  ASSERT_TRUE(both->server.write("second"));
  both->deliver();
  const std::size_t before = both->client.inbox.size();
  EXPECT_EQ(both->client.read(3).value(), "fir");
  EXPECT_TRUE(both->client.channel.has_plain());
  EXPECT_FALSE(both->client.channel.reusable());
  EXPECT_EQ(both->client.inbox.size(), before / 2 + (before % 2 == 0 ? 0 : 1));
  EXPECT_EQ(both->client.read(2).value(), "st");
  EXPECT_FALSE(both->client.channel.has_plain());
  EXPECT_EQ(both->client.read(100).value(), "second");
  EXPECT_TRUE(both->client.channel.reusable());
}

INSTANTIATE_TEST_SUITE_P(versions, tls_end,
                         ::testing::Values(tls::version::tls_1_2, tls::version::tls_1_3),
                         [](const auto& info) {
                           return info.param == tls::version::tls_1_2 ? "tls_1_2" : "tls_1_3";
                         });

// An error of one connection leaves no trace in the next, on the same thread.
class tls_error_queue : public tls_test {};

TEST_F(tls_error_queue, a_failed_verification_does_not_bleed_into_a_healthy_connection) {
  session good(client(), server());
  ASSERT_TRUE(good.shake());
  for (int round = 0; round < 3; ++round) {
    const certificate wrong = root().issue({.dns = {"wrong.example.com"}});
    EXPECT_EQ(refused(client(), server(server_options(wrong))), errc::certificate_host_mismatch);
    EXPECT_EQ(ERR_peek_error(), 0U);
    session broken(client(), server());
    ASSERT_TRUE(broken.shake());
    append(broken.client.inbox, bytes_of("garbage garbage"));
    EXPECT_FALSE(broken.client.read());
    EXPECT_EQ(ERR_peek_error(), 0U);
    good.expect_echo();
    EXPECT_TRUE(good.client.channel.reusable());
  }
}

}  // namespace
}  // namespace conpool::test

// What arrives on a connection that nobody uses; and keys that are replaced in time.
#include <tests/tls/tls_fixture.h>

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/span_bio.h>

namespace conpool::test {
namespace {

using tls::channel_state;
using tls::idle_outcome;

class tls_idle : public tls_test {
 protected:
  // Open, with the server's tickets still unread in the client's inbox.
  std::unique_ptr<session> fresh(std::uint8_t tickets = 2) {
    auto options = server_options();
    options.tickets = tickets;
    auto both = std::make_unique<session>(client(), server(std::move(options)));
    EXPECT_TRUE(both->shake());
    return both;
  }
  // Changes the key of an end and says so at once, without data; with `request`, the other end
  // shall change its own, too.
  static void update_key(end& of, bool request) {
    bytes memory(256);
    tls::record_buffer out(memory);
    const tls::io_scope scope(of.channel, {}, &out);
    ASSERT_EQ(SSL_key_update(of.channel.native(),
                             request ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED),
              1);
    SSL_write(of.channel.native(), nullptr, 0);
    ASSERT_FALSE(out.empty());
    append(of.outbox, out.filled());
  }
};

// The tickets of a warmed connection arrive when nobody reads: it stays, and they are kept.
TEST_F(tls_idle, T28_tickets_that_come_while_idle_are_kept) {
  for (const std::uint8_t tickets : {0, 2, 4}) {
    auto both = fresh(tickets);
    client_resources().sessions().purge(both->client.channel.config().profile_id());
    EXPECT_EQ(both->client.inbox.empty(), tickets == 0);
    EXPECT_EQ(both->client.idle(), idle_outcome::keep);
    EXPECT_EQ(client_resources().sessions().count(both->client.channel.config().profile_id(),
                                                  "tls://peer:443"),
              tickets);
    EXPECT_TRUE(both->client.channel.reusable());
    both->expect_echo();
  }
}

TEST_F(tls_idle, T28_a_ticket_cut_at_every_offset_is_kept) {
  const std::size_t size = fresh(1)->client.inbox.size();
  for (std::size_t cut = 1; cut < size; ++cut) {
    auto both = fresh(1);
    const bytes ticket = std::exchange(both->client.inbox, {});
    both->client.inbox.assign(ticket.begin(), ticket.begin() + static_cast<std::ptrdiff_t>(cut));
    ASSERT_EQ(both->client.idle(), idle_outcome::keep);
    ASSERT_FALSE(both->client.channel.reusable()) << "half a record is not clean";
    append(both->client.inbox, std::span(ticket).subspan(cut));
    ASSERT_EQ(both->client.idle(), idle_outcome::keep);
    ASSERT_TRUE(both->client.channel.reusable());
  }
}

TEST_F(tls_idle, T29_a_close_notify_while_idle_is_an_orderly_end) {
  auto both = fresh();
  both->server.close();
  both->deliver();
  EXPECT_EQ(both->client.idle(), idle_outcome::closed);
  EXPECT_EQ(both->client.channel.state(), channel_state::peer_closed);
  both->client.close();
  both->deliver();
  EXPECT_EQ(both->server.read().value(), "");
  EXPECT_EQ(both->server.channel.state(), channel_state::closed);
}

// Nothing has to be written while it is idle: the answer rides in front of the next data.
TEST_F(tls_idle, T30_a_key_update_while_idle_is_answered_before_the_next_data) {
  auto both = fresh(0);
  for (int round = 0; round < 3; ++round) {
    update_key(both->server, true);
    both->deliver();
    ASSERT_EQ(both->client.idle(), idle_outcome::keep);
    EXPECT_FALSE(both->client.channel.has_output());
    EXPECT_TRUE(both->client.channel.reusable());
    EXPECT_EQ(SSL_get_read_sequence(both->client.channel.native()), 0U);  // the new key's
    both->expect_echo();
    EXPECT_EQ(SSL_get_read_sequence(both->server.channel.native()), 1U);  // and the answer's
  }
}

TEST_F(tls_idle, T30_forty_key_updates_are_a_flood) {
  auto both = fresh(0);
  int kept = 0;
  for (int round = 0; round < 40; ++round) {
    update_key(both->server, false);
    both->deliver();
    if (both->client.idle() == idle_outcome::keep) ++kept;
  }
  EXPECT_EQ(kept, 16);
  EXPECT_EQ(both->client.channel.failure(), errc::record_limit);
}

TEST_F(tls_idle, T30_forty_key_updates_in_one_go_are_a_flood) {
  auto both = fresh(0);
  for (int round = 0; round < 40; ++round) update_key(both->server, true);
  both->deliver();
  EXPECT_EQ(both->client.idle(), idle_outcome::refused);
}

TEST_F(tls_idle, unsolicited_data_ends_it) {
  auto both = fresh();
  ASSERT_TRUE(both->server.write("you did not ask"));
  both->deliver();
  EXPECT_EQ(both->client.idle(), idle_outcome::refused);
  EXPECT_EQ(both->client.channel.failure(), errc::unsolicited_data);
}

TEST_F(tls_idle, garbage_and_alerts_end_it) {
  auto both = fresh();
  append(both->client.inbox, bytes_of("garbage that is no record"));
  EXPECT_EQ(both->client.idle(), idle_outcome::refused);
  EXPECT_EQ(both->client.channel.failure(), errc::tls_protocol);
  EXPECT_TRUE(both->client.channel.has_output());
}

TEST_F(tls_idle, sixteen_tickets_are_no_flood) {
  auto both = fresh(16);
  EXPECT_EQ(both->client.idle(), idle_outcome::keep) << both->client.why();
}

TEST_F(tls_idle, a_flood_of_tickets_is_ended_by_the_cap_of_messages) {
  limits.idle_messages_max = 3;
  auto both = fresh(4);
  EXPECT_EQ(both->client.idle(), idle_outcome::refused);
  EXPECT_EQ(both->client.channel.failure(), errc::record_limit);
}

TEST_F(tls_idle, a_flood_of_bytes_is_ended_by_their_cap) {
  limits.idle_bytes_max = 500;
  auto both = fresh(4);
  EXPECT_EQ(both->client.idle(), idle_outcome::refused);
  EXPECT_EQ(both->client.channel.failure(), errc::record_limit);
}

TEST_F(tls_idle, use_begins_a_new_period) {
  limits.idle_messages_max = 4;
  auto both = fresh(4);
  EXPECT_EQ(both->client.idle(), idle_outcome::keep);
  both->expect_echo();
  update_key(both->server, false);
  both->deliver();
  EXPECT_EQ(both->client.idle(), idle_outcome::keep);
}

// Keys are replaced after so many records, in both directions, across which data flows on.
TEST_F(tls_idle, keys_are_replaced_at_the_record_limit) {
  limits.records_per_key = 10;
  auto both = fresh();
  for (int round = 0; round < 100; ++round) {
    ASSERT_TRUE(both->client.write("ping"));
    both->deliver();
    ASSERT_EQ(both->server.read().value(), "ping") << round;
    ASSERT_TRUE(both->server.write("pong"));
    both->deliver();
    ASSERT_EQ(both->client.read().value(), "pong") << round;
    EXPECT_LE(SSL_get_write_sequence(both->client.channel.native()), 10U);
    EXPECT_LE(SSL_get_read_sequence(both->client.channel.native()), 11U);
  }
  EXPECT_GT(client_resources().counters().key_updates, 4U);
  EXPECT_FALSE(both->client.channel.retire_due());
}

// By the writer itself, of a reader that has a larger limit and never asks.
TEST_F(tls_idle, keys_are_replaced_by_one_who_only_writes) {
  limits.records_per_key = 10;
  tls::profile_on_shard& writes = client();
  limits = {};
  auto both = std::make_unique<session>(writes, server());
  ASSERT_TRUE(both->shake());
  for (int round = 0; round < 100; ++round) {
    ASSERT_TRUE(both->client.write("ping"));
    both->deliver();
    ASSERT_EQ(both->server.read().value(), "ping") << round;
    EXPECT_LE(SSL_get_write_sequence(both->client.channel.native()), 10U);
  }
  EXPECT_GT(client_resources().counters().key_updates, 4U);
}

// A reader that never writes asks for new keys, by what waits for a record buffer.
TEST_F(tls_idle, a_reader_asks_for_new_keys) {
  limits.records_per_key = 10;
  auto both = fresh();
  std::uint64_t asked = 0;
  for (int round = 0; round < 60; ++round) {
    // The server's own limit would do it first: its resources have the same one. Look before.
    ASSERT_TRUE(both->server.write("data"));
    both->deliver();
    ASSERT_TRUE(both->client.read());
    if (both->client.channel.has_output()) {
      ++asked;
      both->client.flush();
      both->deliver();
      ASSERT_TRUE(both->server.read());
    }
  }
  EXPECT_GT(asked, 0U);
  both->expect_echo();
}

TEST_F(tls_idle, tls_1_2_is_retired_at_the_record_limit_and_fails_at_twice_that) {
  limits.records_per_key = 10;
  auto options = client_options();
  options.max_version = tls::version::tls_1_2;
  session both(client(std::move(options)), server());
  ASSERT_TRUE(both.shake());
  int written = 0;
  while (!both.client.channel.retire_due() && both.client.write("x")) ++written;
  EXPECT_LE(written, 10);
  EXPECT_FALSE(both.client.channel.reusable());
  while (both.client.write("x")) ++written;
  EXPECT_LE(written, 20);
  EXPECT_EQ(both.client.channel.failure(), errc::record_limit);
}

}  // namespace
}  // namespace conpool::test

// Sessions: used once, never across identities, verified again without the cost of it.
#include <tests/tls/tls_fixture.h>

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace conpool::test {
namespace {

class tls_resumption : public tls_test {
 protected:
  tls::profile_options with_version(tls::version only) {
    auto options = client_options();
    options.min_version = options.max_version = only;
    return options;
  }
  // A connection that is made, used, and read to the last ticket; whether it was resumed.
  bool visit(tls::ssl_config& client_side, tls::ssl_config& server_side,
             const std::string& name = "tls://peer:443") {
    session both(client_side, server_side, name);
    EXPECT_TRUE(both.shake()) << both.client.why() << " / " << both.server.why();
    if (both.open()) both.expect_echo();
    EXPECT_EQ(both.client.channel.resumed(), both.server.channel.resumed());
    return both.client.channel.resumed();
  }
  std::size_t tickets(const tls::ssl_config& of, const std::string& name = "tls://peer:443") {
    return client_resources().sessions().count(of.profile_id(), name);
  }
};

TEST_F(tls_resumption, the_second_connection_is_resumed_in_both_versions) {
  for (const tls::version only : {tls::version::tls_1_2, tls::version::tls_1_3}) {
    tls::profile_on_shard& client_side = client(with_version(only));
    tls::server_profile& server_side = server();
    EXPECT_FALSE(visit(client_side, server_side));
    for (int again = 0; again < 5; ++again) EXPECT_TRUE(visit(client_side, server_side));
  }
  EXPECT_EQ(client_resources().counters().resumed, 10U);
}

// Two connects, one ticket: the first has it, the other makes a full handshake.
TEST_F(tls_resumption, T33_of_two_connects_one_has_the_only_ticket) {
  auto one_ticket = server_options();
  one_ticket.tickets = 1;
  tls::profile_on_shard& client_side = client();
  tls::server_profile& server_side = server(std::move(one_ticket));
  visit(client_side, server_side);
  ASSERT_EQ(tickets(client_side), 1U);
  session first(client_side, server_side);
  session second(client_side, server_side);
  first.client.step();
  EXPECT_EQ(tickets(client_side), 0U);
  second.client.step();
  ASSERT_TRUE(first.shake());
  ASSERT_TRUE(second.shake());
  EXPECT_TRUE(first.client.channel.resumed());
  EXPECT_FALSE(second.client.channel.resumed());
}

TEST_F(tls_resumption, a_session_of_1_2_is_used_again_and_again) {
  tls::profile_on_shard& client_side = client(with_version(tls::version::tls_1_2));
  tls::server_profile& server_side = server();
  visit(client_side, server_side);
  session first(client_side, server_side);
  session second(client_side, server_side);
  first.client.step();
  second.client.step();
  ASSERT_TRUE(first.shake());
  ASSERT_TRUE(second.shake());
  EXPECT_TRUE(first.client.channel.resumed());
  EXPECT_TRUE(second.client.channel.resumed());
}

// Everything that makes a profile keeps its tickets to itself: on one address, each first
// connection under another profile is a full handshake.
TEST_F(tls_resumption, T31_each_profile_keeps_its_tickets_to_itself) {
  const certificate both_names = root().issue({.dns = {host, "other.example.com"}});
  auto options = server_options(both_names);
  options.alpn = {"h2", "http/1.1"};
  options.clients = tls::client_certificates::optional;
  options.client_trust = trust();
  tls::server_profile& server_side = server(std::move(options));
  const certificate alice = root().issue({.common_name = "alice"});
  const certificate bob = root().issue({.common_name = "bob"});

  std::vector<tls::profile_options> all(9, client_options());
  all[1].verify_name = "other.example.com";
  all[2].server_name = "other.example.com";
  all[3].alpn = {"h2"};
  all[4].alpn = {"http/1.1"};
  all[5].certificate_chain_pem = alice.chain_pem();
  all[5].private_key_pem = alice.key_pem;
  all[6].certificate_chain_pem = bob.chain_pem();
  all[6].private_key_pem = bob.key_pem;
  all[7].insecure = true;
  all[8].trust = tls::trust_store::from_pem(root().pem()).value();  // the same roots, reloaded

  std::vector<tls::profile_on_shard*> profiles;
  std::set<std::uint32_t> ids;
  for (const tls::profile_options& one : all) {
    profiles.push_back(&client(one));
    ids.insert(profiles.back()->profile_id());
  }
  EXPECT_EQ(ids.size(), all.size());
  for (tls::profile_on_shard* one : profiles) EXPECT_FALSE(visit(*one, server_side));
  for (tls::profile_on_shard* one : profiles) EXPECT_TRUE(visit(*one, server_side));
  EXPECT_EQ(client_resources().counters().insecure, 2U);
}

// The server sees whoever is asking now, not whose ticket was lying about.
TEST_F(tls_resumption, T31_an_anonymous_client_is_not_seen_as_another) {
  auto options = server_options();
  options.clients = tls::client_certificates::optional;
  options.client_trust = trust();
  tls::server_profile& server_side = server(std::move(options));
  const certificate alice = root().issue({.common_name = "alice"});
  auto as_alice = client_options();
  as_alice.certificate_chain_pem = alice.chain_pem();
  as_alice.private_key_pem = alice.key_pem;
  tls::profile_on_shard& alice_side = client(std::move(as_alice));
  tls::profile_on_shard& anonymous_side = client();
  for (int round = 0; round < 3; ++round) {
    session known(alice_side, server_side);
    ASSERT_TRUE(known.shake());
    known.expect_echo();
    EXPECT_FALSE(known.server.channel.peer_certificate().empty());
    session unknown(anonymous_side, server_side);
    ASSERT_TRUE(unknown.shake());
    unknown.expect_echo();
    EXPECT_TRUE(unknown.server.channel.peer_certificate().empty());
    EXPECT_EQ(known.client.channel.resumed(), round > 0);
    EXPECT_EQ(unknown.client.channel.resumed(), round > 0);
  }
}

TEST_F(tls_resumption, T31_peers_do_not_share_tickets) {
  tls::profile_on_shard& client_side = client();
  tls::server_profile& server_side = server();
  // So many that some share a bucket of the cache, whatever it hashes them to.
  std::vector<std::string> names;
  for (int port = 1; port <= 20; ++port) names.push_back("tls://peer:" + std::to_string(port));
  for (const std::string& one : names) EXPECT_FALSE(visit(client_side, server_side, one)) << one;
  for (const std::string& one : names) EXPECT_TRUE(visit(client_side, server_side, one)) << one;
}

TEST_F(tls_resumption, a_resumed_chain_is_verified_again_from_the_cache) {
  tls::profile_on_shard& client_side = client();
  tls::server_profile& server_side = server();
  visit(client_side, server_side);
  EXPECT_EQ(client_resources().counters().verifications, 1U);
  EXPECT_EQ(client_resources().counters().verifications_saved, 0U);
  EXPECT_TRUE(visit(client_side, server_side));
  EXPECT_EQ(client_resources().counters().verifications, 1U);
  EXPECT_EQ(client_resources().counters().verifications_saved, 1U);
  // What was verified is forgotten: then a resumed handshake verifies in full.
  client_side.verified().clear();
  EXPECT_TRUE(visit(client_side, server_side));
  EXPECT_EQ(client_resources().counters().verifications, 2U);
}

TEST_F(tls_resumption, a_certificate_that_expired_meanwhile_is_refused) {
  const certificate brief = root().issue({.dns = {host}, .until_s = test_epoch_s + 600});
  tls::profile_on_shard& client_side = client();
  tls::server_profile& server_side = server(server_options(brief));
  visit(client_side, server_side);
  EXPECT_TRUE(visit(client_side, server_side));
  clock.advance_s(601);
  ASSERT_GT(tickets(client_side), 0U);
  EXPECT_EQ(refused(client_side, server_side), errc::certificate_expired);
  // Whatever was kept of that identity is gone.
  EXPECT_EQ(tickets(client_side), 0U);
}

TEST_F(tls_resumption, a_certificate_that_expires_on_the_way_is_refused_though_it_is_resumed) {
  for (const tls::version only : {tls::version::tls_1_2, tls::version::tls_1_3}) {
    SCOPED_TRACE(to_string(only));
    clock.set_s(test_epoch_s);
    const certificate brief = root().issue({.dns = {host}, .until_s = test_epoch_s + 600});
    tls::profile_on_shard& client_side = client(with_version(only));
    tls::server_profile& server_side = server(server_options(brief));
    visit(client_side, server_side);
    clock.advance_s(599);
    session both(client_side, server_side);
    both.client.step();
    clock.advance_s(2);
    EXPECT_FALSE(both.shake());
    ASSERT_EQ(both.client.channel.state(), tls::channel_state::failed);
    EXPECT_EQ(both.client.channel.failure(), errc::certificate_expired);
    EXPECT_TRUE(both.client.channel.resumption_failed());
    EXPECT_EQ(tickets(client_side), 0U);
  }
}

// The server has another certificate by now, and still takes the tickets of before.
TEST_F(tls_resumption, a_session_ends_with_its_chain) {
  for (const tls::version only : {tls::version::tls_1_2, tls::version::tls_1_3}) {
    SCOPED_TRACE(to_string(only));
    clock.set_s(test_epoch_s);
    auto brief = server_options(root().issue({.dns = {host}, .until_s = test_epoch_s + 7200}));
    auto lasting = server_options();
    brief.ticket_key.emplace().fill(7);
    lasting.ticket_key.emplace().fill(7);
    tls::profile_on_shard& client_side = client(with_version(only));
    visit(client_side, server(brief));
    // Its verdict is an hour old, and found among those that are known, when this one begins.
    clock.advance_s(3000);
    EXPECT_TRUE(visit(client_side, server(brief)));
    clock.advance_s(4201);
    EXPECT_FALSE(visit(client_side, server(lasting)));
    EXPECT_TRUE(visit(client_side, server(lasting)));
  }
}

TEST_F(tls_resumption, a_session_ends_with_the_revocation_lists_that_its_chain_was_checked_by) {
  auto options = client_options();
  const std::string lists = root().revoke({}, test_epoch_s + 600);
  options.trust = tls::trust_store::from_pem(root().pem(), {.crls_pem = lists}).value();
  tls::profile_on_shard& client_side = client(std::move(options));
  tls::server_profile& server_side = server();
  visit(client_side, server_side);
  ASSERT_EQ(tickets(client_side), 2U);
  clock.advance_s(601);
  const std::string peer = "tls://peer:443";
  end asking(client_side, peer);
  asking.step();
  EXPECT_FALSE(asking.channel.offered_session());
  EXPECT_EQ(tickets(client_side), 0U);
}

TEST_F(tls_resumption, the_verdict_is_forgotten_after_its_lifetime) {
  tls::profile_on_shard& client_side = client();
  tls::server_profile& server_side = server();
  visit(client_side, server_side);
  clock.advance_s(limits.verified_lifetime_max_s + 1);
  visit(client_side, server_side);
  EXPECT_EQ(client_resources().counters().verifications, 2U);
}

TEST_F(tls_resumption, tickets_end_with_the_cap_of_their_lifetime) {
  limits.session_lifetime_max_s = 100;
  tls::profile_on_shard& client_side = client();
  tls::server_profile& server_side = server();
  visit(client_side, server_side);
  clock.advance_s(101);
  EXPECT_FALSE(visit(client_side, server_side));
}

TEST_F(tls_resumption, a_failed_handshake_that_offered_a_ticket_purges_the_key) {
  tls::profile_on_shard& client_side = client();
  tls::server_profile& server_side = server();
  visit(client_side, server_side);
  ASSERT_EQ(tickets(client_side), 2U);
  const std::string peer = "tls://peer:443";
  end broken(client_side, peer);
  broken.step();
  EXPECT_EQ(tickets(client_side), 1U);
  EXPECT_EQ(broken.channel.end_of_input().error(), errc::truncated);
  EXPECT_EQ(tickets(client_side), 0U);
}

// One that was offered in vain, as at a server that ends, resets or ignores whoever offers one.
TEST_F(tls_resumption,
       after_a_failure_none_is_offered_for_a_while_that_grows_until_one_is_resumed) {
  const std::string peer = "tls://peer:443";
  tls::profile_on_shard& client_side = client();
  tls::server_profile& server_side = server();
  const auto offers = [&] {
    end asking(client_side, peer);
    asking.step();
    return asking.channel.offered_session();
  };
  const auto fail_one = [&] {
    end asking(client_side, peer);
    asking.step();
    EXPECT_TRUE(asking.channel.offered_session());
    asking.channel.handshake_given_up();
    EXPECT_TRUE(asking.channel.resumption_failed());
  };
  std::int64_t pause_s = tls::session_cache::pause_min_s;
  visit(client_side, server_side);
  visit(client_side, server_side, "tls://other:443");
  for (int times = 0; times < 8; ++times) {
    SCOPED_TRACE(pause_s);
    fail_one();
    EXPECT_EQ(tickets(client_side), 0U);
    EXPECT_FALSE(visit(client_side, server_side)) << "with new tickets";
    ASSERT_EQ(tickets(client_side), 2U);
    EXPECT_FALSE(offers());
    clock.advance_s(pause_s - 1);
    EXPECT_FALSE(offers());
    clock.advance_s(1);
    pause_s = std::min(2 * pause_s, tls::session_cache::pause_max_s);
  }
  EXPECT_EQ(pause_s, tls::session_cache::pause_max_s);
  EXPECT_TRUE(visit(client_side, server_side, "tls://other:443")) << "its own affair";
  EXPECT_TRUE(visit(client_side, server_side));
  fail_one();
  clock.advance_s(tls::session_cache::pause_min_s);
  visit(client_side, server_side);
  EXPECT_TRUE(offers());
}

TEST_F(tls_resumption, sessions_that_fail_at_once_make_one_pause) {
  const std::string peer = "tls://peer:443";
  tls::profile_on_shard& client_side = client();
  auto many = server_options();
  many.tickets = 4;
  visit(client_side, server(std::move(many)));
  std::vector<std::unique_ptr<end>> asking;
  for (int i = 0; i < 4; ++i) {
    asking.push_back(std::make_unique<end>(client_side, peer));
    asking.back()->step();
    EXPECT_TRUE(asking.back()->channel.offered_session());
  }
  for (const auto& one : asking) one->channel.handshake_given_up();
  clock.advance_s(tls::session_cache::pause_min_s);
  visit(client_side, server());
  end next(client_side, peer);
  next.step();
  EXPECT_TRUE(next.channel.offered_session());
}

TEST_F(tls_resumption, a_clock_that_is_set_back_ends_a_pause) {
  tls::profile_on_shard& client_side = client();
  tls::server_profile& server_side = server();
  const std::string peer = "tls://peer:443";
  visit(client_side, server_side);
  end asking(client_side, peer);
  asking.step();
  asking.channel.handshake_given_up();
  clock.advance_s(-day_s / 2);
  visit(client_side, server_side);
  EXPECT_TRUE(visit(client_side, server_side));
}

TEST_F(tls_resumption, a_server_with_another_key_makes_a_full_handshake) {
  tls::profile_on_shard& client_side = client();
  visit(client_side, server());
  EXPECT_FALSE(visit(client_side, server()));
}

TEST_F(tls_resumption, servers_of_one_ticket_key_take_each_others_tickets) {
  auto options = server_options();
  options.ticket_key.emplace().fill(7);
  tls::profile_on_shard& client_side = client();
  visit(client_side, server(options));
  EXPECT_TRUE(visit(client_side, server(options)));
  // Not under other rules for clients.
  options.clients = tls::client_certificates::optional;
  options.client_trust = trust();
  EXPECT_FALSE(visit(client_side, server(options)));
}

TEST_F(tls_resumption, resumption_can_be_switched_off_on_either_side) {
  auto options = client_options();
  options.resumption = false;
  tls::profile_on_shard& without = client(std::move(options));
  tls::server_profile& server_side = server();
  EXPECT_FALSE(visit(without, server_side));
  EXPECT_FALSE(visit(without, server_side));
  auto none = server_options();
  none.tickets = 0;
  tls::server_profile& no_tickets = server(std::move(none));
  for (const tls::version only : {tls::version::tls_1_2, tls::version::tls_1_3}) {
    tls::profile_on_shard& client_side = client(with_version(only));
    EXPECT_FALSE(visit(client_side, no_tickets, "tls://none:443"));
    EXPECT_FALSE(visit(client_side, no_tickets, "tls://none:443"));
  }
}

TEST_F(tls_resumption, the_cache_keeps_the_newest_of_a_key_and_the_keys_used_last) {
  limits.session_keys_max = 2;
  auto many = server_options();
  many.tickets = 7;
  tls::profile_on_shard& client_side = client();
  tls::server_profile& server_side = server(std::move(many));
  visit(client_side, server_side, "tls://a:1");
  EXPECT_EQ(tickets(client_side, "tls://a:1"), tls::session_cache::sessions_per_key);
  visit(client_side, server_side, "tls://b:1");
  visit(client_side, server_side, "tls://a:1");
  visit(client_side, server_side, "tls://c:1");
  EXPECT_EQ(client_resources().sessions().keys(), 2U);
  EXPECT_EQ(tickets(client_side, "tls://b:1"), 0U);
  EXPECT_GT(tickets(client_side, "tls://a:1"), 0U);
}

TEST_F(tls_resumption, a_profile_that_nobody_holds_takes_its_tickets_along) {
  auto options = client_options();
  options.alpn = {"rotated"};
  auto rotated = tls::profile::make(options).value();
  tls::profile_on_shard* here = client_resources().config_for(rotated).value();
  visit(*here, server());
  EXPECT_EQ(client_resources().sessions().keys(), 1U);
  // Another shard has it as well, and no more use for it either.
  tls::shard_resources other_shard(limits, clock);
  ASSERT_TRUE(other_shard.config_for(rotated));
  client_resources().forget_unused();
  EXPECT_EQ(client_resources().profiles(), 1U);
  const std::uint32_t old_id = rotated->id();
  rotated.reset();
  client_resources().forget_unused();
  EXPECT_EQ(client_resources().sessions().keys(), 0U);
  EXPECT_EQ(client_resources().profiles(), 0U);
  other_shard.forget_unused();
  EXPECT_EQ(other_shard.profiles(), 0U);
  EXPECT_NE(tls::profile::make(options).value()->id(), old_id);
}

}  // namespace
}  // namespace conpool::test

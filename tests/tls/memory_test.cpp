// The channel without memory: each allocation of conpool's in turn fails.
//
// BoringSSL calls back in the middle of its work, and what is thrown there would leave it half
// done: it must come back as an answer.
#include <tests/tls/tls_fixture.h>

#include <gtest/gtest.h>

#include <cstddef>
#include <new>
#include <string>

#include <tests/support/failing_new.h>

namespace conpool::test {
namespace {

class tls_memory : public tls_test {
 protected:
  tls_memory() : client_own_(root().issue({.common_name = "a client", .usage = "clientAuth"})) {
    memory_.resize(tls::record_buffer_size);
  }

  // One call of handshake() in which allocation `number` fails, if there is one.
  enum class outcome { no_failure, went_on, refused, threw };
  outcome step(end& side, std::size_t number) {
    tls::record_buffer out(memory_);
    std::span<const std::byte> input(side.inbox);
    bool threw = false;
    failing_allocation = number;
    try {
      side.channel.handshake(input, out);
    } catch (const std::bad_alloc&) {
      threw = true;
    }
    const bool failed = failing_allocation == 0;
    failing_allocation = 0;
    append(side.outbox, out.filled());
    side.inbox.erase(side.inbox.begin(),
                     side.inbox.end() - static_cast<std::ptrdiff_t>(input.size()));
    if (threw) return outcome::threw;
    if (!failed) return outcome::no_failure;
    return side.channel.state() == tls::channel_state::failed ? outcome::refused : outcome::went_on;
  }

  tls::profile_options options() {
    auto options = client_options();
    options.certificate_chain_pem = client_own_.chain_pem();
    options.private_key_pem = client_own_.key_pem;
    options.resumption = false;
    return options;
  }
  tls::server_profile& demanding() {
    auto options = server_options();
    options.clients = tls::client_certificates::required;
    options.client_trust = trust();
    return server(std::move(options));
  }

  // Both sides take their turns, the client first, as turn 0. How often a channel was refused when
  // the allocations of one turn failed, each in its own handshake.
  std::size_t refusals(int turn) {
    tls::server_profile& serving = demanding();
    std::size_t refused = 0;
    for (std::size_t number = 1; number < 1000; ++number) {
      // A profile of its own: a chain is verified once for each.
      auto own = options();
      own.alpn = {std::to_string(number)};
      tls::profile_on_shard& calling = client(own);
      session both(calling, serving);
      const auto side_of = [&](int at) -> end& {
        return at % 2 == 0 ? both.client : both.server;
      };
      for (int before = 0; before < turn; ++before) {
        side_of(before).step();
        both.deliver();
      }
      end& side = side_of(turn);
      const outcome got = step(side, number);
      if (got == outcome::no_failure) return refused;
      if (got == outcome::refused) {
        EXPECT_EQ(side.channel.failure(), errc::out_of_memory) << side.why();
        EXPECT_EQ(side.channel.failure().where(), phase::handshake);
        EXPECT_EQ(side.channel.failure().subject(), side.channel.peer());
        EXPECT_FALSE(side.outbox.empty()) << "the peer is told";
        ++refused;
      }
      session again(calling, serving);
      EXPECT_TRUE(again.shake()) << number << ": " << again.client.why();
      again.expect_echo();
    }
    ADD_FAILURE() << "allocations without end";
    return refused;
  }

 private:
  certificate client_own_;
  bytes memory_;
};

TEST_F(tls_memory, none_for_a_verification_refuses_the_peer) {
  EXPECT_EQ(refusals(0), 0U) << "there is nothing to verify yet";
  EXPECT_EQ(refusals(1), 0U);
  EXPECT_GT(refusals(2), 0U) << "the server's certificate";
  EXPECT_GT(refusals(3), 0U) << "the client's certificate";
}

TEST_F(tls_memory, none_for_a_ticket_costs_only_the_ticket) {
  tls::profile_on_shard& calling = client();
  tls::server_profile& serving = server();
  std::size_t number = 1;
  for (; number < 100; ++number) {
    const std::string peer = "tls://peer:" + std::to_string(number);
    const std::uint64_t lost = client_resources().counters().tickets_lost;
    session both(calling, serving, peer);
    ASSERT_TRUE(both.shake());
    ASSERT_FALSE(both.client.inbox.empty()) << "the tickets";
    std::byte plain{};
    std::span<const std::byte> input(both.client.inbox);
    failing_allocation = number;
    const auto got = both.client.channel.read(input, std::span(&plain, 1));
    const bool failed = failing_allocation == 0;
    failing_allocation = 0;
    ASSERT_TRUE(got) << got.error().message();
    EXPECT_EQ(*got, 0U);
    both.client.inbox.clear();
    both.expect_echo();
    EXPECT_EQ(client_resources().counters().tickets_lost, lost + (failed ? 1U : 0U));
    EXPECT_EQ(client_resources().sessions().count(calling.profile_id(), peer), failed ? 1U : 2U);
    if (!failed) break;
  }
  EXPECT_GT(number, 1U);
  EXPECT_LT(number, 100U);
}

// Nobody finds a key in memory that is free again.
class tls_keys : public tls_test {
 protected:
  // A line from the middle of the key's text.
  static std::string line_of(const std::string& pem) { return pem.substr(pem.find('\n') + 1, 60); }
  // How often its text was left behind by what `work` has freed; `key_pem` itself stays.
  template <typename Work>
  std::size_t left_behind(const std::string& key_pem, Work work) {
    const std::string line = line_of(key_pem);
    freed_with_text = 0;
    text_looked_for = line;
    work();
    text_looked_for = {};
    return freed_with_text;
  }
  tls::profile_options with_key(const char* protocol) {
    auto options = client_options();
    options.certificate_chain_pem = own_.chain_pem();
    options.private_key_pem = own_.key_pem;
    options.alpn = {protocol};
    return options;
  }
  const certificate own_ = root().issue({.common_name = "a client", .usage = "clientAuth"});
};

TEST_F(tls_keys, are_wiped_with_the_profile) {
  const std::size_t left = left_behind(own_.key_pem, [&] {
    const auto one = tls::profile::make(with_key("one")).value();
    const auto same = tls::profile::make(with_key("one")).value();
    EXPECT_EQ(one, same);
    tls::shard_resources resources(limits, clock);
    EXPECT_TRUE(resources.config_for(one));
  });
  EXPECT_EQ(left, 0U);
}

TEST_F(tls_keys, are_wiped_if_no_profile_is_made) {
  const std::size_t left = left_behind(own_.key_pem, [&] {
    auto options = with_key("two");
    options.min_version = tls::version::tls_1_3;
    options.max_version = tls::version::tls_1_2;
    EXPECT_FALSE(tls::profile::make(std::move(options)));
    options = with_key("three");
    options.certificate_chain_pem = leaf().chain_pem();
    EXPECT_FALSE(tls::profile::make(std::move(options))) << "another key's";
  });
  EXPECT_EQ(left, 0U);
}

// Both may be in one file.
TEST_F(tls_keys, are_wiped_where_the_chain_has_them_too) {
  const std::size_t left = left_behind(own_.key_pem, [&] {
    auto options = with_key("four");
    options.certificate_chain_pem += own_.key_pem;
    EXPECT_TRUE(tls::profile::make(std::move(options)));
  });
  EXPECT_EQ(left, 0U);
}

TEST_F(tls_keys, of_a_server_are_wiped_once_they_are_parsed) {
  std::array<std::uint8_t, 48> ticket_key{};
  ticket_key.fill('k');
  const std::size_t left = left_behind(leaf().key_pem, [&] {
    auto options = server_options();
    options.ticket_key = ticket_key;
    tls::server_profile& made = server(std::move(options));
    EXPECT_TRUE(made.options().private_key_pem.empty());
    EXPECT_FALSE(made.options().ticket_key);
    auto wrong = server_options(own_);
    wrong.private_key_pem = leaf().key_pem;
    EXPECT_FALSE(tls::server_profile::make(server_resources(), std::move(wrong)));
  });
  EXPECT_EQ(left, 0U);
}

}  // namespace
}  // namespace conpool::test

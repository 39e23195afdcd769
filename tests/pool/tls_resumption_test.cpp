// A session that cannot be resumed is nobody's error: one full handshake follows, on a connection
// of its own and within the same deadline, and for a while no session is offered there.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include <conpool/tls/detail/profile_on_shard.h>

#include <tests/pool/tls_fixture.h>
#include <tests/support/relay.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class pool_tls_resumption : public pool_tls {
 protected:
  void TearDown() override {
    if (between_) {
      between_->stop();
      EXPECT_TRUE(until([this] { return between_->stopped(); }));
      settle();
    }
    between_.reset();
    pool_tls::TearDown();
  }
  // All connections go through it, so the server may change behind an address.
  relay& between() {
    if (!between_) between_ = std::make_unique<relay>(home(), peer().at());
    return *between_;
  }
  endpoint through(const tls::profile_options& options) {
    return between().at().with_profile(tls::profile::make(options).value()).value();
  }
  endpoint through() { return through(client_options()); }

  // A request over a connection of its own, in as much virtual time as it takes.
  result<std::string> visit(const endpoint& there) {
    auto asked = start_on(home(), ask(there, "hello"));
    const time_point began = home().now();
    const bool over =
        run_until(home(), [&] { return asked->has_value(); }, [&] { clock().advance(10ms); });
    took_ = home().now() - began;
    if (!over) return fail(error(errc::deadline_exceeded));
    settle();
    backends().clear(there);
    settle();
    return std::move(**asked);
  }
  // The same with the server behind the relay replaced by one of these options.
  void replace_server(tls::server_options options) {
    serve(std::move(options));
    between().lead_to(peer().at());
  }
  static tls::profile_options with_version(tls::version only) {
    auto options = client_options();
    options.min_version = options.max_version = only;
    return options;
  }

  duration took_{};

 private:
  std::unique_ptr<relay> between_;
};

constexpr std::array both_versions{tls::version::tls_1_2, tls::version::tls_1_3};

TEST_F(pool_tls_resumption, a_peer_that_ends_resets_or_ignores_who_offers_a_session_fails_nobody) {
  for (const tls::version only : both_versions) {
    for (const on_session how : {on_session::end, on_session::reset, on_session::say_nothing}) {
      SCOPED_TRACE(std::string(to_string(only)) + ", " + std::to_string(static_cast<int>(how)));
      configure({});
      between().treat_sessions(on_session::pass);
      auto options = with_version(only);
      options.alpn = {"as-" + std::to_string(static_cast<int>(how))};  // a session cache of its own
      const endpoint there = through(options);
      ASSERT_TRUE(visit(there));
      ASSERT_TRUE(visit(there));
      ASSERT_EQ(totals().resumed, 1U);

      between().treat_sessions(how);
      const std::size_t offered = between().sessions_offered();
      for (int i = 0; i < 8; ++i) {
        const auto answer = visit(there);
        EXPECT_TRUE(answer) << answer.error().message();
        EXPECT_LT(took_, 3s) << "connection_timeout";
      }
      EXPECT_EQ(between().sessions_offered(), offered + 1)
          << "it was not told once and for a while";
      EXPECT_EQ(totals().resumptions_failed, 1U);
      EXPECT_EQ(totals().handshakes, 10U);
      EXPECT_EQ(totals().resumed, 1U);
      EXPECT_EQ(totals().handshakes_failed + totals().connect_failures, 0U);
      EXPECT_EQ(totals().connect_timeouts, 0U);
      EXPECT_EQ(totals().created, 10U);
    }
  }
}

TEST_F(pool_tls_resumption, sessions_are_offered_again_after_a_while) {
  const endpoint there = through();
  ASSERT_TRUE(visit(there));
  between().treat_sessions(on_session::end);
  ASSERT_TRUE(visit(there));
  between().treat_sessions(on_session::pass);
  ASSERT_TRUE(visit(there));
  ASSERT_EQ(totals().resumed, 0U);
  wall_clock.advance_s(tls::session_cache::pause_min_s + 1);
  ASSERT_TRUE(visit(there));
  EXPECT_EQ(totals().resumed, 1U);
  ASSERT_TRUE(visit(there));
  EXPECT_EQ(totals().resumed, 2U);
}

// The server has a new certificate, and still takes tickets of before.
TEST_F(pool_tls_resumption, a_session_whose_chain_expired_meanwhile_is_not_offered) {
  auto options = server_options();
  options.ticket_key.emplace().fill(7);
  const certificate brief = root().issue({.ip = {"127.0.0.1"}, .until_s = test_epoch_s + 600});
  auto before = options;
  before.certificate_chain_pem = brief.chain_pem();
  before.private_key_pem = brief.key_pem;
  for (const tls::version only : both_versions) {
    SCOPED_TRACE(to_string(only));
    wall_clock.set_s(test_epoch_s);
    configure({});
    replace_server(before);
    const endpoint there = through(with_version(only));
    ASSERT_TRUE(visit(there));
    ASSERT_TRUE(visit(there));
    ASSERT_EQ(totals().resumed, 1U);

    replace_server(options);
    wall_clock.advance_s(601);
    const std::size_t offered = between().sessions_offered();
    const auto answer = visit(there);
    ASSERT_TRUE(answer) << answer.error().message();
    EXPECT_EQ(between().sessions_offered(), offered);
    EXPECT_EQ(totals().resumptions_failed, 0U);
    ASSERT_TRUE(visit(there));
    EXPECT_EQ(totals().resumed, 2U) << "the new certificate's session is resumed";
  }
}

// Its chain expires on the way: it was offered, and what comes back is refused.
TEST_F(pool_tls_resumption,
       a_session_whose_chain_is_refused_by_now_is_followed_by_a_full_handshake) {
  auto options = server_options();
  options.ticket_key.emplace().fill(7);
  const certificate brief = root().issue({.ip = {"127.0.0.1"}, .until_s = test_epoch_s + 600});
  auto before = options;
  before.certificate_chain_pem = brief.chain_pem();
  before.private_key_pem = brief.key_pem;
  for (const tls::version only : both_versions) {
    SCOPED_TRACE(to_string(only));
    wall_clock.set_s(test_epoch_s);
    configure({});
    replace_server(before);
    auto asking = with_version(only);
    asking.alpn = {"another"};
    const endpoint there = through(asking);
    ASSERT_TRUE(visit(there));
    replace_server(options);
    wall_clock.set_s(test_epoch_s + 599);
    const std::size_t offered = between().sessions_offered();
    auto asked = start_on(home(), ask(there, "hello"));
    ASSERT_TRUE(until([&] { return between().sessions_offered() > offered; }));
    wall_clock.advance_s(2);
    ASSERT_TRUE(until([&] { return asked->has_value(); }));
    EXPECT_TRUE(**asked) << (*asked)->error().message();
    EXPECT_EQ(totals().resumptions_failed, 1U);
    EXPECT_EQ(totals().handshakes, 2U);
    EXPECT_EQ(totals().resumed, 0U);
  }
}

TEST_F(pool_tls_resumption, if_the_full_handshake_fails_too_its_error_says_both) {
  auto options = server_options();
  options.ticket_key.emplace().fill(7);
  replace_server(options);
  const endpoint there = through();
  ASSERT_TRUE(visit(there));
  between().treat_sessions(on_session::end);
  const certificate strange = authority("another root").issue({.ip = {"127.0.0.1"}});
  options.certificate_chain_pem = strange.chain_pem();
  options.private_key_pem = strange.key_pem;
  replace_server(options);
  const auto answer = visit(there);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), errc::certificate_unknown_issuer) << answer.error().message();
  EXPECT_NE(answer.error().detail().find("an earlier session"), std::string_view::npos)
      << answer.error().message();
  EXPECT_EQ(totals().handshakes_failed, 1U);
  EXPECT_EQ(totals().created, 2U);
  EXPECT_EQ(between().accepted(), 3U);
}

TEST_F(pool_tls_resumption, a_certificate_that_a_full_handshake_refuses_is_not_tried_twice) {
  const endpoint there = through();
  ASSERT_TRUE(visit(there));
  const certificate strange = authority("another root").issue({.ip = {"127.0.0.1"}});
  auto options = server_options();  // with another ticket key
  options.certificate_chain_pem = strange.chain_pem();
  options.private_key_pem = strange.key_pem;
  replace_server(options);
  const auto answer = visit(there);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), errc::certificate_unknown_issuer) << answer.error().message();
  EXPECT_EQ(between().accepted(), 2U);
  EXPECT_EQ(totals().resumptions_failed, 0U);
}

TEST_F(pool_tls_resumption, a_peer_that_never_answers_is_given_up_at_the_one_deadline) {
  const endpoint there = through();
  ASSERT_TRUE(visit(there));
  between().treat_sessions(on_session::say_nothing);
  peer().stall(true);
  const auto answer = visit(there);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), errc::handshake_timeout) << answer.error().message();
  EXPECT_GE(took_, 2900ms);
  EXPECT_LE(took_, 3200ms) << "connection_timeout is 3 s";
  EXPECT_EQ(between().accepted(), 3U);
}

// At each turn of an attempt that goes on in full, the pool may close: nothing is opened then.
TEST_F(pool_tls_resumption, a_pool_closed_at_any_turn_of_it_leaves_nothing_behind) {
  for (unsigned turns = 0; turns < 24; ++turns) {
    configure({});
    between().treat_sessions(on_session::pass);
    wall_clock.advance_s(2 * tls::session_cache::pause_max_s);
    const endpoint there = through();
    ASSERT_TRUE(visit(there));
    between().treat_sessions(on_session::end);
    auto asked = start_on(home(), ask(there, "hello"));
    for (unsigned i = 0; i < turns; ++i) home().run_once(duration::zero());
    ASSERT_TRUE(run([this]() -> task<void> {
      auto closed = co_await backends().close();
      EXPECT_TRUE(closed);
    }));
    ASSERT_TRUE(until([&] { return asked->has_value(); }));
    settle();
    EXPECT_EQ(totals().created, totals().closed());
    EXPECT_EQ(totals().connecting + totals().idle, 0U);
  }
}

}  // namespace
}  // namespace conpool::test

// TLS on a connection that began in the clear.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <conpool/conpool.h>

#include <tests/pool/tls_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

const std::string please = "STARTTLS\r\n";
const std::string agreed = "220 go ahead\r\n";

class tls_upgrade : public pool_tls {
 protected:
  void SetUp() override {
    pool_tls::SetUp();
    peer().begin_in_the_clear(please, agreed);
  }
  void TearDown() override {
    silent_.far.reset();
    pool_tls::TearDown();
  }

  // The server of the test, as it begins.
  endpoint in_the_clear() {
    return endpoint::parse("tcp://127.0.0.1:" + std::to_string(peer().at().port())).value();
  }
  static tls::profile_ptr verifying(std::string name = "127.0.0.1") {
    return tls::profile::make(client_options(std::move(name))).value();
  }
  // Asks for TLS, and reads as much of the answer as is wanted.
  task<void> ask_for_tls(connection& over, std::size_t wanted = agreed.size()) {
    auto sent = co_await over.write(please);
    CO_ASSERT_OK(sent);
    std::string answer(wanted, '\0');
    auto read = co_await over.read_exactly(std::span<char>(answer));
    CO_ASSERT_OK(read);
    EXPECT_EQ(answer, agreed.substr(0, wanted));
  }
  // What an upgrade with this profile comes to, behind an answer of which so much was read.
  result<void> upgrade(lease& held, tls::profile_ptr as, std::size_t wanted = agreed.size()) {
    result<void> done = fail(error(errc::invalid_argument));
    EXPECT_TRUE(run([&]() -> task<void> {
      auto asked = ask_for_tls(*held, wanted);
      co_await asked;
      auto work = held->upgrade(as);
      done = co_await work;
    }));
    return done;
  }
  // Begins one with a server that says nothing more.
  void begin_in_silence() {
    silent_ = tcp_pair();
    ASSERT_OK(backends().adopt(in_the_clear(), silent_.near.release()));
    held_.push_back(hold(in_the_clear()));
    start(
        [this]() -> task<void> {
          auto work = held_.front()->upgrade(verifying());
          done_ = co_await work;
        },
        ended_);
    settle();
  }
  result<void> upgrade_at_once(lease& held, tls::profile_ptr as) {
    result<void> done = fail(error(errc::cancelled));
    EXPECT_TRUE(run([&]() -> task<void> {
      auto work = held->upgrade(as);
      done = co_await work;
    }));
    return done;
  }

  socket_pair silent_;
  std::optional<result<void>> done_;
  bool ended_ = false;
};

TEST_F(tls_upgrade, a_lease_asks_in_the_clear_and_goes_on_in_secret) {
  lease held = hold(in_the_clear());
  EXPECT_EQ(held->tls(), nullptr);
  ASSERT_OK(upgrade(held, verifying()));
  ASSERT_NE(held->tls(), nullptr);
  EXPECT_FALSE(held->tls()->insecure());
  EXPECT_TRUE(works(held));
  EXPECT_EQ(totals().handshakes, 1U);
  EXPECT_EQ(totals().handshakes_failed, 0U);
  const std::uint64_t id = held->id();
  held.release();
  settle();
  EXPECT_EQ(totals().idle, 1U);
  lease again = hold(in_the_clear());
  EXPECT_EQ(again->id(), id);
  EXPECT_NE(again->tls(), nullptr) << "it goes back to the pool with its TLS";
  EXPECT_TRUE(works(again));
}

TEST_F(tls_upgrade, a_connection_may_go_back_right_behind_its_handshake) {
  lease held = hold(in_the_clear());
  ASSERT_OK(upgrade(held, verifying()));
  held.release();
  settle();
  EXPECT_EQ(totals().idle, 1U);
  lease again = hold(in_the_clear());
  EXPECT_TRUE(again.reused());
  EXPECT_TRUE(works(again));
}

TEST_F(tls_upgrade, an_idle_connection_is_upgraded_whose_receive_is_posted) {
  peer().begin_in_the_clear("", "");
  warm(in_the_clear());
  settle();
  lease held = hold(in_the_clear());
  ASSERT_TRUE(held->receive_posted());
  ASSERT_OK(upgrade_at_once(held, verifying()));
  EXPECT_TRUE(works(held));
}

// As behind a PROXY line: what a reader has received is the handshake's.
TEST_F(tls_upgrade, a_server_finds_in_its_reader_what_came_behind_the_words_in_the_clear) {
  peer().begin_in_the_clear(please, "");
  lease held = hold(in_the_clear());
  ASSERT_TRUE(run([&]() -> task<void> {
    auto sent = co_await held->write(please);
    EXPECT_OK(sent);
  }));
  ASSERT_OK(upgrade_at_once(held, verifying()));
  EXPECT_TRUE(works(held));
}

TEST_F(tls_upgrade, a_wrong_certificate_fails_it_is_counted_and_the_connection_is_closed) {
  lease held = hold(in_the_clear());
  const auto done = upgrade(held, verifying("another.example.com"));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error(), errc::certificate_host_mismatch) << done.error().message();
  EXPECT_EQ(totals().handshakes, 0U);
  EXPECT_EQ(totals().handshakes_failed, 1U);
  held.release();
  ASSERT_TRUE(until([&] { return closed(close_reason::discarded) == 1; }));
}

// Its certificate is for an address and other names, whether the system trusts its root or not.
TEST_F(tls_upgrade, the_host_is_verified_without_a_profile) {
  lease held =
      hold(endpoint::parse("tcp://localhost:" + std::to_string(peer().at().port())).value());
  const auto done = upgrade(held, nullptr);
  ASSERT_FALSE(done);
  EXPECT_GE(done.error().kind(), errc::trust_unavailable);
  EXPECT_EQ(done.error().where(), phase::handshake);
}

// The bytes may be in the stream, on their way into its posted receive, or in the socket.
TEST_F(tls_upgrade, bytes_in_the_clear_behind_the_answer_refuse_it) {
  peer().begin_in_the_clear(please, agreed + "250 injected\r\n");
  for (const std::size_t wanted : {agreed.size(), agreed.size() - 1}) {
    lease held = hold(in_the_clear());
    const auto done = upgrade(held, verifying(), wanted);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error(), errc::unsolicited_data);
    EXPECT_EQ(held->tls(), nullptr);
    held.release();
  }
  EXPECT_EQ(peer().handshakes(), 0U);
  EXPECT_EQ(totals().handshakes_failed, 0U) << "none was begun";
  ASSERT_TRUE(until([&] { return closed(close_reason::unread_data) == 2; }));
}

TEST_F(tls_upgrade, bytes_that_a_reader_has_received_refuse_it) {
  peer().begin_in_the_clear(please, agreed + "250 injected\r\n");
  lease held = hold(in_the_clear());
  ASSERT_TRUE(run([&]() -> task<void> {
    auto sent = co_await held->write(please);
    CO_ASSERT_OK(sent);
    buffered_reader in(*held);
    auto line = co_await in.read_until("\r\n");
    CO_ASSERT_OK(line);
    EXPECT_EQ(*line, "220 go ahead");
    EXPECT_FALSE(in.buffered().empty());
  }));
  const auto done = upgrade_at_once(held, verifying());
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error(), errc::unsolicited_data);
  EXPECT_EQ(totals().handshakes_failed, 0U) << "none was begun";
  held.release();
  ASSERT_TRUE(until([&] { return closed(close_reason::unread_data) == 1; }));
}

TEST_F(tls_upgrade, bytes_that_wait_in_the_socket_refuse_it) {
  socket_pair pair = tcp_pair();
  ASSERT_OK(backends().adopt(in_the_clear(), pair.near.release()));
  lease held = hold(in_the_clear());
  send_all(pair.far, "220 ");
  ASSERT_TRUE(run([&]() -> task<void> {
    std::array<char, 4> got{};
    auto read = co_await held->read_exactly(std::span<char>(got));
    EXPECT_OK(read);
  }));
  send_all(pair.far, "x");
  const auto done = upgrade_at_once(held, verifying());
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error(), errc::unsolicited_data);
}

TEST_F(tls_upgrade, what_cannot_be_upgraded_says_why_and_stays_what_it_was) {
  peer().begin_in_the_clear("", "");
  lease secured = hold(to());
  EXPECT_EQ(upgrade_at_once(secured, verifying()).error(), errc::invalid_argument);
  EXPECT_TRUE(works(secured));
  lease held = hold(server().at());
  bool ended = false;
  start(
      [&]() -> task<void> {
        std::array<char, 5> got{};
        auto read = co_await held->read_exactly(std::span<char>(got));
        EXPECT_OK(read);
      },
      ended);
  settle();
  EXPECT_EQ(upgrade_at_once(held, verifying()).error(), errc::invalid_argument);
  ASSERT_TRUE(run([&]() -> task<void> {
    auto sent = co_await held->write("hello");
    EXPECT_OK(sent);
  }));
  ASSERT_TRUE(until([&] { return ended; }));
  held.release();
  settle();
  EXPECT_EQ(totals().closed(), 0U);
  EXPECT_EQ(totals().handshakes, 1U);
  EXPECT_EQ(totals().handshakes_failed, 0U);
}

TEST_F(tls_upgrade, a_unix_socket_needs_a_profile_that_names_whom_to_verify) {
  socket_pair pair = unix_pair();
  const endpoint local = endpoint::parse("unix:@conpool-upgrade").value();
  ASSERT_OK(backends().adopt(local, pair.near.release()));
  lease held = hold(local);
  const auto done = upgrade_at_once(held, nullptr);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error(), errc::invalid_argument);
}

TEST_F(tls_upgrade, a_server_that_agrees_and_says_nothing_more_ends_within_connection_timeout) {
  pool_config config;
  config.connection_timeout = 500ms;
  configure(config);
  begin_in_silence();
  pass(400ms);
  EXPECT_FALSE(ended_);
  pass(200ms);
  ASSERT_TRUE(until([&] { return ended_; }));
  EXPECT_EQ(done_->error(), errc::handshake_timeout);
  EXPECT_EQ(totals().handshakes_failed, 1U);
  held_.clear();
  ASSERT_TRUE(until([&] { return totals().closed() == 1; }));
}

TEST_F(tls_upgrade, a_connection_that_is_broken_off_meanwhile_ends_it) {
  begin_in_silence();
  backends().clear_all(leased::break_off);
  ASSERT_TRUE(until([&] { return ended_; }));
  EXPECT_EQ(done_->error(), errc::connection_closed);
  held_.clear();
  ASSERT_TRUE(until([&] { return totals().closed() == 1; }));
}

struct mail {
  struct state {};
  tls::profile_ptr as;
  task<result<void>> on_connect(connection& to, state&) {
    auto sent = co_await to.write(please);
    if (!sent) co_return fail(std::move(sent.error()));
    std::string answer(agreed.size(), '\0');
    auto read = co_await to.read_exactly(std::span<char>(answer));
    if (!read) co_return fail(std::move(read.error()));
    auto secured = co_await to.upgrade(as);
    co_return secured;
  }
};

TEST_F(tls_upgrade, on_connect_may_do_it_and_it_counts_once) {
  configure({}, mail{verifying()});
  lease held = hold(in_the_clear());
  ASSERT_NE(held->tls(), nullptr);
  EXPECT_TRUE(works(held));
  EXPECT_EQ(totals().handshakes, 1U);
  held.release();
  configure({}, mail{verifying("another.example.com")});
  const error why = refused(in_the_clear());
  EXPECT_EQ(why, errc::certificate_host_mismatch);
  EXPECT_TRUE(why.is_permanent());
  EXPECT_EQ(totals().handshakes_failed, 1U);
}

}  // namespace
}  // namespace conpool::test

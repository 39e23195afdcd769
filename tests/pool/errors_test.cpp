// Failures outside the pool: each is an error of its own, with the endpoint, phase and cause.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <vector>

#include <conpool/conpool.h>

#include <conpool/runtime/resolver.h>

#include <tests/support/dns_server.h>
#include <tests/support/pool_fixture.h>
#include <tests/support/silent_port.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class errors : public pool_fixture {
 protected:
  // The error of an acquire of `text`. Time passes, a second a round, until there is one.
  error failure_of(const std::string& text) {
    const endpoint to = endpoint::parse(text).value();
    error got(errc::invalid_argument);
    bool ended = false;
    start(
        [&]() -> task<void> {
          auto one = co_await backends().acquire(to);
          if (!one) got = std::move(one.error());
        },
        ended);
    for (int seconds = 0; seconds < 60 && !ended; ++seconds) {
      settle();
      if (!ended) pass(1s);
    }
    EXPECT_TRUE(ended) << text;
    return got;
  }
};

TEST_F(errors, refused_says_where_how_often_and_why) {
  const silent_port nobody;
  const error got = failure_of(nobody.text());
  EXPECT_EQ(got, errc::connect_failed);
  EXPECT_EQ(got.where(), phase::connect);
  EXPECT_EQ(got.system_errno(), ECONNREFUSED);
  EXPECT_EQ(got.attempts(), 1U);
  EXPECT_TRUE(says(got, nobody.text())) << got.message();
  EXPECT_TRUE(says(got, "ECONNREFUSED")) << got.message();
  EXPECT_EQ(totals().connect_failures, 1U);
  EXPECT_EQ(totals().closed(close_reason::connect_failed), 1U);
}

TEST_F(errors, T17_a_hung_connect_ends_at_the_connection_timeout) {
  silent_port hole(0);
  hole.fill();
  const error got = failure_of(hole.text());
  EXPECT_EQ(got, errc::connect_timeout);
  EXPECT_EQ(got.where(), phase::connect);
  EXPECT_TRUE(says(got, hole.text())) << got.message();
  EXPECT_EQ(totals().connect_timeouts, 1U);
}

TEST_F(errors, T20_the_timeout_error_carries_the_cause_of_a_connect_that_takes_too_long) {
  pool_config config;
  config.acquire_timeout = 1s;
  config.max_connections_per_endpoint = 1;
  configure(config);
  silent_port hole(0);
  hole.fill();
  const error first = failure_of(hole.text());
  EXPECT_EQ(first, errc::acquire_timeout);
  EXPECT_TRUE(says(first, "1 connecting")) << first.message();
  pass(5s);  // the connect fails by itself; later timeouts tell of it
  const error second = failure_of(hole.text());
  EXPECT_EQ(second, errc::acquire_timeout);
  EXPECT_TRUE(says(second, "last failed connect")) << second.message();
}

TEST_F(errors, a_name_that_does_not_exist_fails_in_the_resolve_phase) {
  // RFC 6761: names under .invalid never exist, whatever the resolver says or whether it answers.
  const error got = failure_of("tcp://no-such-host.invalid:80");
  EXPECT_TRUE(got == errc::resolve_failed || got == errc::resolve_timeout) << got.message();
  EXPECT_EQ(got.where(), phase::resolve);
  EXPECT_TRUE(says(got, "no-such-host.invalid")) << got.message();
  EXPECT_EQ(totals().resolve_failures, 1U);
}

TEST_F(errors, too_many_open_files_is_its_own_error_and_passes) {
  const endpoint to = server().at();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit tight = before;
  // The lowest free number is the first that a new socket would get.
  const int next = ::fcntl(0, F_DUPFD_CLOEXEC, 0);
  ASSERT_GE(next, 0);
  ::close(next);
  tight.rlim_cur = static_cast<rlim_t>(next);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  const error got = failure_of(to.text());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(got, errc::too_many_files);
  EXPECT_TRUE(says(got, "EMFILE")) << got.message();
  EXPECT_TRUE(says(got, to.text())) << got.message();
  pass(pool_config{}.connect_backoff_min);
  ASSERT_TRUE(run([&]() -> task<void> {
    auto one = co_await backends().acquire(to);
    CO_ASSERT_OK(one);
  }));
}

TEST_F(errors, T14_a_failed_connect_hits_one_caller_and_the_others_go_on) {
  const silent_port nobody;
  const endpoint to = endpoint::parse(nobody.text()).value();
  pool_config config;
  config.max_connections_per_endpoint = 1;
  config.max_waiters_per_endpoint = 8;
  configure(config);
  int failed = 0;
  scope all(home());
  for (int i = 0; i < 5; ++i) {
    all.spawn([&]() -> task<void> {
      auto one = co_await backends().acquire(to);
      if (!one && one.error() == errc::connect_failed) ++failed;
    });
  }
  // Each failure puts the next connect off.
  for (int i = 0; i < 1'000 && all.running() > 0; ++i) pass(1ms);
  ASSERT_TRUE(run([&]() -> task<void> { co_await all.join(); }));
  EXPECT_EQ(failed, 5);
  EXPECT_EQ(totals().created, 5U) << "one connect for each, none for nobody";
}

TEST_F(errors, a_socket_that_the_kernel_connected_to_itself_is_never_lent) {
  // The kernel walks through its source ports, one for each connect: sooner or later it comes to
  // the port that is asked for, of those it uses for connects the even ones of the default range.
  const endpoint to = endpoint::parse("tcp://127.0.0.1:50000").value();
  pool_config config;
  config.breaker_failures = 0;
  config.connect_backoff_min = config.connect_backoff_max = 1ms;
  configure(config);
  bool to_itself = false;
  const auto try_some = [&]() -> task<void> {
    for (int attempt = 0; attempt < 1'000 && !to_itself; ++attempt) {
      auto one = co_await backends().acquire(to);
      EXPECT_FALSE(one) << "a connection to nobody was lent";
      if (one) break;
      EXPECT_EQ(one.error().system_errno(), ECONNREFUSED) << one.error().message();
      to_itself = says(one.error(), "itself");
      if (one.error().system_errno() != ECONNREFUSED) break;
      clock().advance(1ms);  // the backoff
    }
  };
  for (int round = 0; round < 60 && !to_itself && !HasFailure(); ++round) {
    ASSERT_TRUE(run(try_some));
  }
  EXPECT_TRUE(to_itself) << "the kernel's choice of ports has changed: this test shows nothing";
}

TEST_F(errors, a_build_without_tls_refuses_it_with_a_clear_error) {
  const endpoint tls = endpoint::parse("tls://127.0.0.1:443").value();
  if (dialer::supports(tls)) GTEST_SKIP() << "this build has TLS";
  const error got = failure_of("tls://127.0.0.1:443");
  EXPECT_EQ(got, errc::unsupported);
  EXPECT_TRUE(says(got, "TLS")) << got.message();
}

TEST_F(errors, a_wrong_configuration_is_refused_by_name) {
  pool_config config;
  config.max_connections_per_endpoint = 0;
  const auto made = pool::create(home(), config);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error(), errc::invalid_config);
  EXPECT_EQ(made.error().subject(), "max_connections_per_endpoint");
}

TEST_F(errors, localhost_resolves_and_connects) {
  const std::string at = server().at().text();
  const endpoint to = endpoint::parse("localhost" + at.substr(at.rfind(':'))).value();
  ASSERT_TRUE(run([&]() -> task<void> {
    auto one = co_await backends().acquire(to);
    CO_ASSERT_OK(one);
  }));
}

TEST_F(errors, the_first_address_of_a_name_that_connects_is_used) {
  dns_server names;
  // The server listens on 127.0.0.1 only. Whatever order the resolver settles on, one of the two
  // names has the address that refuses first.
  names.add("one.test", "127.0.0.2");
  names.add("one.test", "127.0.0.1");
  names.add("two.test", "127.0.0.1");
  names.add("two.test", "127.0.0.2");
  names.add("none.test", "127.0.0.2");
  names.add("none.test", "127.0.0.3");
  resolver_options options;
  options.servers = names.address();
  resolver::use(home(), options);
  const std::string at = server().at().text();
  const std::string port = at.substr(at.rfind(':'));
  bool ended = false;
  start(
      [&]() -> task<void> {
        for (const char* name : {"one.test", "two.test"}) {
          const endpoint to = endpoint::parse(name + port).value();
          auto one = co_await backends().acquire(to);
          CO_ASSERT_OK(one);
        }
        const endpoint nowhere = endpoint::parse("none.test" + port).value();
        auto none = co_await backends().acquire(nowhere);
        EXPECT_FALSE(none);
        if (none) co_return;
        EXPECT_EQ(none.error(), errc::connect_failed);
        EXPECT_EQ(none.error().attempts(), 2U);
        EXPECT_TRUE(says(none.error(), "none.test")) << none.error().message();
      },
      ended);
  EXPECT_TRUE(run_until(home(), [&] { return ended; }, [&] { names.serve(); }));
}

TEST_F(errors, a_unix_socket_that_is_not_there_names_its_path) {
  const error got = failure_of("unix:/nowhere/conpool.sock");
  EXPECT_EQ(got, errc::connect_failed);
  EXPECT_EQ(got.system_errno(), ENOENT);
  EXPECT_TRUE(says(got, "unix:/nowhere/conpool.sock")) << got.message();
}

}  // namespace
}  // namespace conpool::test

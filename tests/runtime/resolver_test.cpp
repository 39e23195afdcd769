#include <conpool/runtime/resolver.h>
#include <conpool/runtime/socket.h>

#include <algorithm>
#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <conpool/runtime/clock.h>
#include <conpool/runtime/scope.h>
#include <conpool/runtime/shard.h>
#include <tests/support/descriptors.h>
#include <tests/support/dns_server.h>
#include <tests/support/expect.h>
#include <tests/support/run.h>

namespace conpool {
namespace {

using namespace std::chrono_literals;
using test::dns_server;
using test::open_descriptors;
using answer = result<std::vector<socket_address>>;
using pending = std::shared_ptr<std::optional<answer>>;

std::string text_of(const answer& got) {
  if (!got) return got.error().message();
  std::vector<std::string> texts;
  for (const socket_address& address : *got) texts.push_back(address.to_string());
  std::sort(texts.begin(), texts.end());
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : " ") + text;
  return all;
}

task<answer> ask(resolver& names, std::string host, time_point deadline) {
  auto got = co_await names.resolve(host, 80, deadline);
  co_return got;
}

// A shard in virtual time and a resolver that asks a server of the test's.
class resolvers : public testing::Test {
 protected:
  void SetUp() override {
    shard_options options;
    options.clock = &clock_;
    auto made = shard::create(options);
    ASSERT_OK(made);
    home_ = std::move(*made);
    ASSERT_TRUE(home_->attach());
    use_server(server_.address());
  }

  void TearDown() override {
    home_->stop();
    home_->run();
    names_.reset();
  }

  void use_server(std::string servers, std::chrono::milliseconds attempt_timeout = 0ms,
                  unsigned attempts = 0) {
    names_.reset();
    names_ = std::make_unique<resolver>(
        *home_, resolver_options{std::move(servers), attempt_timeout, attempts});
  }

  pending start(const std::string& host, duration timeout = 5s) {
    return test::start_on(*home_, ask(*names_, host, clock_.now() + timeout));
  }

  // Serves until all have an answer.
  void finish(std::initializer_list<pending> all) {
    const auto done = [&] {
      return std::all_of(all.begin(), all.end(), [](const pending& p) { return p->has_value(); });
    };
    ASSERT_TRUE(test::run_until(*home_, done, [this] { server_.serve(); }));
  }

  answer resolve(const std::string& host, duration timeout = 5s) {
    const pending asked = start(host, timeout);
    finish({asked});
    if (!asked->has_value()) return fail(error(errc::cancelled));  // reported by finish()
    return **asked;
  }

  unsigned questions_for(const std::string& host) {
    return server_.asked(host, dns_server::type_a) + server_.asked(host, dns_server::type_aaaa);
  }

  manual_clock clock_;
  dns_server server_;
  std::unique_ptr<shard> home_;
  std::unique_ptr<resolver> names_;
};

TEST_F(resolvers, answers_numeric_addresses_without_suspending) {
  for (const std::string host : {"127.0.0.1", "::1", "fe80::1%1"}) {
    auto asked = names_->resolve(host, 80, clock_.now());
    ASSERT_TRUE(asked.await_ready()) << host;
    const answer got = asked.await_resume();
    ASSERT_TRUE(got);
    ASSERT_EQ(got->size(), 1U);
    EXPECT_EQ(got->front(), *socket_address::ip(host, 80));
  }
  EXPECT_EQ(names_->statistics().questions, 0U);
}

TEST_F(resolvers, finds_localhost_in_the_hosts_file) {
  const answer got = resolve("localhost");
  ASSERT_OK(got);
  ASSERT_FALSE(got->empty());
  for (const socket_address& address : *got) {
    EXPECT_TRUE(address == *socket_address::ip("127.0.0.1", 80) ||
                address == *socket_address::ip("::1", 80))
        << address.to_string();
  }
  EXPECT_EQ(questions_for("localhost"), 0U);
}

TEST_F(resolvers, the_shards_own_resolver_uses_the_systems_configuration) {
  const auto got = test::run_on(*home_, ask(resolver::of(*home_), "localhost", clock_.now() + 5s));
  ASSERT_TRUE(got);
  ASSERT_TRUE(*got) << got->error().message();
  EXPECT_FALSE((*got)->empty());
}

TEST_F(resolvers, returns_the_addresses_of_both_families_with_the_port) {
  server_.add("both.test", "127.0.0.2");
  server_.add("both.test", "127.0.0.3");
  server_.add("both.test", "::1");
  const answer got = resolve("both.test");
  EXPECT_EQ(text_of(got), "127.0.0.2:80 127.0.0.3:80 [::1]:80");
}

TEST_F(resolvers, returns_the_addresses_of_a_host_with_one_family_only) {
  server_.add("four.test", "127.0.0.4");
  server_.add("six.test", "::1");
  EXPECT_EQ(text_of(resolve("four.test")), "127.0.0.4:80");
  EXPECT_EQ(text_of(resolve("six.test")), "[::1]:80");
}

TEST_F(resolvers, puts_reachable_addresses_first) {
  // RFC 6724, rule 1: a destination that cannot be connected to, like the broadcast address, is
  // last.
  server_.add("sorted.test", "255.255.255.255");
  server_.add("sorted.test", "127.0.0.1");
  const answer got = resolve("sorted.test");
  ASSERT_TRUE(got);
  ASSERT_EQ(got->size(), 2U);
  EXPECT_EQ(got->front().to_string(), "127.0.0.1:80");
}

TEST_F(resolvers, fails_for_a_name_that_does_not_exist) {
  const answer got = resolve("missing.test");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::resolve_failed);
  EXPECT_EQ(got.error().where(), phase::resolve);
  EXPECT_EQ(got.error().subject(), "missing.test");
  EXPECT_TRUE(got.error().detail().starts_with("name not found")) << got.error().message();
}

TEST_F(resolvers, fails_for_a_name_without_addresses) {
  server_.add_empty("empty.test");
  const answer got = resolve("empty.test");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::resolve_failed);
  EXPECT_TRUE(got.error().detail().starts_with("name not found")) << got.error().message();
}

TEST_F(resolvers, fails_when_the_server_refuses_or_fails) {
  use_server(server_.address(), 0ms, 1);
  server_.answer_with(dns_server::rcode_refused);
  EXPECT_EQ(resolve("refused.test").error(), errc::resolve_failed);
  server_.answer_with(dns_server::rcode_server_failure);
  EXPECT_EQ(resolve("broken.test").error(), errc::resolve_failed);
}

TEST_F(resolvers, fails_at_once_when_nothing_listens_at_the_servers_address) {
  const int reserved = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(::bind(reserved, reinterpret_cast<sockaddr*>(&address), length), 0);
  ::getsockname(reserved, reinterpret_cast<sockaddr*>(&address), &length);
  ::close(reserved);
  use_server("127.0.0.1:" + std::to_string(ntohs(address.sin_port)), 0ms, 1);
  // The ICMP error reaches the polled socket; virtual time stands still, so it is no timeout.
  const answer got = resolve("refused.test");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::resolve_failed);
}

TEST_F(resolvers, fails_for_servers_that_are_no_addresses) {
  use_server("not a server");
  const answer got = resolve("any.test");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::resolve_failed);
  EXPECT_FALSE(got.error().detail().empty());
}

TEST_F(resolvers, fails_for_a_host_that_cannot_be_a_name) {
  for (const std::string& host : {std::string(), std::string(256, 'a'), std::string("a\0b", 3)}) {
    const answer got = resolve(host);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error(), errc::invalid_argument);
  }
  // Within the limits, but with a label longer than 63 bytes: c-ares refuses it.
  EXPECT_EQ(resolve(std::string(200, 'a')).error(), errc::resolve_failed);
  EXPECT_EQ(questions_for(std::string(200, 'a')), 0U);
}

TEST_F(resolvers, reports_that_the_process_is_out_of_descriptors) {
  const int lowest_free = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(lowest_free, 0);
  ::close(lowest_free);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(lowest_free);
  // The configuration has been read before, so the first thing to fail is the socket.
  server_.add("first.test", "127.0.0.1");
  ASSERT_TRUE(resolve("first.test"));
  test::settle(*home_);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const answer got = resolve("other.test");
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::too_many_files) << got.error().message();
}

TEST_F(resolvers, times_out_at_the_deadline_of_the_shards_clock) {
  const pending asked = start("silent.test", 2s);
  test::settle(*home_);
  clock_.advance(1999ms);
  test::settle(*home_);
  EXPECT_FALSE(asked->has_value());
  clock_.advance(1ms);
  test::settle(*home_);
  ASSERT_TRUE(asked->has_value());
  EXPECT_EQ((**asked).error(), errc::resolve_timeout);
  EXPECT_EQ((**asked).error().subject(), "silent.test");
}

TEST_F(resolvers, times_out_when_the_servers_do_not_answer) {
  // c-ares measures its attempts with a clock of its own: here one of a millisecond.
  use_server(server_.address(), 1ms, 1);
  const pending asked = start("silent.test", 1h);
  const auto done = [&] {
    return asked->has_value();
  };
  ASSERT_TRUE(test::run_until(*home_, done, [this] { clock_.advance(1ms); }));
  EXPECT_EQ((**asked).error(), errc::resolve_timeout);
  EXPECT_LT(clock_.now(), manual_clock().now() + 1h);
}

TEST_F(resolvers, asks_again_when_the_server_does_not_answer) {
  server_.add("lost.test", "127.0.0.5");
  use_server(server_.address(), 1ms, 30);
  const pending asked = start("lost.test", 1h);
  test::settle(*home_);
  // The first question of each family stays in the server's socket until more have come.
  unsigned turns = 0;
  const auto done = [&] {
    return asked->has_value();
  };
  ASSERT_TRUE(test::run_until(*home_, done, [&] {
    clock_.advance(1ms);
    if (++turns >= 20) server_.serve();
  }));
  EXPECT_EQ(text_of(**asked), "127.0.0.5:80");
  EXPECT_GT(questions_for("lost.test"), 2U);
}

TEST_F(resolvers, keeps_an_answer_that_came_after_its_waiter_gave_up) {
  server_.add("late.test", "127.0.0.6");
  const pending asked = start("late.test", 1s);
  test::settle(*home_);
  clock_.advance(1s);
  test::settle(*home_);
  ASSERT_TRUE(asked->has_value());
  EXPECT_EQ((**asked).error(), errc::resolve_timeout);
  EXPECT_GT(server_.serve(), 0U);
  test::settle(*home_);
  EXPECT_EQ(text_of(resolve("late.test")), "127.0.0.6:80");
  EXPECT_EQ(names_->statistics().questions, 1U);
  EXPECT_EQ(names_->statistics().cache_hits, 1U);
}

TEST_F(resolvers, comes_back_over_tcp_for_a_truncated_answer) {
  server_.truncate();
  for (int i = 1; i <= 100; ++i) server_.add("long.test", "127.0.1." + std::to_string(i));
  const answer got = resolve("long.test");
  ASSERT_OK(got);
  EXPECT_EQ(got->size(), 100U);
  EXPECT_EQ(server_.asked_over_tcp(), 2U);
}

TEST_F(resolvers, asks_once_for_all_who_wait_for_the_same_name) {
  server_.add("shared.test", "127.0.0.7");
  const pending first = start("shared.test");
  const pending second = start("Shared.TEST");
  test::settle(*home_);
  const pending third = start("shared.test");
  finish({first, second, third});
  for (const pending& each : {first, second, third}) EXPECT_EQ(text_of(**each), "127.0.0.7:80");
  EXPECT_EQ(names_->statistics().questions, 1U);
  EXPECT_EQ(names_->statistics().coalesced, 2U);
  EXPECT_EQ(server_.asked("shared.test", dns_server::type_a), 1U);
  EXPECT_EQ(server_.asked("shared.test", dns_server::type_aaaa), 1U);
}

TEST_F(resolvers, tells_all_who_wait_that_it_failed) {
  const pending first = start("missing.test");
  const pending second = start("missing.test");
  finish({first, second});
  EXPECT_EQ((**first).error(), errc::resolve_failed);
  EXPECT_EQ((**second).error(), errc::resolve_failed);
  // Failures are not kept: the next one asks again.
  server_.add("missing.test", "127.0.0.8");
  EXPECT_EQ(text_of(resolve("missing.test")), "127.0.0.8:80");
}

task<void> ask_in_scope(resolver& names, pending into, time_point deadline) {
  auto got = co_await names.resolve("shared.test", 80, deadline);
  into->emplace(std::move(got));
}

TEST_F(resolvers, a_waiter_that_is_cancelled_leaves_the_others) {
  server_.add("shared.test", "127.0.0.9");
  scope doomed(*home_);
  const auto cancelled = std::make_shared<std::optional<answer>>();
  doomed.spawn(ask_in_scope, std::ref(*names_), cancelled, clock_.now() + 5s);
  const pending stays = start("shared.test");
  const pending impatient = start("shared.test", 1s);
  test::settle(*home_);
  doomed.cancel();
  test::settle(*home_);
  ASSERT_TRUE(cancelled->has_value());
  EXPECT_EQ((**cancelled).error(), errc::cancelled);
  EXPECT_EQ((**cancelled).error().subject(), "shared.test");
  clock_.advance(1s);
  test::settle(*home_);
  ASSERT_TRUE(impatient->has_value());
  EXPECT_EQ((**impatient).error(), errc::resolve_timeout);
  EXPECT_FALSE(stays->has_value());
  finish({stays});
  EXPECT_EQ(text_of(**stays), "127.0.0.9:80");
  EXPECT_EQ(names_->statistics().questions, 1U);
}

TEST_F(resolvers, a_cancel_that_comes_with_the_answer_changes_nothing) {
  server_.add("shared.test", "127.0.0.10");
  scope doomed(*home_);
  const auto got = std::make_shared<std::optional<answer>>();
  doomed.spawn(ask_in_scope, std::ref(*names_), got, clock_.now() + 5s);
  const auto answered = [&] {
    return server_.serve() > 0;
  };
  ASSERT_TRUE(test::run_until(*home_, answered));
  doomed.cancel();  // the answer lies in the socket, and the waiter has left
  test::settle(*home_);
  ASSERT_TRUE(got->has_value());
  EXPECT_EQ((**got).error(), errc::cancelled);
  EXPECT_EQ(text_of(resolve("shared.test")), "127.0.0.10:80");
}

TEST_F(resolvers, does_not_ask_in_a_cancelled_context) {
  scope doomed(*home_);
  doomed.cancel();
  const auto got = std::make_shared<std::optional<answer>>();
  doomed.spawn(ask_in_scope, std::ref(*names_), got, clock_.now() + 5s);
  test::settle(*home_);
  ASSERT_TRUE(got->has_value());
  EXPECT_EQ((**got).error(), errc::cancelled);
  EXPECT_EQ(names_->statistics().questions, 0U);
}

TEST_F(resolvers, caches_for_the_time_to_live) {
  server_.add("cached.test", "127.0.0.11", 60);
  server_.add("cached.test", "::1", 30);
  ASSERT_TRUE(resolve("cached.test"));
  clock_.advance(29s);
  EXPECT_EQ(text_of(resolve("CACHED.test")), "127.0.0.11:80 [::1]:80");
  EXPECT_EQ(names_->statistics().questions, 1U);
  clock_.advance(1s);
  ASSERT_TRUE(resolve("cached.test"));
  EXPECT_EQ(names_->statistics().questions, 2U);
}

TEST_F(resolvers, caches_for_at_least_a_second_and_at_most_five_minutes) {
  server_.add("brief.test", "127.0.0.12", 0);
  server_.add("long.test", "127.0.0.13", 86400);
  ASSERT_TRUE(resolve("brief.test"));
  ASSERT_TRUE(resolve("long.test"));
  ASSERT_TRUE(resolve("brief.test"));
  EXPECT_EQ(names_->statistics().questions, 2U);
  clock_.advance(1s);
  ASSERT_TRUE(resolve("brief.test"));
  EXPECT_EQ(names_->statistics().questions, 3U);
  clock_.advance(298s);
  ASSERT_TRUE(resolve("long.test"));
  EXPECT_EQ(names_->statistics().questions, 3U);
  clock_.advance(1s);
  ASSERT_TRUE(resolve("long.test"));
  EXPECT_EQ(names_->statistics().questions, 4U);
}

TEST_F(resolvers, reads_the_hosts_file_again_after_a_second) {
  ASSERT_TRUE(resolve("localhost"));
  ASSERT_TRUE(resolve("localhost"));
  EXPECT_EQ(names_->statistics().questions, 1U);
  clock_.advance(1s);
  ASSERT_TRUE(resolve("localhost"));
  EXPECT_EQ(names_->statistics().questions, 2U);
}

task<void> ask_from_the_cache(resolver& names, int times, int& done, time_point deadline) {
  for (; done < times; ++done) {
    const auto got = co_await names.resolve("cached.test", 80, deadline);
    EXPECT_TRUE(got);
  }
}

TEST_F(resolvers, answers_from_the_cache_let_the_others_run_now_and_then) {
  server_.add("cached.test", "127.0.0.14");
  ASSERT_TRUE(resolve("cached.test"));
  int done = 0;
  home_->spawn(ask_from_the_cache, std::ref(*names_), 1000, std::ref(done), clock_.now() + 5s);
  int seen = -1;
  const auto look = [](int& progress, int& into) -> task<void> {
    into = progress;
    co_return;
  };
  home_->spawn(look, std::ref(done), std::ref(seen));
  ASSERT_TRUE(test::run_until(*home_, [&] { return done == 1000; }));
  EXPECT_GT(seen, 0);
  EXPECT_LT(seen, 1000);
}

TEST_F(resolvers, closes_its_sockets_when_nothing_is_asked_any_more) {
  server_.add("closed.test", "127.0.0.15");
  ASSERT_TRUE(resolve("localhost"));  // c-ares is set up
  const std::size_t before = open_descriptors();
  const std::size_t idle = home_->ring().in_flight();
  ASSERT_TRUE(resolve("closed.test"));
  test::settle(*home_);
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(home_->ring().in_flight(), idle);
  EXPECT_TRUE(home_->timers().empty());
}

// A coroutine without a context: what stops it is the resolver, not its scope.
struct free_running {
  struct promise_type {
    free_running get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

free_running ask_detached(resolver& names, std::string host, time_point deadline, pending into) {
  auto got = co_await names.resolve(host, 80, deadline);
  into->emplace(std::move(got));
}

TEST_F(resolvers, a_stop_fails_the_look_ups_in_flight_and_leaves_nothing_open) {
  ASSERT_TRUE(resolve("localhost"));
  const std::size_t before = open_descriptors();
  const pending in_a_task = start("silent.test");
  const auto without_context = std::make_shared<std::optional<answer>>();
  ask_detached(*names_, "silent.test", clock_.now() + 5s, without_context);
  const pending abandoned = start("abandoned.test", 1s);
  test::settle(*home_);
  clock_.advance(1s);
  test::settle(*home_);
  ASSERT_TRUE(abandoned->has_value());
  EXPECT_GT(open_descriptors(), before);

  home_->stop();
  const auto stopped = [this] {
    return home_->stopped();
  };
  ASSERT_TRUE(test::run_until(*home_, stopped));
  ASSERT_TRUE(in_a_task->has_value());
  EXPECT_EQ((**in_a_task).error(), errc::shard_stopped);
  ASSERT_TRUE(without_context->has_value());
  EXPECT_EQ((**without_context).error(), errc::shard_stopped);
  EXPECT_EQ((**without_context).error().subject(), "silent.test");
  home_->run();
  EXPECT_EQ(home_->ring().in_flight(), 0U);
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(resolvers, half_an_answer_at_a_stop_is_none) {
  server_.add("half.test", "127.0.0.16");
  const auto got = std::make_shared<std::optional<answer>>();
  ask_detached(*names_, "half.test", clock_.now() + 5s, got);
  test::settle(*home_);
  ASSERT_EQ(server_.serve_one(), 1U);
  test::settle(*home_);
  EXPECT_FALSE(got->has_value());
  home_->stop();
  home_->run();
  ASSERT_TRUE(got->has_value());
  EXPECT_EQ((**got).error(), errc::shard_stopped);
}

TEST_F(resolvers, asks_nothing_after_the_stop) {
  home_->stop();
  const auto got = std::make_shared<std::optional<answer>>();
  ask_detached(*names_, "any.test", clock_.now() + 5s, got);
  ASSERT_TRUE(got->has_value());
  EXPECT_EQ((**got).error(), errc::shard_stopped);
  EXPECT_EQ(names_->statistics().questions, 0U);
}

TEST(resolver_end, dies_with_a_shard_that_was_never_turned) {
  const std::size_t before = open_descriptors();
  {
    auto home = shard::create();
    ASSERT_OK(home);
    EXPECT_EQ(resolver::of(**home).statistics().questions, 0U);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(resolver_end, dies_with_a_shard_that_is_destroyed_while_it_asks) {
  dns_server silent;
  const std::size_t before = open_descriptors();
  const auto got = std::make_shared<std::optional<answer>>();
  {
    auto home = shard::create();
    ASSERT_OK(home);
    ASSERT_TRUE((*home)->attach());
    resolver names(**home, {silent.address()});
    ask_detached(names, "silent.test", (*home)->now() + 1h, got);
    test::settle(**home);
    EXPECT_FALSE(got->has_value());
    (*home)->stop();
    (*home)->run();
  }
  ASSERT_TRUE(got->has_value());
  EXPECT_EQ((**got).error(), errc::shard_stopped);
  EXPECT_EQ(open_descriptors(), before);
}

TEST(resolver_cache, drops_the_name_that_was_stored_longest_ago_when_it_is_full) {
  detail::resolver_cache cache;
  const time_point now{1h};
  const std::vector<socket_address> addresses{*socket_address::ip("127.0.0.1", 0)};
  const auto name = [](std::size_t i) {
    return "host" + std::to_string(i);
  };
  for (std::size_t i = 0; i < detail::resolver_cache::names_max; ++i) {
    cache.store(name(i), addresses, now + 1s);
  }
  EXPECT_NE(cache.find(name(0), now), nullptr);
  cache.store(name(0), addresses, now + 1s);  // stored again: now the newest
  cache.store("one more", addresses, now + 1s);
  EXPECT_EQ(cache.size(), detail::resolver_cache::names_max);
  EXPECT_EQ(cache.find(name(1), now), nullptr);
  EXPECT_NE(cache.find(name(0), now), nullptr);
  EXPECT_NE(cache.find("one more", now), nullptr);
}

TEST(resolver_cache, forgets_what_has_expired) {
  detail::resolver_cache cache;
  const time_point now{1h};
  cache.store("host", {*socket_address::ip("127.0.0.1", 0)}, now + 1s);
  EXPECT_NE(cache.find("host", now + 1s - 1ns), nullptr);
  EXPECT_EQ(cache.find("host", now + 1s), nullptr);
  EXPECT_EQ(cache.size(), 0U);
}

}  // namespace
}  // namespace conpool

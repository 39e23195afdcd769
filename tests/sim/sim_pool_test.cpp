// The pool on the simulated network: its ordinary life, and that life with everything going wrong
// now and then.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <conpool/pool/pool.h>

#include <tests/sim/pool_fixture.h>
#include <tests/sim/sim_fixture.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

std::uint64_t accounted(const pool_counts& sum) {
  return sum.connecting + sum.idle + sum.active + sum.closing + sum.closed();
}

// One exchange over the pool: the error, if there was one. The answer is the request's own; a stray
// byte among it was on its way already when the connection was lent, which no pool can know.
task<std::optional<error>> exchange(pool& from, endpoint to, std::string request) {
  auto lent = co_await from.acquire(to);
  if (!lent) co_return std::move(lent.error());
  auto sent = co_await (*lent)->write(request);
  if (!sent) co_return std::move(sent.error());
  std::string got(request.size(), '\0');
  auto read = co_await (*lent)->read_exactly(std::span<char>(got));
  if (!read) co_return std::move(read.error());
  const auto strays = std::erase(got, '!');
  EXPECT_TRUE(request.starts_with(got)) << got << " on descriptor " << (*lent)->fd();
  if (strays == 0) co_return std::nullopt;
  lent->discard();  // the answer's last bytes may still be on their way
  co_return error(errc::io_failed, phase::read);
}

class sim_pool : public sim_fixture {
 protected:
  void TearDown() override {
    if (backends_) close();
    backends_.reset();
    sim_fixture::TearDown();
  }

  void configure(const pool_config& config) {
    auto made = pool::create(home(), config);
    ASSERT_TRUE(made) << made.error().message();
    backends_ = std::make_unique<pool>(std::move(*made));
  }
  void close() {
    ASSERT_TRUE(here().run([this]() -> task<void> {
      auto closed = co_await backends_->close();
      EXPECT_TRUE(closed);
    }));
    EXPECT_EQ(totals().created, totals().closed());
  }
  pool_stats totals() { return backends_->totals(); }
  // The kind of error of one exchange.
  std::optional<errc> ask(const server& to) {
    std::optional<errc> why;
    EXPECT_TRUE(here().run([this, &to, &why]() -> task<void> {
      auto failed = co_await exchange(*backends_, at(to), "ping");
      if (failed) why = failed->kind();
    }));
    return why;
  }

  std::unique_ptr<pool> backends_;
};

TEST_F(sim_pool, a_connection_is_opened_once_and_used_again) {
  const server& peer = net().add_server("10.0.0.1", 1000);
  configure({});
  for (unsigned i = 0; i < 10; ++i) EXPECT_EQ(ask(peer), std::nullopt);
  EXPECT_EQ(totals().created, 1U);
  EXPECT_EQ(totals().hits, 9U);
  EXPECT_EQ(peer.counts().accepted, 1U);
}

TEST_F(sim_pool, a_server_that_closes_while_idle_is_noticed_and_dialed_again) {
  server& peer = net().add_server("10.0.0.1", 1000);
  configure({});
  EXPECT_EQ(ask(peer), std::nullopt);
  peer.leave_all(server::farewell::close);
  here().pass(10ms);
  EXPECT_EQ(totals().idle, 0U);
  EXPECT_EQ(totals().closed(close_reason::peer_closed), 1U);
  EXPECT_EQ(ask(peer), std::nullopt);
  EXPECT_EQ(totals().created, 2U);
}

TEST_F(sim_pool, a_server_that_resets_or_sends_while_idle_is_noticed) {
  server& peer = net().add_server("10.0.0.1", 1000);
  configure({});
  EXPECT_EQ(ask(peer), std::nullopt);
  peer.leave_all(server::farewell::reset);
  here().pass(10ms);
  EXPECT_EQ(totals().closed(close_reason::peer_reset), 1U);
  EXPECT_EQ(ask(peer), std::nullopt);
  peer.send_to_all("surprise");
  here().pass(10ms);
  EXPECT_EQ(totals().closed(close_reason::unexpected_data), 1U);
}

TEST_F(sim_pool, a_fin_that_arrives_while_the_turn_runs_is_seen_by_the_acquire) {
  server& peer = net().add_server("10.0.0.1", 1000);
  configure({});
  EXPECT_EQ(ask(peer), std::nullopt);
  ASSERT_TRUE(here().run([&]() -> task<void> {
    peer.leave_all(server::farewell::close);
    net().advance(net().now() + 10ms);  // it arrives: the completion is pending, not harvested
    EXPECT_TRUE(home().ring().completions_pending());
    auto lent = co_await backends_->acquire(at(peer));
    CO_CHECK(lent);
    EXPECT_FALSE(lent->reused());
  }));
}

TEST_F(sim_pool, a_refused_connect_is_told) {
  const server& peer = net().add_server("10.0.0.1", 1000, {.refuse = 1});
  configure({});
  EXPECT_EQ(ask(peer), errc::connect_failed);
  EXPECT_EQ(totals().connect_failures, 1U);
}

TEST_F(sim_pool, a_black_hole_takes_the_connection_timeout) {
  const server& peer = net().add_server("10.0.0.1", 1000, {.black_hole = 1});
  pool_config config;
  config.connection_timeout = 700ms;
  configure(config);
  const time_point before = here().now();
  EXPECT_EQ(ask(peer), errc::connect_timeout);
  EXPECT_GE(here().now() - before, 700ms);
  EXPECT_LE(here().now() - before, 800ms);
}

TEST_F(sim_pool, an_acquire_ends_at_its_timeout_while_all_are_lent) {
  const server& peer = net().add_server("10.0.0.1", 1000);
  pool_config config;
  config.max_connections_per_endpoint = 1;
  config.acquire_timeout = 2s;
  configure(config);
  ASSERT_TRUE(here().run([&]() -> task<void> {
    auto held = co_await backends_->acquire(at(peer));
    CO_CHECK(held);
    const time_point before = here().now();
    auto refused = co_await backends_->acquire(at(peer));
    EXPECT_FALSE(refused);
    if (!refused) {
      EXPECT_EQ(refused.error(), errc::acquire_timeout);
    }
    EXPECT_GE(here().now() - before, 2s);
  }));
}

TEST_F(sim_pool, an_idle_connection_is_closed_after_max_idle_time) {
  const server& peer = net().add_server("10.0.0.1", 1000);
  pool_config config;
  config.max_idle_time = 10s;
  configure(config);
  EXPECT_EQ(ask(peer), std::nullopt);
  here().pass(9s);
  EXPECT_EQ(totals().idle, 1U);
  here().pass(3s);
  EXPECT_EQ(totals().idle, 0U);
  EXPECT_EQ(totals().closed(close_reason::idle_timeout), 1U);
  EXPECT_EQ(peer.counts().open, 0U);
}

TEST_F(sim_pool, a_descriptor_connected_elsewhere_is_adopted) {
  server& peer = net().add_server("10.0.0.1", 1000);
  configure({});
  const int fd = net().sockets().open_connected(peer);
  ASSERT_TRUE(backends_->adopt(at(peer), fd));
  EXPECT_EQ(totals().idle, 1U);
  EXPECT_EQ(ask(peer), std::nullopt);
  EXPECT_EQ(totals().hits, 1U);
}

TEST_F(sim_pool, a_close_waits_for_all_endpoints_though_some_have_nothing_in_flight) {
  const server& one = net().add_server("10.0.0.1", 1000);
  const server& other = net().add_server("10.0.0.2", 1000, {.black_hole = 1});
  net().faults().cancel_is_late = 1;
  pool_config config;
  config.validation = validation_policy::probe;  // nothing is posted on idle connections
  configure(config);
  EXPECT_EQ(ask(one), std::nullopt);
  const std::shared_ptr<bool> failed = here().start([&]() -> task<void> {
    auto lent = co_await backends_->acquire(at(other));
    EXPECT_FALSE(lent);
  });
  here().pass(10ms);
  EXPECT_EQ(totals().connecting, 1U);
  ASSERT_TRUE(here().run([&]() -> task<void> {
    auto closed = co_await backends_->close();
    EXPECT_TRUE(closed);
    EXPECT_EQ(totals().connecting + totals().closing, 0U);
  }));
  EXPECT_TRUE(*failed);
}

// Otherwise the rest of the answer would be the next borrower's.
TEST_F(sim_pool, a_connection_whose_read_was_ended_by_the_kernel_is_not_lent_again) {
  server& peer = net().add_server("10.0.0.1", 1000, {.in_pieces = 0});
  configure({});
  ASSERT_TRUE(here().run([&]() -> task<void> {
    auto lent = co_await backends_->acquire(at(peer));
    CO_CHECK(lent);
    auto sent = co_await (*lent)->write("request");
    CO_CHECK(sent);
    std::array<char, 4> first{};
    auto some = co_await (*lent)->read_exactly(std::span<char>(first));
    CO_CHECK(some);
    net().faults().ended_by_itself = 1;
    std::array<char, 40> rest{};
    auto read = co_await (*lent)->read_exactly(std::span<char>(rest));
    EXPECT_FALSE(read);
    net().faults().ended_by_itself = 0;
  }));
  here().pass(10ms);
  EXPECT_EQ(totals().idle, 0U);
  EXPECT_EQ(totals().closed(), 1U);
}

// --- with everything going wrong now and then

struct outcome {
  std::uint64_t trace = 0;
  unsigned good = 0;
  unsigned failed = 0;
};

server_plan moody() {
  server_plan plan;
  plan.refuse = 0.05;
  plan.black_hole = 0.01;
  plan.close_at_accept = 0.03;
  plan.think_most = 2ms;
  plan.swallow = 0.005;
  plan.cut_off = 0.01;
  plan.close_after_reply = 0.02;
  plan.reset_after_reply = 0.02;
  plan.idle_most = 50ms;
  plan.close_idle = 0.1;
  plan.reset_idle = 0.05;
  plan.stray_idle = 0.05;
  plan.forget_idle = 0.02;
  plan.up_most = 2s;
  plan.down_most = 200ms;
  return plan;
}

void make_trouble(fault_plan& faults) {
  faults.call_most = 2us;
  faults.wait_cut_short = 0.05;
  faults.submits_less = 0.02;
  faults.no_buffer = 0.02;
  faults.no_descriptor = 0.01;
  faults.ended_by_itself = 0.003;
  faults.interrupted = 0.003;
  faults.send_fails = 0.005;
}

task<void> client(world& here, pool& backends, unsigned number, outcome& sum) {
  random_source own(here.net().seed() * 1000 + number);
  for (unsigned i = 0; i < 30; ++i) {
    const server& to = here.net().server_at(own.below(here.net().servers()));
    std::string request = std::to_string(number) + "." + std::to_string(i) + "/";
    request.resize(4 + own.below(400), static_cast<char>('a' + number));
    auto failed = co_await exchange(backends, at(to), std::move(request));
    failed ? ++sum.failed : ++sum.good;
    const duration pause = own.up_to(20ms);
    auto rested = co_await here.home().sleep_for(pause);
    if (!rested) co_return;
  }
}

pool_config draw_config(std::uint64_t seed) {
  random_source own(seed);
  pool_config config;
  config.max_connections_per_endpoint = 3;
  config.acquire_timeout = 500ms;
  config.connection_timeout = 300ms;
  config.read_timeout = 200ms;
  if (own.below(3) == 0) config.validation = validation_policy::probe;
  if (own.below(3) == 0) config.max_connections = 5;
  if (own.below(3) == 0) config.min_idle_per_endpoint = 1;
  if (own.below(3) == 0) config.max_connection_uses = 4;
  if (own.below(3) == 0) config.max_idle_time = 30ms;
  if (own.below(3) == 0) config.max_connection_lifetime = 100ms;
  return config;
}

outcome live(std::uint64_t seed) {
  world here(seed);
  make_trouble(here.net().faults());
  for (unsigned i = 1; i <= 3; ++i) {
    here.net().add_server("10.0.0." + std::to_string(i), 1000, moody());
  }
  const pool_config config = draw_config(seed);
  auto made = pool::create(here.home(), config);
  EXPECT_TRUE(made);
  pool backends = std::move(*made);
  outcome sum;
  std::vector<std::shared_ptr<bool>> clients;
  for (unsigned number = 0; number < 12; ++number) {
    clients.push_back(here.start([&here, &backends, &sum, number]() -> task<void> {
      return client(here, backends, number, sum);
    }));
  }
  const bool all_done = here.until([&] {
    const pool_stats now = backends.totals();
    EXPECT_EQ(now.created, accounted(now));
    return std::ranges::all_of(clients, [](const auto& done) { return *done; });
  });
  EXPECT_TRUE(all_done) << here.trouble();
  EXPECT_TRUE(here.run([&]() -> task<void> {
    auto closed = co_await backends.close();
    EXPECT_TRUE(closed);
  }));
  const pool_stats last = backends.totals();
  EXPECT_EQ(last.created, last.closed()) << here.trouble();
  here.pass(1s);
  for (unsigned i = 0; i < 3; ++i) {
    EXPECT_EQ(here.net().server_at(i).counts().open, 0U) << here.trouble();
  }
  here.end();
  sum.trace = here.net().trace_hash();
  return sum;
}

TEST(sim_pool_in_trouble, every_exchange_succeeds_or_fails_and_nothing_is_left) {
  outcome all;
  const seed_range seeds(40);
  for (std::uint64_t seed = seeds.first; seed != seeds.end; ++seed) {
    const outcome one = live(seed);
    all.good += one.good;
    all.failed += one.failed;
    if (::testing::Test::HasFailure()) break;
  }
  EXPECT_GT(all.good, all.failed);
  EXPECT_GT(all.failed, 0U);
}

TEST(sim_pool_in_trouble, the_same_seed_replays_the_same_run) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const outcome first = live(seed);
    const outcome second = live(seed);
    EXPECT_EQ(first.trace, second.trace) << "seed " << seed;
    EXPECT_EQ(first.good, second.good) << "seed " << seed;
  }
  EXPECT_NE(live(1).trace, live(2).trace);
}

}  // namespace
}  // namespace conpool::sim

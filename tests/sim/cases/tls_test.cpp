// The pool over TLS on a simulated network: segments in pieces, handshakes cut at any byte, closes,
// resets and strays at any moment, in virtual time and from a seed.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <conpool/pool/pool.h>
#include <conpool/runtime/detail/random.h>
#include <conpool/tls/detail/shard_tls.h>

#include <tests/sim/kernel/tls_wire.h>
#include <tests/sim/world.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t seeds = 40;
constexpr unsigned clients = 6;
constexpr unsigned requests_each = 12;

struct tally {
  std::uint64_t answered = 0;
  std::uint64_t failed = 0;
  std::uint64_t wrong = 0;
  std::uint64_t running = 0;
};

// A world with two TLS servers of the same plan, and a pool.
class secured_world {
 public:
  secured_world(std::uint64_t seed, server_plan plan, const fault_plan& faults = {}) : here_(seed) {
    here_.net().faults() = faults;
    tls::shard_tls::make(here_.home(), tls::shard_limits(), time_of_day_);
    plan.make_wire = side_.maker();
    to_ = {side_.at(here_.net().add_server("10.0.0.1", 443, plan)),
           side_.at(here_.net().add_server("10.0.0.2", 443, plan))};
    pool_config config;
    config.max_connections_per_endpoint = 3;
    config.acquire_timeout = 2s;
    config.read_timeout = 300ms;
    config.connection_timeout = 1s;
    auto made = pool::create(here_.home(), config);
    EXPECT_TRUE(made);
    backends_ = std::make_shared<pool>(std::move(*made));
  }

  tally ask() {
    random_source dice(here_.net().seed());
    tally counted;
    counted.running = clients;
    for (unsigned i = 0; i < clients; ++i) {
      here_.home().spawn(client, this, random_source(dice.next()), &counted);
    }
    EXPECT_TRUE(here_.until([&] { return counted.running == 0; })) << here_.trouble();
    return counted;
  }

  void dislike_sessions() noexcept { side_.dislike_sessions(true); }

  pool_stats close() {
    EXPECT_TRUE(here_.run([this]() -> task<void> {
      auto closed = co_await backends_->close();
      EXPECT_TRUE(closed);
    }));
    EXPECT_TRUE(here_.until([this] {
      const pool_stats now = backends_->totals();
      return now.created == now.closed();
    }));
    const pool_stats last = backends_->totals();
    backends_.reset();
    here_.end();
    return last;
  }

 private:
  // Each answer is what was asked, to the byte, or an error.
  static task<void> client(secured_world* in, random_source dice, tally* counted) {
    const std::shared_ptr<pool> backends = in->backends_;
    for (unsigned i = 0; i < requests_each; ++i) {
      std::string request(1 + dice.below(dice.below(4) == 0 ? 40'000 : 300), '\0');
      for (char& one : request) one = static_cast<char>('a' + dice.below(26));
      endpoint to = in->to_[dice.below(2)];
      auto answer = co_await exchange(*backends, to, request);
      // A stray byte may cross a request on its way; requests have none of these.
      const bool strayed = answer.starts_with('!');
      ++(answer.empty() || strayed ? counted->failed
         : answer == request       ? counted->answered
                                   : counted->wrong);
      auto rested = co_await in->here_.home().sleep_for(1ms * dice.below(60));
      if (!rested) break;
    }
    --counted->running;
  }

  static task<std::string> exchange(pool& backends, endpoint to, const std::string& request) {
    auto lent = co_await backends.acquire(to);
    if (!lent) co_return std::string();
    auto sent = co_await (*lent)->write(request);
    if (!sent) co_return std::string();
    std::string answer(request.size(), '\0');
    auto read = co_await (*lent)->read_exactly(std::span<char>(answer));
    co_return read ? answer : std::string();
  }

  // In this order: the servers' sessions, which the network keeps, go before what they refer to.
  tls::manual_wall_clock time_of_day_{test::test_epoch_s};
  tls_side side_;
  world here_;
  std::vector<endpoint> to_;
  std::shared_ptr<pool> backends_;
};

server_plan good_day() {
  server_plan plan;
  plan.in_pieces = 0.5;
  return plan;
}

TEST(sim_tls, on_a_good_day_every_request_is_answered_and_few_connections_serve_them) {
  const seed_range range(seeds);
  for (std::uint64_t seed = range.first; seed < range.end; ++seed) {
    SCOPED_TRACE("CONPOOL_SIM_SEED=" + std::to_string(seed));
    secured_world one(seed, good_day());
    const tally counted = one.ask();
    EXPECT_EQ(counted.answered, clients * requests_each);
    const pool_stats totals = one.close();
    EXPECT_LE(totals.created, 6U);
    EXPECT_EQ(totals.handshakes, totals.created);
    EXPECT_EQ(totals.handshakes_failed, 0U);
  }
}

TEST(sim_tls, a_handshake_that_is_cut_at_any_byte_fails_one_connect_and_hangs_nobody) {
  std::uint64_t failed = 0;
  const seed_range range(seeds);
  for (std::uint64_t seed = range.first; seed < range.end; ++seed) {
    SCOPED_TRACE("CONPOOL_SIM_SEED=" + std::to_string(seed));
    server_plan plan = good_day();
    plan.cut_handshake = 0.3;
    secured_world one(seed, plan);
    const tally counted = one.ask();
    EXPECT_EQ(counted.wrong, 0U);
    EXPECT_GT(counted.answered, 0U);
    const pool_stats totals = one.close();
    failed += totals.handshakes_failed;
    EXPECT_EQ(totals.handshakes + totals.connect_failures + totals.connect_timeouts,
              totals.created);
  }
  EXPECT_GT(failed, seeds / 4);
}

TEST(sim_tls, servers_that_end_reset_or_ignore_whoever_offers_a_session_fail_nobody) {
  std::uint64_t in_vain = 0;
  const seed_range range(seeds);
  for (std::uint64_t seed = range.first; seed < range.end; ++seed) {
    SCOPED_TRACE("CONPOOL_SIM_SEED=" + std::to_string(seed));
    server_plan plan = good_day();
    plan.close_after_reply = 0.5;  // so that there are many connects
    secured_world one(seed, plan);
    one.dislike_sessions();
    const tally counted = one.ask();
    EXPECT_EQ(counted.wrong, 0U);
    const pool_stats totals = one.close();
    EXPECT_EQ(totals.handshakes_failed + totals.connect_failures + totals.connect_timeouts, 0U);
    EXPECT_EQ(totals.resumed, 0U);
    EXPECT_EQ(totals.handshakes, totals.created);
    // One pause for each server; each of the three connects at once may have offered one.
    EXPECT_LE(totals.resumptions_failed, 6U);
    in_vain += totals.resumptions_failed;
  }
  EXPECT_GT(in_vain, seeds / 2);
}

TEST(sim_tls, whatever_the_servers_do_an_answer_is_whole_or_an_error) {
  tally all;
  const seed_range range(seeds);
  for (std::uint64_t seed = range.first; seed < range.end; ++seed) {
    SCOPED_TRACE("CONPOOL_SIM_SEED=" + std::to_string(seed));
    server_plan plan = good_day();
    plan.refuse = 0.02;
    plan.cut_handshake = 0.03;
    plan.cut_off = 0.05;
    plan.swallow = 0.01;
    plan.close_after_reply = 0.05;
    plan.reset_after_reply = 0.03;
    plan.close_idle = plan.reset_idle = plan.stray_idle = 0.1;
    plan.idle_most = 40ms;
    plan.no_farewell = 0.3;
    fault_plan faults;
    faults.no_buffer = 0.02;
    faults.send_fails = 0.01;
    faults.call_most = 20us;
    secured_world one(seed, plan, faults);
    const tally counted = one.ask();
    EXPECT_EQ(counted.wrong, 0U);
    all.answered += counted.answered;
    all.failed += counted.failed;
    const pool_stats totals = one.close();
    EXPECT_EQ(totals.idle + totals.active + totals.connecting, 0U);
  }
  // Neither so many that nothing was tried, nor so few that nothing went wrong.
  EXPECT_GT(all.answered, all.failed);
  EXPECT_GT(all.failed, seeds);
}

TEST(sim_tls, a_connection_that_the_server_ended_while_it_was_idle_is_not_lent) {
  const seed_range range(seeds);
  for (std::uint64_t seed = range.first; seed < range.end; ++seed) {
    SCOPED_TRACE("CONPOOL_SIM_SEED=" + std::to_string(seed));
    server_plan plan = good_day();
    plan.close_after_reply = 0.5;
    plan.no_farewell = 0.5;
    secured_world one(seed, plan);
    const tally counted = one.ask();
    EXPECT_EQ(counted.wrong, 0U);
    // The end may cross a request that has begun; most of all it is seen before.
    EXPECT_LE(counted.failed, clients * requests_each / 4);
    const pool_stats totals = one.close();
    EXPECT_GT(totals.created, 6U);
    EXPECT_GT(totals.resumed, 0U);
  }
}

}  // namespace
}  // namespace conpool::sim

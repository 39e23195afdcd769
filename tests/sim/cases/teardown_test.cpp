// T77: a pool, or its shard, ends at any moment with connects, watches, probes, reads, pings and
// hand-overs in flight: everything is reaped first, and nothing is left.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <conpool/pool/pool.h>
#include <conpool/runtime/detail/random.h>

#include <tests/sim/world.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

struct pinged {
  struct state {};
  shard* home;
  task<result<void>> ping(connection& to, state&) {
    auto sent = co_await to.write("p");
    if (!sent) co_return fail(std::move(sent.error()));
    char answer = 0;
    auto read = co_await to.read_exactly(std::span<char>(&answer, 1));
    if (!read) co_return fail(std::move(read.error()));
    co_return result<void>{};
  }
  task<void> run(connection&, state&) {
    [[maybe_unused]] auto rested = co_await home->sleep_for(1h);
  }
};

pool_config draw_config(random_source& dice) {
  pool_config config;
  config.max_connections_per_endpoint = 4;
  config.min_idle_per_endpoint = dice.below(3) == 0 ? 2 : 0;
  config.acquire_timeout = 200ms;
  config.read_timeout = 50ms;
  config.validation = dice.below(2) == 0 ? validation_policy::watch : validation_policy::probe;
  return config;
}

// Whoever was served, read, pinged or handed a descriptor hears of the end as an error.
task<void> use(world& here, const std::shared_ptr<pool>& backends, endpoint to, unsigned how) {
  auto lent = co_await backends->acquire(to);
  if (!lent) co_return;
  auto sent = co_await (*lent)->write("question");
  if (!sent) co_return;
  if (how == 0) co_return;
  // More than the answer has: it waits until the end comes.
  std::string answer(how == 1 ? 8 : 64, '\0');
  auto read = co_await (*lent)->read_exactly(std::span<char>(answer));
  if (!read || how == 2) co_return;
  auto out = co_await lent->detach();
  if (out) here.net().sockets().close(out->release());
}

void tear_down(std::uint64_t seed) {
  world here(seed);
  random_source dice(seed);
  here.net().faults().cancel_loses = 0.5;
  here.net().faults().cancel_is_late = 0.5;
  here.net().faults().call_most = 2us;
  here.net().add_server("10.0.0.1", 1000, {.think_most = 5ms});
  here.net().add_server("10.0.0.2", 1000, {.black_hole = 0.7});
  const endpoint peers[] = {endpoint::parse("tcp://10.0.0.1:1000").value(),
                            endpoint::parse("tcp://10.0.0.2:1000").value()};
  auto made = dice.below(2) == 0
                  ? pool::create(here.home(), draw_config(dice))
                  : pool::create(here.home(), draw_config(dice), pinged{&here.home()});
  const auto backends = std::make_shared<pool>(std::move(*made));
  // Keeps the counts readable after the pool is gone.
  std::optional<endpoint_handle> kept = backends->handle(peers[0]);
  for (unsigned i = 0; i < 16; ++i) {
    here.start([&here, backends, to = peers[dice.below(2)], i]() -> task<void> {
      return use(here, backends, to, i % 4);
    });
  }
  const auto turns = dice.below(40);
  for (std::uint64_t i = 0; i < turns; ++i) here.home().run_once(dice.up_to(2ms));
  here.start([&]() -> task<void> {
    auto report = co_await backends->validate_all();
    static_cast<void>(report);
  });
  here.home().run_once(duration::zero());
  switch (dice.below(3)) {
    case 0:
      here.home().stop();
      break;
    case 1:
      *backends = pool::create(here.home()).value();  // the old one is destroyed
      break;
    default:
      here.start([&]() -> task<void> {
        auto report = co_await backends->drain(dice.up_to(20ms));
        static_cast<void>(report);
      });
      here.home().run_once(duration::zero());
  }
  kept.reset();
  here.end();  // checks that nothing is in flight and no descriptor is open
  const pool_stats last = backends->totals();
  EXPECT_EQ(last.created, last.closed()) << here.trouble();
}

TEST(sim_teardown, T77_an_end_at_any_moment_leaves_nothing_in_flight) {
  const seed_range seeds(300);
  for (std::uint64_t seed = seeds.first; seed != seeds.end; ++seed) {
    tear_down(seed);
    if (::testing::Test::HasFailure()) {
      FAIL() << "replay: CONPOOL_SIM_SEED=" << seed
             << " build/test/tests/sim-tests --gtest_filter=sim_teardown.*";
    }
  }
}

}  // namespace
}  // namespace conpool::sim

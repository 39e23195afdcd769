#include <tests/sim/fuzz/run.h>

#include <algorithm>
#include <utility>

namespace conpool::sim::fuzz {

using namespace std::chrono_literals;

namespace {

shard_options options_of(const plan& drawn) {
  shard_options made;
  made.ring = drawn.ring;
  return made;
}

}  // namespace

run::run(std::uint64_t from)
    : seed(from),
      drawn(from),
      here(from, options_of(drawn)),
      checks(here, drawn),
      dice(from * 31 + 7) {
  for (unsigned i = 1; i <= drawn.servers; ++i) {
    const server& made = here.net().add_server("10.0.0." + std::to_string(i), 1000, drawn.server);
    peers.push_back(endpoint::parse("tcp://" + made.address().to_string()).value());
  }
  here.net().faults() = drawn.faults;
}

// All clients use the first one.
endpoint run::draw_endpoint(random_source& own) {
  return own.below(2) == 0 ? peers[0] : peers[own.below(peers.size())];
}

void run::start(task<void> (*body)(run&, random_source), std::uint64_t number) {
  ++tasks;
  here.home().spawn(
      [](run& in, task<void> (*kept)(run&, random_source), std::uint64_t own) -> task<void> {
        auto work = kept(in, random_source(own));
        co_await work;
        --in.tasks;
      },
      std::ref(*this), body, number);
}

bool run::turn(duration most_wait) {
  const bool more = here.home().run_once(most_wait);
  look();
  return more;
}

void run::live() {
  make_next_pool(*this);
  for (unsigned i = 0; i < drawn.clients; ++i) start(&client, seed * 1'000 + i);
  bool more = true;
  while (checks.steps() < drawn.steps && !::testing::Test::HasFailure()) {
    if (dice.below(25) == 0) {
      operate(*this);
      look();
      more = true;
    }
    more = turn(more ? duration::zero() : duration(5ms));
  }
  end();
}

void run::end() {
  constexpr unsigned turns_max = 200'000;
  ending = true;
  if (current->paused()) current->resume();
  if (drawn.by_shard_stop) {
    here.home().stop();
  } else {
    bool more = true;
    for (unsigned i = 0; tasks > 0 && i < turns_max; ++i) {
      more = turn(more ? duration::zero() : duration(5ms));
    }
    EXPECT_EQ(tasks, 0U) << here.trouble();
    start(
        [](run& in, random_source) -> task<void> {
          auto closed = co_await in.current->close();
          EXPECT_TRUE(closed);
          EXPECT_EQ(in.current->totals().connecting + in.current->totals().idle, 0U);
        },
        0);
    EXPECT_TRUE(here.until([&] { return tasks == 0; })) << here.trouble();
  }
  here.end();
  EXPECT_EQ(tasks, 0U) << here.trouble();
  checks.check_end();
  // What was sent last arrives.
  const time_point later = here.now() + 1min;
  while (here.now() < later) here.net().advance(later);
  for (std::size_t i = 0; i < here.net().servers(); ++i) {
    EXPECT_EQ(here.net().server_at(i).counts().open, 0U) << here.trouble();
  }
}

}  // namespace conpool::sim::fuzz

// The operator of the fuzz: clears, resizes, pauses, warms, validates, drains, observes.
#include <algorithm>
#include <stdexcept>
#include <utility>

#include <tests/sim/fuzz/protocol.h>
#include <tests/sim/fuzz/run.h>
#include <tests/support/expect.h>

namespace conpool::sim::fuzz {
namespace {

using namespace std::chrono_literals;

task<void> warm(run& in, random_source dice) {
  const std::shared_ptr<pool> kept = in.current;
  const endpoint to = in.draw_endpoint(dice);
  const auto count = static_cast<std::uint32_t>(dice.below(7));
  const duration within = 1ms + dice.up_to(100ms);
  auto warmed = co_await kept->warm(to, count, within);
  if (!warmed || kept->closed() || !in.drawn.calm()) co_return;
}

task<void> validate(run& in, random_source dice) {
  const std::shared_ptr<pool> kept = in.current;
  const endpoint to = in.draw_endpoint(dice);
  ++in.validating;
  struct at_end {
    unsigned& count;
    ~at_end() { --count; }
  } const leave{in.validating};
  in.checks.pings_at_will();
  auto one = kept->validate(to);
  auto all = kept->validate_all();
  result<validation_report> report{};
  if (dice.below(2) == 0) {
    report = co_await one;
  } else {
    report = co_await all;
  }
  if (!report) co_return;
  std::uint64_t closed = 0;
  for (const std::uint64_t count : report->closed_by) closed += count;
  EXPECT_EQ(report->checked, report->alive + closed) << in.here.trouble();
}

task<void> drain(run& in, random_source dice) {
  const std::shared_ptr<pool> old = in.current;
  make_next_pool(in);
  const duration within = dice.up_to(100ms);
  const time_point due = in.here.home().now() + within;
  auto report = co_await old->drain(within);
  if (!report) co_return;
  EXPECT_LE(in.here.home().now(), due + 10ms) << in.here.trouble();
  EXPECT_EQ(old->totals().waiting, 0U) << in.here.trouble();
  EXPECT_EQ(old->totals().idle, 0U) << in.here.trouble();
}

// An observer that does what none should.
task<void> interfere(run& in, random_source dice) {
  const std::shared_ptr<pool> kept = in.current;
  const endpoint to = in.draw_endpoint(dice);
  const acquire_options now{.try_only = true};
  auto taken = co_await kept->acquire(to, now);
  if (!taken || dice.below(4) != 0) co_return;
  in.checks.leaves_something();
  taken->discard();
}

void observe(run& in) {
  random_source& dice = in.dice;
  const std::weak_ptr<pool> to = in.current;
  in.current->observe([&in, to, own = random_source(dice.next())](const pool_event& told) mutable {
    const std::shared_ptr<pool> from = to.lock();
    if (!from) return;
    if (told.kind == pool_event_kind::closed) in.checks.saw_closed(*from, told.connection);
    if (in.ending || own.below(30) != 0) return;
    if (own.below(8) == 0) throw std::runtime_error("an observer throws");
    if (own.below(8) == 0) return from->observe({});
    if (in.drawn.storm() && own.below(8) == 0) {
      return from->clear(told.peer, own.below(2) == 0 ? leased::keep : leased::break_off);
    }
    if (!in.drawn.shares()) in.start(&interfere, own.next());
  });
}

void clear(run& in) {
  random_source& dice = in.dice;
  const leased what = dice.below(2) == 0 ? leased::keep : leased::break_off;
  if (dice.below(2) == 0) {
    in.current->clear_all(what);
  } else {
    in.current->clear(in.draw_endpoint(dice), what);
  }
}

void reconfigure(run& in) {
  const pool_config changed = draw_config(in.dice, in.drawn);
  const result<void> done = in.current->reconfigure(changed);
  in.checks.reconfigured();
  EXPECT_OK(done) << "; " << in.here.trouble();
}

void pause_or_resume(run& in) {
  if (in.current->paused()) {
    in.current->resume();
  } else {
    in.current->pause(in.dice.below(2) == 0 ? while_paused::wait : while_paused::fail);
  }
}

}  // namespace

void make_next_pool(run& in) {
  in.current = make_pool(in.here, in.checks, in.drawn,
                         in.pools_made == 0 ? in.drawn.config : draw_config(in.dice, in.drawn),
                         in.dice.next());
  ++in.pools_made;
  in.checks.watch(in.current);
}

void operate(run& in) {
  constexpr std::uint64_t pools_max = 4;
  random_source& dice = in.dice;
  // A pause does not last.
  if (in.current->paused() && dice.below(2) == 0) return in.current->resume();
  switch (dice.below(12)) {
    case 0:
    case 1:
      return reconfigure(in);
    case 2:
      return pause_or_resume(in);
    case 3:
    case 4:
      return in.start(&warm, dice.next());
    case 5:
    case 6:
      return in.start(&validate, dice.next());
    case 7:
      return observe(in);
    case 8:
      return in.current->observe({});
    case 9:
      if (in.pools_made < pools_max) in.start(&drain, dice.next());
      return;
    default:
      // In a calm run nobody loses a connection that was kept for them.
      if (in.drawn.storm()) clear(in);
  }
}

}  // namespace conpool::sim::fuzz

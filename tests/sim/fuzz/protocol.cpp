#include <tests/sim/fuzz/protocol.h>

#include <stdexcept>
#include <string_view>
#include <utility>

namespace conpool::sim::fuzz {

using namespace std::chrono_literals;

thread_local ground* ground::newest = nullptr;

fragile_state::fragile_state() {
  ground* const on = ground::newest;
  if (on != nullptr && on->one_in(60)) throw std::runtime_error("a state throws");
}

bool ground::agrees_on(connection& one, bool lends) {
  if (lends ? one_in(40) : dice.below(40) == 0) one.retire();
  if (one_in(60)) one.mark(connection::discarded);
  return agrees();
}

bool ground::agrees() {
  if (one_in(50)) throw std::runtime_error("a hook throws");
  return !one_in(15);
}

task<result<void>> ground::round_trip(connection& over, char what) {
  if (one_in(40)) throw std::runtime_error("a hook throws");
  if (one_in(40)) {
    auto hung = co_await here.home().sleep_for(1h);
    if (!hung) co_return fail(std::move(hung.error()));
  }
  auto sent = co_await over.write(std::string_view(&what, 1));
  if (!sent) co_return fail(std::move(sent.error()));
  char answer = 0;
  auto read = co_await over.read_exactly(std::span<char>(&answer, 1));
  if (!read) co_return fail(std::move(read.error()));
  if (answer != what) co_return fail(error(errc::io_failed, phase::read));
  co_return result<void>{};
}

task<bool> careful::on_release(connection& from, state&) {
  bool clean = false;
  if (on_->dice.below(2) == 0) {
    clean = on_->agrees_on(from, false);
  } else {
    auto cleaned = co_await on_->round_trip(from, 'c');
    clean = cleaned.has_value();
  }
  on_->rests(from);
  co_return clean;
}

// Whatever is on its way has come within a while; then one more round trip shows that it was all.
task<bool> careful::recover(connection& left, state&, close_reason) {
  std::array<std::byte, 512> old{};
  if (on_->one_in(3)) co_return false;
  for (;;) {
    auto more = co_await left.wait_readable(20ms);
    if (!more) break;
    auto count = co_await left.read(old);
    if (!count || *count == 0) co_return false;
  }
  auto checked = co_await on_->round_trip(left, 'r');
  co_return checked.has_value();
}

task<void> careful::farewell(connection& leaving, state&) {
  if (on_->one_in(20)) throw std::runtime_error("a farewell throws");
  if (on_->one_in(20)) {
    [[maybe_unused]] auto slept = co_await on_->here.home().sleep_for(1h);
  }
  [[maybe_unused]] auto said = co_await leaving.write("bye");
}

task<void> careful::run(connection&, state&) {
  while (!on_->one_in(20)) {
    auto rested = co_await on_->here.home().sleep_for(20ms);
    if (!rested) co_return;
  }
}

task<void> shared::run(connection& over, state& own) {
  while (true) {
    auto count = co_await over.read_some(own.bytes, 1, 1h);
    if (!count || *count == 0) co_return;
    if (on_->one_in(20)) over.retire();
    if (on_->one_in(4)) over.set_lease_limit(1 + static_cast<std::uint32_t>(on_->dice.below(8)));
    if (on_->one_in(40)) throw std::runtime_error("a reader throws");
  }
}

namespace {

template <typename P>
std::shared_ptr<pool> make(world& here, const pool_config& config, std::shared_ptr<ground> on) {
  auto made = pool::create(here.home(), config, P(on));
  if (!made) misuse("pool::create: " + made.error().message());
  auto kept = std::make_shared<pool>(std::move(*made));
  on->owner = kept.get();
  return kept;
}

}  // namespace

std::shared_ptr<pool> make_pool(world& here, oracle& checks, const plan& drawn,
                                const pool_config& config, std::uint64_t seed) {
  auto on = std::make_shared<ground>(here, checks, seed, !drawn.storm());
  switch (drawn.spoken) {
    case speech::talkative:
      return make<talkative>(here, config, std::move(on));
    case speech::careful:
      return make<careful>(here, config, std::move(on));
    case speech::shared:
      return make<shared>(here, config, std::move(on));
    case speech::shared_or_alone:
      return make<shared_or_alone>(here, config, std::move(on));
    case speech::none:
      break;
  }
  auto made = pool::create(here.home(), config);
  if (!made) misuse("pool::create: " + made.error().message());
  return std::make_shared<pool>(std::move(*made));
}

}  // namespace conpool::sim::fuzz

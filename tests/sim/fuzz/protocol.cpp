#include <tests/sim/fuzz/protocol.h>

#include <stdexcept>
#include <string_view>
#include <utility>

namespace conpool::sim::fuzz {

using namespace std::chrono_literals;

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
  if (on_->dice.below(2) == 0) co_return on_->agrees();
  auto cleaned = co_await on_->round_trip(from, 'c');
  co_return cleaned.has_value();
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
  auto on = std::make_shared<ground>(here, checks, seed, drawn.calm);
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

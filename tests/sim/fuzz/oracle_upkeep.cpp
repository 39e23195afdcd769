// The oracle's laws of what a pool does with what nobody uses: that clean connections are kept,
// that nothing is evicted for nobody, that pings come in their interval and idle connections end on
// time.
#include <algorithm>

#include <tests/sim/fuzz/oracle.h>

namespace conpool::sim::fuzz {
namespace {

using namespace std::chrono_literals;

// A tick of the timers and the turns that a step of time may take.
constexpr duration slack = 12ms;

}  // namespace

std::uint64_t oracle::surprises() const {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < here_.net().servers(); ++i) {
    sum += here_.net().server_at(i).counts().surprises;
  }
  return sum;
}

// Where nothing fails of itself, each connection that was lost was ended by its server or left in
// the middle by its user.
void oracle::check_reuse() const {
  if (plan_.storm() || plan_.config.reuse_unanswered) return;
  std::uint64_t lost = 0;
  std::string reasons;
  for (const auto& one : pools_) {
    const pool_stats all = one->totals();
    for (const close_reason why :
         {close_reason::peer_closed, close_reason::peer_reset, close_reason::io_error,
          close_reason::unexpected_data, close_reason::unread_data, close_reason::unanswered,
          close_reason::busy, close_reason::interrupted, close_reason::discarded,
          close_reason::vetoed, close_reason::cleaning_failed}) {
      lost += all.closed(why);
      if (all.closed(why) > 0)
        reasons += ", " + std::to_string(all.closed(why)) + " " + to_string(why);
    }
  }
  EXPECT_LE(lost, surprises() + unclean_) << reasons << "; " << trouble();
}

// Without a cap over all endpoints only a caller who wants a new connection has one closed. With it
// one is taken from others for an endpoint that has none, or once in a while: two busy endpoints do
// not take each other's all the time. What happens within a step is not seen, so a few are let
// pass.
void oracle::check_evictions(const pool_stats& all) {
  constexpr duration patience = 250ms;
  if (plan_.storm()) return;
  const std::uint64_t evicted = all.closed(close_reason::evicted);
  const std::uint64_t more = evicted - std::exchange(evicted_before_, evicted);
  bool has_nothing = std::exchange(somebody_has_nothing_, false);
  for (const endpoint_stats& one : pools_.back()->all_stats()) {
    if (one.waiting > 0 && one.active + one.idle == 0) somebody_has_nothing_ = true;
  }
  has_nothing = has_nothing || somebody_has_nothing_;
  if (!ever_capped_) {
    // What was opened in its place may go to somebody who waited before; that is rare.
    EXPECT_LE(evicted, fresh_wishes_ + std::min<std::uint64_t>(new_for_others_, 1)) << trouble();
    return;
  }
  if (!has_nothing) taken_from_others_ += more;
  const auto whiles = static_cast<std::uint64_t>((here_.now() - watched_since_) / patience) + 2;
  EXPECT_LE(taken_from_others_, fresh_wishes_ + whiles * here_.net().servers()) << trouble();
}

void oracle::reconfigured() {
  configured_ = here_.now();
}

void oracle::sees_rest(const pool& from, std::uint64_t id) {
  const auto found = resting_.find({&from, id});
  if (found != resting_.end()) found->second = {here_.home().now(), here_.home().now()};
}

// A ping that nobody asked for comes an interval after the last use, cleaning or ping.
void oracle::sees_ping(const pool& from, const connection& one) {
  const connection_key key(&from, one.id());
  const auto found = resting_.find(key);
  const pool_config& config = from.config();
  if (found == resting_.end()) return;
  const duration since = here_.home().now() - found->second.unasked;
  const bool by_interval = config.validation_interval > 0ms &&
                           config.validation != validation_policy::ping &&
                           here_.home().now() - may_ping_since_ > 1s;
  if (by_interval && configured_ < found->second.unasked) {
    EXPECT_GE(since + 2ms, config.validation_interval) << trouble();
  }
  found->second.unasked = here_.home().now();
}

void oracle::hears_of_end(const pool& from, std::uint64_t id, close_reason why) {
  const auto found = resting_.find({&from, id});
  if (found != resting_.end() && why == close_reason::idle_timeout &&
      configured_ < found->second.unused && from.config().validation_interval == 0ms) {
    EXPECT_GE(here_.home().now() - found->second.unused + 2ms, from.config().max_idle_time)
        << "connection " << id << " expired early; " << trouble();
  }
  saw_closed(from, id);
}

// Whoever can ping does so in time. Probes count as questions, too, and are not seen here.
void oracle::check_rests(const pool_config& config) const {
  if (!plan_.calm() || !plan_.pings() || config.validation_interval == 0ms) return;
  if (config.validation == validation_policy::probe) return;
  if (plan_.spoken == speech::shared_or_alone) return;  // it does not tell what was closed
  for (const auto& [key, since] : resting_) {
    if (key.first != pools_.back().get() || key.first->closed()) continue;
    const time_point from = std::max(since.unasked, configured_);
    EXPECT_LE(here_.home().now() - from, config.validation_interval + 2 * slack)
        << "connection " << key.second << " was not asked; " << trouble();
  }
}

}  // namespace conpool::sim::fuzz

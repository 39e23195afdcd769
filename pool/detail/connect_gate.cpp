#include <conpool/pool/detail/connect_gate.h>

#include <utility>

namespace conpool {
namespace {

// The limit of the backoff after so many failures in a row.
duration longest_after(std::uint32_t failures, const pool_config& config) noexcept {
  // Doubled so often it is above every limit; more would overflow.
  constexpr std::uint32_t doublings_max = 32;
  duration most = config.connect_backoff_min;
  for (std::uint32_t i = 1; i < std::min(failures, doublings_max); ++i) {
    most *= 2;
    if (most >= config.connect_backoff_max) break;
  }
  return std::min<duration>(most, config.connect_backoff_max);
}

}  // namespace

void connect_gate::failure_row::add(const facts& at, bool permanent, const pool_config& config,
                                    random_source& random) noexcept {
  count = failures(at.first_lends);
  if (count < UINT32_MAX) ++count;
  ++round;
  lends_before = at.first_lends;
  duration wait = duration::zero();
  if (permanent) {
    const duration half = duration(config.connect_backoff_max) / 2;
    wait = half + random.up_to(half);
  } else {
    wait = random.up_to(longest_after(count, config));
  }
  not_before = at.now + wait;
}

bool connect_gate::failed(const failure& what, const beginning& begun, const facts& at,
                          const pool_config& config, random_source& random) noexcept {
  if (what.whose == row::ourselves) {
    if (begun.our_round == ours_.round) ours_.add(at, false, config, random);
    return false;
  }
  if (what.whose == row::spare) {
    if (begun.spare_round == spare_.round) spare_.add(at, what.permanent, config, random);
    if (!what.had_stood) failing_ = true;
    return closed_in_vain(what, at, config);
  }
  if (begun.callers_round != callers_.round) return closed_in_vain(what, at, config);
  // What the server refused beside others is no part of the row that counts without them.
  if (beside_ && !at.stands) callers_.count = 0;
  beside_ = at.stands;
  failing_ = true;
  permanent_ = what.permanent;
  callers_.add(at, what.permanent, config, random);
  return open_if_down(at, config);
}

// What stood closed the breaker, beside a row of failures that nothing has ended, and was of no
// use.
bool connect_gate::closed_in_vain(const failure& what, const facts& at,
                                  const pool_config& config) noexcept {
  return what.had_stood && failing_ && open_if_down(at, config);
}

bool connect_gate::open_if_down(const facts& at, const pool_config& config) noexcept {
  if (open_ || at.stands || beside_ || config.breaker_failures == 0) return false;
  const std::uint32_t row = failures(at.first_lends);
  if (row == 0 || (!permanent_ && row < config.breaker_failures)) return false;
  open_ = true;
  return true;
}

bool connect_gate::stood(const beginning& begun, const facts& at) noexcept {
  if (begun.callers_round == callers_.round) {
    callers_.not_before = time_point::min();
    ours_ = {.round = ours_.round};
    failing_ = false;
    lost_before_ = at.lost;
  }
  return adopted();
}

bool connect_gate::adopted() noexcept {
  permanent_ = false;
  return std::exchange(open_, false);
}

void connect_gate::nothing_stands(const facts& at) noexcept {
  if (!beside_ || open_) return;
  callers_.not_before = std::min(callers_.not_before, at.now);
}

std::uint32_t connect_gate::at_once(const facts& at, std::uint32_t most) const noexcept {
  if (open_ || failing_) return 1;
  return at.lost == lost_before_ ? most : std::min(most, untried_most);
}

}  // namespace conpool

// What time brings to an endpoint: idle and old connections go, the floor is kept, excess is
// trimmed, checks fall due, leases grow suspicious, and an endpoint that nobody uses is forgotten.
//
// One timer for all of it, armed for whatever is due first; a connection has no timer of its own.
#include <algorithm>
#include <cmath>

#include <conpool/pool/detail/endpoint_pool.h>
#include <conpool/pool/detail/pool_core.h>

namespace conpool {
namespace {

bool is_on(std::chrono::milliseconds interval) noexcept {
  return interval > std::chrono::milliseconds::zero();
}

}  // namespace

void endpoint_pool::schedule_upkeep() noexcept {
  if (shut_down_ || in_upkeep_) return;
  const pool_config& config = core_->config();
  const time_point now = home_->now();
  time_point due = time_point::max();
  // What is active becomes idle without a look at the timer, so it is armed for it already.
  if (counts_.idle + counts_.active > 0) {
    const time_point coldest = idle_.empty() ? now : idle_.back().last_used_;
    if (is_on(config.max_idle_time) && (idle_.empty() || counts_.idle > floor())) {
      due = std::min(due, coldest + config.max_idle_time);
    }
    if (is_on(config.trim_interval)) {
      if (next_trim_ == time_point::max()) next_trim_ = now + config.trim_interval;
      due = std::min(due, next_trim_);
    }
    if (is_on(config.validation_interval)) {
      if (next_check_ == time_point::max()) next_check_ = now + config.validation_interval;
      due = std::min(due, next_check_);
    }
  }
  due = std::min(due, next_retirement_);
  if (!leased_.empty()) due = std::min(due, leased_.front().last_used_ + config.leak_threshold);
  if (is_on(config.max_endpoint_idle_time) && config.min_idle_per_endpoint == 0 && unused()) {
    due = std::min(due, touched_ + config.max_endpoint_idle_time);
  }
  if (due != time_point::max()) {
    home_->timers().arm(*this, due);
  } else {
    home_->timers().cancel(*this);
  }
}

void endpoint_pool::upkeep_fired(timer_node& node) noexcept {
  static_cast<endpoint_pool&>(node).upkeep();
}

void endpoint_pool::upkeep() noexcept {
  const core_pointer keep(*core_);
  const time_point now = home_->now();
  const pool_config& config = core_->config();
  in_upkeep_ = true;
  retire_old(now);
  expire_idle(now);
  if (now >= next_trim_) trim(now);
  if (now >= next_check_) check_due(now);
  report_leaks(now);
  in_upkeep_ = false;
  if (is_on(config.max_endpoint_idle_time) && config.min_idle_per_endpoint == 0 && unused() &&
      now >= touched_ + config.max_endpoint_idle_time) {
    core_->forget(*this);  // destroys this
    return;
  }
  schedule_upkeep();
}

// How many idle connections are kept, whatever their age. Those that will end soon keep their
// places beside their replacements.
std::uint32_t endpoint_pool::floor() const noexcept {
  const pool_config& config = core_->config();
  return std::min(config.min_idle_per_endpoint + expiring_soon_, config.idle_limit());
}

void endpoint_pool::expire_idle(time_point now) noexcept {
  const pool_config& config = core_->config();
  if (!is_on(config.max_idle_time)) return;
  while (counts_.idle > floor() && idle_.back().last_used_ + config.max_idle_time <= now) {
    close_connection(idle_.back(), close_reason::idle_timeout);
  }
}

// When a connection's replacement is dialed: some time before its end if the floor needs it.
time_point endpoint_pool::replaced_at(const connection& old) const noexcept {
  const pool_config& config = core_->config();
  if (old.retire_at_ == time_point::max() || config.min_idle_per_endpoint == 0) {
    return old.retire_at_;
  }
  return old.retire_at_ -
         std::min<duration>(config.connection_timeout, config.max_connection_lifetime / 10);
}

void endpoint_pool::retire_old(time_point now) noexcept {
  if (now < next_retirement_) return;
  next_retirement_ = time_point::max();
  expiring_soon_ = 0;
  for (auto it = members_.begin(); it != members_.end();) {
    connection& one = *it++;
    if (one.state_ == state::closing) continue;
    if (one.retire_at_ > now) {
      const time_point early = replaced_at(one);
      next_retirement_ = std::min(next_retirement_, early > now ? early : one.retire_at_);
      if (early <= now && one.state_ == state::idle) ++expiring_soon_;
    } else if (one.state_ == state::idle) {
      close_connection(one, close_reason::lifetime);
    } else if (one.managed_ && managed(one).shared_) {
      retire(one, close_reason::lifetime);  // it may never be idle
    }
  }
  if (expiring_soon_ > 0) look_at_demand();
}

// The peak of need since the last step is what was in use at once: all but the idle connections
// that nobody touched since then. They are the coldest of a last-in first-out stack, so counting
// them costs no count on the way of a lend.
void endpoint_pool::trim(time_point now) noexcept {
  const pool_config& config = core_->config();
  const time_point step_began = next_trim_ - config.trim_interval;
  next_trim_ = now + config.trim_interval;
  std::uint32_t untouched = 0;
  for (auto it = idle_.end(); it != idle_.begin();) {
    --it;
    if (it->last_used_ > step_began) break;
    ++untouched;
  }
  const std::uint32_t standing = counts_.idle + counts_.active;
  const double peak = standing - untouched;
  // It rises at once and falls by a quarter of the difference each step.
  need_ = peak >= need_ ? peak : need_ + (peak - need_) / 4;
  const auto needed = static_cast<std::uint32_t>(std::lround(need_));
  if (standing <= needed) return;
  std::uint32_t surplus = (standing - needed + 1) / 2;
  while (surplus-- > 0 && counts_.idle > floor()) {
    close_connection(idle_.back(), close_reason::trimmed);
  }
}

void endpoint_pool::report_leaks(time_point now) noexcept {
  const duration threshold = core_->config().leak_threshold;
  while (!leased_.empty() && leased_.front().last_used_ + threshold <= now) {
    connection& suspect = leased_.pop_front();
    suspect.leak_reported_ = true;
    ++counts_.leaks;
    event_queue::record event;
    event.kind = pool_event_kind::leak_suspected;
    event.connection = suspect.id();
    event.held = now - suspect.last_used_;
    event.where = suspect.lent_from_;
    tell(std::move(event));
  }
}

}  // namespace conpool

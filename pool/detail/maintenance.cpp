#include <conpool/pool/detail/maintenance.h>

#include <algorithm>
#include <cmath>

namespace conpool {
namespace {

bool is_on(std::chrono::milliseconds interval) noexcept {
  return interval > std::chrono::milliseconds::zero();
}

}  // namespace

maintenance::maintenance(endpoint_facts& facts, idle_stack& idle, const waiter_queue& waiters,
                         health_checks& checks, dial_demand& demand, leak_detector& leaks,
                         retirement& retirements) noexcept
    : timer_node(&maintenance::fired),
      facts_(&facts),
      idle_(&idle),
      waiters_(&waiters),
      checks_(&checks),
      demand_(&demand),
      leaks_(&leaks),
      retirements_(&retirements) {}

// After the shard's end there is no wheel to leave.
maintenance::~maintenance() {
  if (!facts_->shut_down) facts_->home->timers().cancel(*this);
}

void maintenance::shut_down() noexcept {
  facts_->home->timers().cancel(*this);
}

bool maintenance::unused() const noexcept {
  return facts_->quiet() && facts_->counts.active + facts_->counts.waiting + handles_ == 0 &&
         !demand_->will_look() && demand_->warming().empty();
}

void maintenance::drop_handle() noexcept {
  if (--handles_ == 0 && !facts_->shut_down && unused()) schedule();
}

bool maintenance::forgets_unused() const noexcept {
  const pool_config& config = facts_->config();
  return is_on(config.max_endpoint_idle_time) && config.min_idle_per_endpoint == 0;
}

void maintenance::schedule() noexcept {
  if (facts_->shut_down || running_) return;
  const pool_config& config = facts_->config();
  const time_point now = facts_->now();
  time_point due = time_point::max();
  // What is active becomes idle without a look at the timer, so it is armed for it already.
  if (facts_->counts.idle + facts_->counts.active > 0) {
    const time_point coldest = idle_->empty() ? now : idle_->coldest().last_used;
    if (is_on(config.max_idle_time) && (idle_->empty() || facts_->counts.idle > demand_->floor())) {
      due = std::min(due, coldest + config.max_idle_time);
    }
    if (is_on(config.trim_interval)) {
      if (next_trim_ == time_point::max()) next_trim_ = now + config.trim_interval;
      due = std::min(due, next_trim_);
    }
    if (is_on(config.validation_interval) && checks_->can_ask())
      due = std::min(due, checks_->next_due(now));
  }
  due = std::min(due, next_retirement_);
  if (const auto suspect = leaks_->next_due()) due = std::min(due, *suspect);
  if (forgets_unused() && unused()) {
    due = std::min(due, facts_->touched + config.max_endpoint_idle_time);
  }
  if (due != time_point::max()) {
    facts_->home->timers().arm(*this, due);
  } else {
    facts_->home->timers().cancel(*this);
  }
}

void maintenance::connection_stands(const pooled_connection& fresh) noexcept {
  next_retirement_ = std::min(next_retirement_, replaced_at(fresh));
  schedule();
}

void maintenance::reschedule() noexcept {
  next_trim_ = time_point::max();
  checks_->reschedule();
  if (next_retirement_ != time_point::max()) next_retirement_ = facts_->now();
  schedule();
}

void maintenance::fired(timer_node& node) noexcept {
  static_cast<maintenance&>(node).run();
}

void maintenance::run() noexcept {
  const counted_pointer<pool_facts> keep(*facts_->pool);
  const time_point now = facts_->now();
  running_ = true;
  retire_old(now);
  expire_idle(now);
  if (now >= next_trim_) trim(now);
  checks_->check_due(now);
  leaks_->report(now);
  running_ = false;
  if (forgets_unused() && unused() &&
      now >= facts_->touched + facts_->config().max_endpoint_idle_time) {
    keep->forget(facts_->peer);  // destroys this
    return;
  }
  schedule();
}

void maintenance::expire_idle(time_point now) noexcept {
  const pool_config& config = facts_->config();
  if (!is_on(config.max_idle_time)) return;
  while (facts_->counts.idle > demand_->floor() &&
         idle_->coldest().last_used + config.max_idle_time <= now) {
    retirements_->close(idle_->coldest(), close_reason::idle_timeout);
  }
}

// When a connection's replacement is dialed: some time before its end if the floor needs it.
time_point maintenance::replaced_at(const pooled_connection& old) const noexcept {
  const pool_config& config = facts_->config();
  if (old.retire_at == time_point::max() || config.min_idle_per_endpoint == 0) {
    return old.retire_at;
  }
  return old.retire_at -
         std::min<duration>(config.connection_timeout, config.max_connection_lifetime / 10);
}

void maintenance::retire_old(time_point now) noexcept {
  if (now < next_retirement_) return;
  next_retirement_ = time_point::max();
  std::uint32_t expiring_soon = 0;
  demand_->set_expiring_soon(0);
  for (auto it = facts_->members.begin(); it != facts_->members.end();) {
    pooled_connection& one = *it++;
    if (one.stage == connection_stage::closing) continue;
    if (one.retire_at > now) {
      const time_point early = replaced_at(one);
      next_retirement_ = std::min(next_retirement_, early > now ? early : one.retire_at);
      if (early <= now && one.stage == connection_stage::idle) ++expiring_soon;
    } else if (one.stage == connection_stage::idle) {
      retirements_->close(one, close_reason::lifetime);
    } else if (is_shared(one)) {
      retirements_->retire(one, close_reason::lifetime);  // it may never be idle
    }
  }
  demand_->set_expiring_soon(expiring_soon);
  if (expiring_soon > 0) demand_->look();
}

// The peak of need since the last step is what was in use at once: all but the idle connections
// that nobody touched since then. They are the coldest of a last-in first-out stack, so counting
// them costs no count on the way of a lend.
void maintenance::trim(time_point now) noexcept {
  const pool_config& config = facts_->config();
  const time_point step_began = next_trim_ - config.trim_interval;
  next_trim_ = now + config.trim_interval;
  std::uint32_t untouched = 0;
  for (auto it = idle_->end(); it != idle_->begin();) {
    --it;
    if (it->last_used > step_began) break;
    ++untouched;
  }
  const std::uint32_t standing = facts_->counts.idle + facts_->counts.active;
  const double peak = standing - untouched;
  // It rises at once and falls by a quarter of the difference each step.
  need_ = peak >= need_ ? peak : need_ + (peak - need_) / 4;
  // What is kept ready is beside what is needed.
  const auto needed = static_cast<std::uint32_t>(std::lround(need_)) + demand_->floor();
  if (standing <= needed) return;
  std::uint32_t surplus = (standing - needed + 1) / 2;
  while (surplus-- > 0 && facts_->counts.idle > demand_->floor()) {
    retirements_->close(idle_->coldest(), close_reason::trimmed);
  }
}

}  // namespace conpool

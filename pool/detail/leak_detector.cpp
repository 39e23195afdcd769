#include <conpool/pool/detail/leak_detector.h>

#include <utility>

namespace conpool {

bool leak_detector::lent(pooled_connection& taken, const std::source_location& where,
                         bool listed) noexcept {
  if (listed) {
    taken.last_used = facts_->now();
    taken.lent_from = where;
    taken.leak_reported = false;
    leased_.push_back(taken);
  }
  if (facts_->pool->observed()) {
    event_queue::record event;
    event.kind = pool_event_kind::lent;
    event.connection = taken.serial;
    event.where = where;
    facts_->tell(std::move(event));
  }
  return listed && &leased_.front() == &taken;
}

void leak_detector::returned(pooled_connection& back, bool may_be_listed) noexcept {
  if (may_be_listed && back.idle_hook::is_linked()) connection_list::unlink(back);
  const std::source_location where = std::exchange(back.lent_from, {});
  const bool was_reported = std::exchange(back.leak_reported, false);
  if (!facts_->pool->observed()) return;
  event_queue::record event;
  event.kind = pool_event_kind::returned;
  event.connection = back.serial;
  event.where = where;
  if (where.line() != 0) event.held = facts_->now() - back.last_used;
  if (was_reported) {
    event_queue::record late = event;
    late.kind = pool_event_kind::leak_returned;
    facts_->tell(std::move(late));
  }
  facts_->tell(std::move(event));
}

void leak_detector::forget_all() noexcept {
  while (!leased_.empty()) leased_.pop_front();
  for (pooled_connection& one : facts_->members) {
    one.lent_from = {};
    one.leak_reported = false;
  }
}

std::optional<time_point> leak_detector::next_due() noexcept {
  if (leased_.empty()) return std::nullopt;
  return leased_.front().last_used + facts_->config().leak_threshold;
}

void leak_detector::report(time_point now) noexcept {
  const duration threshold = facts_->config().leak_threshold;
  while (!leased_.empty() && leased_.front().last_used + threshold <= now) {
    pooled_connection& suspect = leased_.pop_front();
    suspect.leak_reported = true;
    ++facts_->counts.leaks;
    event_queue::record event;
    event.kind = pool_event_kind::leak_suspected;
    event.connection = suspect.serial;
    event.held = now - suspect.last_used;
    event.where = suspect.lent_from;
    facts_->tell(std::move(event));
  }
}

}  // namespace conpool

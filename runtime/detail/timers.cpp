#include <conpool/runtime/detail/timers.h>

namespace conpool {

std::size_t timer_wheel::advance(time_point now) noexcept {
  CONPOOL_ASSERT(firing_.empty(), "advance() called from a timer's callback");
  const std::uint64_t target = ns_since_start(now) / tick_length.count();

  // All slots up to now come first, then the callbacks: what a callback arms is seen from the new
  // time, and so cannot end up among the nodes that fire now.
  std::optional<occupied_slot> next = next_occupied();
  while (next && next->tick <= target) {
    enter(*next);
    next = next_occupied();
  }
  if (current_tick_ < target) current_tick_ = target;

  firing_.splice_back(due_);
  std::size_t fired = 0;
  while (!firing_.empty()) {
    timer_node& node = firing_.pop_front();
    CONPOOL_ASSERT(node.tick_ <= current_tick_, "a timer fires early");
    CONPOOL_ASSERT(size_ > 0, "more timers fire than were armed");
    --size_;
    ++fired;
    node.fired_(node);  // it may be gone after this
  }
  return fired;
}

std::optional<time_point> timer_wheel::next_deadline() const noexcept {
  if (!due_.empty() || !firing_.empty()) return moment_of(current_tick_);
  const std::optional<occupied_slot> next = next_occupied();
  if (!next) return std::nullopt;
  return moment_of(next->tick);
}

time_point timer_wheel::moment_of(std::uint64_t tick) const noexcept {
  constexpr std::uint64_t tick_ns = tick_length.count();
  if (tick > ns_since_start(time_point::max()) / tick_ns) return time_point::max();
  // Unsigned for the same reason as in ns_since_start(); the sum fits, as was just checked.
  const std::uint64_t start = static_cast<std::uint64_t>(start_.time_since_epoch().count());
  return time_point(duration(static_cast<duration::rep>(start + tick * tick_ns)));
}

std::optional<timer_wheel::occupied_slot> timer_wheel::next_occupied() const noexcept {
  // All of a level is due before any of the next, so the first that has something decides.
  for (std::size_t level = 0; level < levels; ++level) {
    if (occupied_[level] == 0) continue;
    const unsigned shift = static_cast<unsigned>(level) * digit_bits;
    const std::uint64_t here = current_tick_ >> shift;
    // Count from the slot after the current one. Only the top level wraps around: there the
    // current slot itself is the last, a full round away.
    const int to_first = static_cast<int>((here + 1) % slots);
    const int skipped = std::countr_zero(std::rotr(occupied_[level], to_first));
    const std::uint64_t there = here + 1 + static_cast<std::uint64_t>(skipped);
    return occupied_slot{level, static_cast<std::size_t>(there % slots), there << shift};
  }
  return std::nullopt;
}

// Moves time to the start of a slot and its nodes to where they belong as seen from there: to
// lower levels, or among the due.
void timer_wheel::enter(const occupied_slot& next) noexcept {
  CONPOOL_ASSERT(next.tick > current_tick_, "time went back");
  node_list& slot = slots_[next.level * slots + next.slot];
  CONPOOL_ASSERT(!slot.empty(), "the bitmap names an empty slot");
  // Taken out first: a node beyond the wheel's reach returns to the same slot.
  node_list moving;
  moving.splice_back(slot);
  occupied_[next.level] &= ~bit(next.slot);
  current_tick_ = next.tick;
  while (!moving.empty()) place(moving.pop_front());
}

}  // namespace conpool

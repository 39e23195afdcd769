#include <conpool/pool/detail/connection_cap.h>

namespace conpool {

void connection_cap::leave(cap_member& one) noexcept {
  leave_line(one);
  if (one.list_hook<floor_tag>::is_linked()) below_floor_.remove(one);
  members_.remove(one);
}

void connection_cap::shut_down() noexcept {
  shortage_ = false;
  while (!in_line_.empty()) in_line_.pop_front();
  while (!below_floor_.empty()) below_floor_.pop_front();
}

cap_member* connection_cap::next_in_line() noexcept {
  cap_member* first = nullptr;
  std::uint64_t first_ticket = 0;
  for (cap_member& one : in_line_) {
    const auto ticket = one.first_unserved();
    if (!ticket || (first != nullptr && *ticket >= first_ticket)) continue;
    first = &one;
    first_ticket = *ticket;
  }
  return first;
}

bool connection_cap::may_open(cap_member& asking, bool for_callers) noexcept {
  if (config_->max_connections == 0) return true;
  if (in_line_.empty() && has_slot()) return true;
  if (!for_callers) {  // nobody waits for it, so it takes no slot from others
    if (!asking.list_hook<floor_tag>::is_linked()) below_floor_.push_back(asking);
    return false;
  }
  if (!asking.in_line()) in_line_.push_back(asking);
  set_shortage(true);
  cap_member* const next = next_in_line();
  if (has_slot()) {
    if (next == &asking) return true;
    if (next != nullptr) next->look_at_demand();
    return false;
  }
  // One eviction for each that stands in line, counted before it begins since it may be over at
  // once. Its own idle connections are of use to its callers, unless these want a fresh one.
  if (evicting_ < line_length()) {
    ++evicting_;
    if (!evict_coldest(asking.wants_fresh() ? nullptr : &asking)) --evicting_;
  }
  return false;
}

void connection_cap::slot_freed() noexcept {
  CONPOOL_ASSERT(connections_ > 0, "more connections went than came");
  --connections_;
  if (evicting_ > 0) --evicting_;
  offer_slot();
}

// To the first in line; else to an endpoint that misses connections nobody waits for.
void connection_cap::offer_slot() noexcept {
  if (cap_member* const next = next_in_line()) {
    next->look_at_demand();
  } else if (in_line_.empty() && !below_floor_.empty()) {
    below_floor_.pop_front().look_at_demand();
  }
}

void connection_cap::demand_looked_at(cap_member& looked) noexcept {
  // It has what it needs, or it was its turn and something else than the cap holds it up.
  if (looked.in_line() && (!looked.first_unserved() || (has_slot() && next_in_line() == &looked))) {
    leave_line(looked);
  }
  if (has_slot()) offer_slot();
}

void connection_cap::leave_line(cap_member& one) noexcept {
  if (!one.in_line()) return;
  in_line_.remove(one);
  if (in_line_.empty()) set_shortage(false);
}

void connection_cap::set_shortage(bool there_is) noexcept {
  if (shortage_ == there_is) return;
  shortage_ = there_is;
  for (cap_member& one : members_) one.shortage_changed();
}

std::size_t connection_cap::line_length() const noexcept {
  std::size_t length = 0;
  for ([[maybe_unused]] const cap_member& one : in_line_) ++length;
  return length;
}

bool connection_cap::claim_slot_of(const cap_member& giver, std::uint64_t own_next) noexcept {
  if (connections_ < config_->max_connections) return false;
  std::size_t entitled = 0;
  for (const cap_member& one : in_line_) {
    const auto ticket = one.first_unserved();
    if (&one != &giver && ticket && *ticket < own_next) ++entitled;
  }
  if (evicting_ >= entitled) return false;  // enough are on their way
  ++evicting_;
  return true;
}

bool connection_cap::evict_coldest(const cap_member* but_of, close_reason why) noexcept {
  cap_member* owner = nullptr;
  time_point coldest{};
  for (cap_member& one : members_) {
    if (&one == but_of) continue;
    const std::optional<time_point> candidate = one.coldest();
    if (!candidate || (owner != nullptr && *candidate >= coldest)) continue;
    coldest = *candidate;
    owner = &one;
  }
  if (owner == nullptr) return false;
  owner->close_coldest(why);
  return true;
}

}  // namespace conpool

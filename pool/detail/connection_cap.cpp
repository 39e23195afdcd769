#include <conpool/pool/detail/connection_cap.h>

#include <algorithm>
#include <new>

namespace conpool {

void connection_cap::join(cap_member& one) {
  if (givers_.capacity() <= members_) givers_.reserve(2 * members_ + 1);
  ++members_;
  one.waits_since_ = one.now();
}

void connection_cap::leave(cap_member& one) noexcept {
  leave_line(one);
  if (one.list_hook<floor_tag>::is_linked()) below_floor_.remove(one);
  if (one.list_hook<quick_tag>::is_linked()) quick_.remove(one);
  if (one.heap_at_ != cap_member::in_no_heap) remove_giver(one.heap_at_);
  --members_;
  give_memory_back();
}

// It keeps room for all members, and not for long for those that have gone.
void connection_cap::give_memory_back() noexcept {
  constexpr std::size_t least = 64;
  constexpr std::size_t room_for_each_max = 8;
  if (givers_.capacity() <= std::max(least, room_for_each_max * members_)) return;
  try {
    std::vector<giver> fewer;
    fewer.reserve(2 * members_ + 1);
    fewer.assign(givers_.begin(), givers_.end());
    givers_.swap(fewer);
  } catch (const std::bad_alloc&) {
    return;  // it stays as large as it is
  }
}

void connection_cap::shut_down() noexcept {
  shortage_ = false;
  while (!in_line_.empty()) in_line_.pop_front();
  while (!below_floor_.empty()) below_floor_.pop_front();
}

// --- slots

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
  if (!asking.in_line()) {
    in_line_.push_back(asking);
    asking.waits_since_ = asking.now();
  }
  cap_member* const next = next_in_line();
  if (has_slot()) {
    if (next == &asking) {
      asking.waits_since_ = asking.now();
      return true;
    }
    if (next != nullptr) next->look_at_demand();
    begin_shortage();
  } else if (evicting_ < line_length() && !evict_for(asking)) {
    // One eviction for each that stands in line; without it, what comes back is looked at.
    begin_shortage();
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

// Returns that are not looked at any more by then are looked at once again, and find it over.
void connection_cap::leave_line(cap_member& one) noexcept {
  if (!one.in_line()) return;
  in_line_.remove(one);
  if (in_line_.empty()) shortage_ = false;
}

void connection_cap::begin_shortage() noexcept {
  shortage_ = true;
  while (!quick_.empty()) quick_.pop_front().look_at_returns();
}

std::size_t connection_cap::line_length() const noexcept {
  std::size_t length = 0;
  for ([[maybe_unused]] const cap_member& one : in_line_) ++length;
  return length;
}

// --- what is taken from others

bool connection_cap::may_take_warm(const cap_member& one, time_point now) const noexcept {
  return !one.holds_any() || now - one.waits_since_ >= patience;
}

bool connection_cap::claim_slot_of(const cap_member& giver, std::uint64_t own_next) noexcept {
  if (connections_ < config_->max_connections) return false;
  const time_point now = giver.now();
  std::size_t entitled = 0;
  for (const cap_member& one : in_line_) {
    const auto ticket = one.first_unserved();
    if (&one == &giver || !ticket || *ticket >= own_next) continue;
    if (may_take_warm(one, now)) ++entitled;
  }
  if (evicting_ >= entitled) return false;  // enough are on their way
  ++evicting_;
  return true;
}

// Its own idle connections are of use to its callers, unless these want a fresh one. The eviction
// is counted before it begins, since it may be over at once.
bool connection_cap::evict_for(cap_member& asking) noexcept {
  const bool fresh = asking.wants_fresh();
  const time_point now = asking.now();
  cap_member* owner = coldest_owner(fresh ? nullptr : &asking);
  if (owner != nullptr && owner != &asking && !may_take_warm(asking, now)) {
    const time_point anybodys = *owner->coldest() + patience;
    if (now < anybodys) {
      owner = fresh && asking.coldest() ? &asking : nullptr;
      asking.look_at_demand_at(std::min(anybodys, asking.waits_since_ + patience));
    }
  } else if (owner == nullptr && !may_take_warm(asking, now)) {
    asking.look_at_demand_at(asking.waits_since_ + patience);
  }
  if (owner == nullptr) return false;
  if (owner != &asking && now - *owner->coldest() < patience) asking.waits_since_ = now;
  ++evicting_;
  owner->close_coldest(close_reason::evicted);
  return true;
}

bool connection_cap::evict_coldest(const cap_member* but_of, close_reason why) noexcept {
  cap_member* const owner = coldest_owner(but_of);
  if (owner == nullptr) return false;
  owner->close_coldest(why);
  return true;
}

cap_member* connection_cap::coldest_owner(const cap_member* but_of) noexcept {
  std::optional<giver> aside;
  cap_member* owner = nullptr;
  while (owner == nullptr && !givers_.empty()) {
    giver& first = givers_.front();
    cap_member& looked_at = *first.who;
    if (&looked_at == but_of) {
      aside = first;
      remove_giver(0);
      continue;
    }
    const std::optional<time_point> used = looked_at.coldest();
    if (!used) {
      remove_giver(0);
      if (looked_at.list_hook<quick_tag>::is_linked()) quick_.remove(looked_at);
      looked_at.look_at_returns();
    } else if (*used > first.not_before) {
      first.not_before = *used;
      sift_down(0);
    } else {
      owner = &looked_at;
    }
  }
  if (aside) add_giver(*aside->who, aside->not_before);
  return owner;
}

// --- who may have idle connections

void connection_cap::returns_are_quick(cap_member& one) noexcept {
  if (!one.list_hook<quick_tag>::is_linked()) quick_.push_back(one);
  add_giver(one, one.coldest().value_or(one.now()));
}

void connection_cap::has_idle(cap_member& one) noexcept {
  if (const auto used = one.coldest()) add_giver(one, *used);
}

// If it is there already, the lower of the bounds counts.
void connection_cap::add_giver(cap_member& one, time_point not_before) noexcept {
  if (one.heap_at_ == cap_member::in_no_heap) {
    givers_.push_back({not_before, &one});  // for which there is room
    one.heap_at_ = givers_.size() - 1;
    sift_up(one.heap_at_);
  } else if (not_before < givers_[one.heap_at_].not_before) {
    givers_[one.heap_at_].not_before = not_before;
    sift_up(one.heap_at_);
  }
}

void connection_cap::remove_giver(std::size_t at) noexcept {
  givers_[at].who->heap_at_ = cap_member::in_no_heap;
  const giver last = givers_.back();
  givers_.pop_back();
  if (at == givers_.size()) return;
  put_giver(at, last);
  sift_up(at);
  sift_down(last.who->heap_at_);
}

void connection_cap::put_giver(std::size_t at, const giver& one) noexcept {
  givers_[at] = one;
  one.who->heap_at_ = at;
}

void connection_cap::sift_up(std::size_t at) noexcept {
  const giver moved = givers_[at];
  while (at > 0 && moved.not_before < givers_[(at - 1) / 2].not_before) {
    put_giver(at, givers_[(at - 1) / 2]);
    at = (at - 1) / 2;
  }
  put_giver(at, moved);
}

void connection_cap::sift_down(std::size_t at) noexcept {
  const giver moved = givers_[at];
  for (std::size_t child = 2 * at + 1; child < givers_.size(); child = 2 * at + 1) {
    const std::size_t right = child + 1;
    if (right < givers_.size() && givers_[right].not_before < givers_[child].not_before) {
      child = right;
    }
    if (moved.not_before <= givers_[child].not_before) break;
    put_giver(at, givers_[child]);
    at = child;
  }
  put_giver(at, moved);
}

}  // namespace conpool

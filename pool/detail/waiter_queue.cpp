#include <conpool/pool/detail/waiter_queue.h>

#include <conpool/runtime/shard.h>

namespace conpool {

void waiter::schedule() noexcept {
  if (std::exchange(scheduled_, true)) return;
  home().ready().push(*this);
}

void waiter_queue::join(waiter& last, std::uint64_t ticket) noexcept {
  last.ticket = ticket;
  lane_of(last).push_back(last);
  ++counts_->waiting;
  if (last.fresh) ++fresh_;
}

void waiter_queue::leave(waiter& one) noexcept {
  lane_of(one).remove(one);
  --counts_->waiting;
  if (one.fresh) --fresh_;
}

void waiter_queue::serve(waiter& one) noexcept {
  leave(one);
  if (one.priority == acquire_priority::normal || lanes_[1].empty()) {
    passed_ = 0;
  } else {
    ++passed_;
  }
}

void waiter_queue::put_back(waiter& one) noexcept {
  lane& into = lane_of(one);
  auto later = into.begin();
  while (later != into.end() && later->ticket < one.ticket) ++later;
  into.insert(later, one);
  ++counts_->waiting;
  if (one.fresh) ++fresh_;
}

waiter* waiter_queue::in_order::next() noexcept {
  const bool any_normal = normal_ != normal_end_;
  if (high_ != high_end_ && (!any_normal || passed_ < passed_most)) {
    if (any_normal) ++passed_;
    return &*high_++;
  }
  passed_ = 0;
  return any_normal ? &*normal_++ : nullptr;
}

waiter* waiter_queue::first_for(bool never_lent) noexcept {
  if (empty()) return nullptr;
  in_order all(*this);
  while (waiter* const one = all.next()) {
    if (!one->fresh || never_lent) return one;
  }
  return nullptr;
}

bool waiter_queue::fresh_is_next(std::uint32_t provided_for) noexcept {
  in_order all(*this);
  while (waiter* const one = all.next()) {
    if (!one->fresh) return false;
    if (provided_for-- == 0) return true;
  }
  return false;
}

waiter* waiter_queue::longest_waiting() noexcept {
  waiter* longest = nullptr;
  for (lane& in : lanes_) {
    if (in.empty()) continue;
    waiter& first = in.front();
    if (longest == nullptr || first.ticket < longest->ticket) longest = &first;
  }
  return longest;
}

std::optional<std::uint64_t> waiter_queue::ticket_after(std::uint64_t passed) noexcept {
  in_order all(*this);
  while (const waiter* const one = all.next()) {
    if (passed-- == 0) return one->ticket;
  }
  return std::nullopt;
}

void waiter_queue::fail_all(const error& why) noexcept {
  while (waiter* const next = first_for(true)) {
    leave(*next);
    next->fail_with(why);
  }
}

}  // namespace conpool

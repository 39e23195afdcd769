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

void waiter_queue::put_back(waiter& one) noexcept {
  lane& into = lane_of(one);
  auto later = into.begin();
  while (later != into.end() && later->ticket < one.ticket) ++later;
  into.insert(later, one);
  ++counts_->waiting;
  if (one.fresh) ++fresh_;
}

waiter* waiter_queue::first_for(bool never_lent) noexcept {
  if (empty()) return nullptr;
  for (lane& in : lanes_) {
    for (waiter& one : in) {
      if (!one.fresh || never_lent) return &one;
    }
  }
  return nullptr;
}

waiter* waiter_queue::head() noexcept {
  for (lane& in : lanes_) {
    if (!in.empty()) return &in.front();
  }
  return nullptr;
}

std::optional<std::uint64_t> waiter_queue::ticket_after(std::uint64_t passed) const noexcept {
  for (const lane& in : lanes_) {
    for (const waiter& one : in) {
      if (passed == 0) return one.ticket;
      --passed;
    }
  }
  return std::nullopt;
}

void waiter_queue::fail_all(const error& why) noexcept {
  while (waiter* const next = head()) {
    leave(*next);
    next->fail_with(why);
  }
}

}  // namespace conpool

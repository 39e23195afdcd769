// The callers of an endpoint who wait, first come first served within two lanes of priority.
//
// It knows waiters and no connections: what they are given is the endpoint's business. Invariant:
// counts.waiting is the number of waiters here, in each lane in the order of their tickets.
//
// Used on its shard only; the waiters live in their callers' frames.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <conpool/pool/detail/waiter.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/detail/intrusive_list.h>
#include <conpool/runtime/error.h>

namespace conpool {

class waiter_queue {
 public:
  explicit waiter_queue(pool_counts& counts) noexcept : counts_(&counts) {}

  // `ticket`: it came after all callers with lower ones.
  void join(waiter& last, std::uint64_t ticket) noexcept;
  void leave(waiter& one) noexcept;
  // One that lost what it was handed takes its old place again.
  void put_back(waiter& one) noexcept;

  bool empty() const noexcept { return counts_->waiting == 0; }
  std::uint32_t size() const noexcept { return counts_->waiting; }
  // Those who want a connection that was never lent, and those who take any.
  std::uint32_t fresh() const noexcept { return fresh_; }
  std::uint32_t patient() const noexcept { return counts_->waiting - fresh_; }

  // Who is served next by a connection; null if nobody here can use it.
  waiter* first_for(bool never_lent) noexcept;
  // The head of the first lane that is not empty; null if nobody waits.
  waiter* head() noexcept;
  // The ticket of who is served after `passed` others; nullopt if fewer wait.
  std::optional<std::uint64_t> ticket_after(std::uint64_t passed) const noexcept;
  void fail_all(const error& why) noexcept;

 private:
  using lane = intrusive_list<waiter, waiter_hook>;
  lane& lane_of(const waiter& one) noexcept {
    return lanes_[static_cast<std::size_t>(one.priority)];
  }

  std::array<lane, 2> lanes_;  // high, normal
  pool_counts* counts_;
  std::uint32_t fresh_ = 0;
};

}  // namespace conpool

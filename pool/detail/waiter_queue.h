// The callers of an endpoint who wait, first come first served within two lanes of priority.
//
// High priority goes first, but not for ever: after `passed_most` of the high lane have been served
// while somebody waited in the normal one, the first of the normal lane is next.
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
  // The same for one that is handed a connection: it is counted whom it passed.
  void serve(waiter& one) noexcept;
  // One that lost what it was handed takes its old place again.
  void put_back(waiter& one) noexcept;

  bool empty() const noexcept { return counts_->waiting == 0; }
  std::uint32_t size() const noexcept { return counts_->waiting; }
  // Those who want a connection that was never lent, and those who take any.
  std::uint32_t fresh() const noexcept { return fresh_; }
  std::uint32_t patient() const noexcept { return counts_->waiting - fresh_; }

  // Who is served next by a connection; null if nobody here can use it.
  waiter* first_for(bool never_lent) noexcept;
  // Whether somebody who wants a connection that was never lent is next, before all who take any.
  // `provided_for`: so many of those who want one will have it, and are passed over.
  bool fresh_is_next(std::uint32_t provided_for) noexcept;
  // Who came first, in whichever lane; null if nobody waits.
  waiter* longest_waiting() noexcept;
  // The ticket of who is served after `passed` others; nullopt if fewer wait.
  std::optional<std::uint64_t> ticket_after(std::uint64_t passed) noexcept;
  // All are told, in the order in which they would have been served.
  void fail_all(const error& why) noexcept;

  static constexpr std::uint32_t passed_most = 8;

 private:
  using lane = intrusive_list<waiter, waiter_hook>;
  // Walks all who wait in the order of serving.
  class in_order {
   public:
    explicit in_order(waiter_queue& of) noexcept
        : high_(of.lanes_[0].begin()),
          high_end_(of.lanes_[0].end()),
          normal_(of.lanes_[1].begin()),
          normal_end_(of.lanes_[1].end()),
          passed_(of.passed_) {}
    // Null after the last.
    waiter* next() noexcept;

   private:
    lane::iterator high_;
    lane::iterator high_end_;
    lane::iterator normal_;
    lane::iterator normal_end_;
    std::uint32_t passed_;
  };
  lane& lane_of(const waiter& one) noexcept {
    return lanes_[static_cast<std::size_t>(one.priority)];
  }

  std::array<lane, 2> lanes_;  // high, normal
  pool_counts* counts_;
  std::uint32_t fresh_ = 0;
  std::uint32_t passed_ = 0;  // of the high lane, since one of the normal lane was served last
};

}  // namespace conpool

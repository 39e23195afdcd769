// A hierarchical timing wheel: the deadlines of one shard.
//
// The shard owns it and uses it on its thread only. Nodes are embedded in whatever waits (an
// operation, a waiter, a lease), so arming and cancelling allocate nothing and take O(1): a few
// nanoseconds, since both happen for each wait. Time is the shard's clock, in ticks of 1 ms from
// the wheel's start. A timer fires in the first advance() at or after its deadline, never before.
//
//   struct waiter : timer_node {
//     waiter() noexcept : timer_node(&waiter::expired) {}
//     static void expired(timer_node& node) noexcept { static_cast<waiter&>(node).give_up(); }
//   };
//   wheel.arm(w, home.now() + 250ms);
//   wheel.cancel(w);                    // also safe after it fired, or when it was never armed
//
// There are six levels of 64 slots. A node lies at the level of the highest 6-bit digit in which
// its tick differs from the current one, in the slot of its own digit there; when time enters a
// slot of an upper level, its nodes move down. So a node moves at most five times, all nodes of a
// level are due before any of the next, and a bitmap for each level finds the next occupied slot. A
// clock that jumps by hours therefore costs what is armed, not what was slept through. A deadline
// beyond the wheel's reach (2^36 ms, 2.2 years) waits in the top level for as many rounds as it
// needs.
//
// Timers fire in the order of their ticks, and within a tick in the order in which they were armed.
//
// Hazard: neither a node nor the wheel may die while a timer is armed; both are asserted.
//
// Sources: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987. Choosing the level by
// the highest differing bit is taken from the timer of the Tokio runtime.
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/assert.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/detail/fork_state.h>
#include <conpool/runtime/detail/intrusive_list.h>
#include <conpool/runtime/detail/turn_bell.h>

namespace conpool {

class timer_wheel;

// One deadline: a base class of what waits, or a member of it.
class timer_node : public list_hook<timer_wheel> {
 public:
  using callback = void (*)(timer_node&) noexcept;

  // advance() calls `fired` on the wheel's thread, once for each arming that was not cancelled. The
  // node is no longer armed then, and the wheel does not touch it afterwards.
  explicit timer_node(callback fired) noexcept : fired_(fired) {
    CONPOOL_ASSERT(fired != nullptr, "a timer needs a callback");
  }

  bool armed() const noexcept { return is_linked(); }

  // The tick at which the node fires, in milliseconds since the wheel's start. Valid while armed.
  std::uint64_t deadline_tick() const noexcept { return tick_; }

 private:
  friend class timer_wheel;

  callback fired_;
  std::uint64_t tick_ = 0;
  std::uint16_t slot_ = 0;
};
static_assert(sizeof(timer_node) <= 40, "a timer is part of each operation");

class CONPOOL_API timer_wheel {
 public:
  static constexpr duration tick_length = std::chrono::milliseconds(1);

  // Ticks count from `start`. The wheel must not be advanced to a moment before it.
  explicit timer_wheel(time_point start) noexcept : start_(start) {}
  timer_wheel(const timer_wheel&) = delete;
  timer_wheel& operator=(const timer_wheel&) = delete;
  ~timer_wheel() { CONPOOL_ASSERT_ENDED(size_ == 0, "a timer wheel died with armed timers"); }

  // Makes `node` fire once `deadline` has passed. A node that is armed already is moved. If the
  // deadline has passed already, the node fires in the next advance(), not now.
  void arm(timer_node& node, time_point deadline) noexcept {
    cancel(node);
    node.tick_ = tick_at_or_after(deadline);
    ++size_;
    place(node);
    if (bell_ != nullptr) [[unlikely]]
      bell_->ring();
  }

  // Outside of a turn an arming rings it, since the loop that waits for next_deadline() may sleep
  // too long; null for none.
  void announce_to(turn_bell* bell) noexcept { bell_ = bell; }

  // Makes `node` not fire, whatever state it is in.
  void cancel(timer_node& node) noexcept {
    if (!node.armed()) return;
    const std::size_t slot = node.slot_;
    if (slot == not_in_a_slot) {
      node_list::unlink(node);  // from due_ or from firing_
    } else {
      slots_[slot].remove(node);
      if (slots_[slot].empty()) occupied_[slot / slots] &= ~bit(slot % slots);
    }
    CONPOOL_ASSERT(size_ > 0, "a timer cancelled on a wheel that it was not armed on");
    --size_;
  }

  // Sets the time to `now`, fires every node that is due, and returns how many that were. Callbacks
  // may arm and cancel any node, themselves included, and may destroy any node that is not armed.
  // What they arm does not fire before the next advance(), so this always ends. A `now` before that
  // of an earlier call counts as the earlier one.
  std::size_t advance(time_point now) noexcept;

  // Returns when advance() must be called again at the latest; nothing if nothing is armed. That is
  // the next deadline, rounded up to its tick, if it is less than 64 ms (a round of level 0) away,
  // and otherwise maybe a moment before it, when a slot must be moved down. Once advance() has been
  // told the time, it is never later than the first moment at which something would fire.
  std::optional<time_point> next_deadline() const noexcept;

  bool empty() const noexcept { return size_ == 0; }
  // How many timers are armed.
  std::size_t size() const noexcept { return size_; }

 private:
  using node_list = intrusive_list<timer_node, list_hook<timer_wheel>>;

  static constexpr unsigned digit_bits = 6;
  static constexpr std::size_t slots = std::size_t{1} << digit_bits;
  static constexpr std::size_t levels = 6;
  // In place of a slot's number: the node is in due_ or firing_.
  static constexpr std::uint16_t not_in_a_slot = levels * slots;

  // A slot that is not empty, and the tick at which time enters it.
  struct occupied_slot {
    std::size_t level;
    std::size_t slot;
    std::uint64_t tick;
  };

  static constexpr std::uint64_t bit(std::size_t slot) noexcept { return std::uint64_t{1} << slot; }

  std::uint64_t ns_since_start(time_point moment) const noexcept {
    // Unsigned: the distance of two time points need not fit a duration.
    if (moment <= start_) return 0;
    return static_cast<std::uint64_t>(moment.time_since_epoch().count()) -
           static_cast<std::uint64_t>(start_.time_since_epoch().count());
  }
  std::uint64_t tick_at_or_after(time_point moment) const noexcept {
    const std::uint64_t ns = ns_since_start(moment);
    const std::uint64_t whole = ns / tick_length.count();
    return whole + (whole * tick_length.count() != ns ? 1 : 0);
  }
  time_point moment_of(std::uint64_t tick) const noexcept;

  // Links a node where its tick belongs as seen from the current one.
  void place(timer_node& node) noexcept {
    if (node.tick_ <= current_tick_) {
      node.slot_ = not_in_a_slot;
      due_.push_back(node);
      return;
    }
    constexpr unsigned top_bit = digit_bits * levels - 1;
    unsigned highest = static_cast<unsigned>(std::bit_width(node.tick_ ^ current_tick_)) - 1;
    if (highest > top_bit) highest = top_bit;
    const unsigned level = highest / digit_bits;
    const std::size_t slot = (node.tick_ >> (level * digit_bits)) % slots;
    node.slot_ = static_cast<std::uint16_t>(level * slots + slot);
    slots_[node.slot_].push_back(node);
    occupied_[level] |= bit(slot);
  }

  std::optional<occupied_slot> next_occupied() const noexcept;
  void enter(const occupied_slot& next) noexcept;

  const time_point start_;
  // The tick of the last advance(): all that is in a slot lies after it.
  std::uint64_t current_tick_ = 0;
  std::size_t size_ = 0;
  turn_bell* bell_ = nullptr;
  // For each level, the slots that are not empty.
  std::array<std::uint64_t, levels> occupied_{};
  // The nodes that fire in the next advance(), and those that the running one has still to fire.
  node_list due_;
  node_list firing_;
  std::array<node_list, levels * slots> slots_;
};

}  // namespace conpool

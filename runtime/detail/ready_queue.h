// What runs next on a shard: a first-in first-out queue of nodes, each embedded in what will run.
//
// The shard owns it and uses it on its thread only. A completion, a timer or a mail puts work here
// and returns, and the turn runs it later. So nothing is ever resumed from within a harvest, the
// stack stays flat, and work runs in the order of its arrival.
//
// The inline budget bounds how much runs without passing through this queue. A task that finds its
// bytes already there, or returns to a task that awaited it, goes on at once, but at most
// `inline_budget_max` times for each node that is run. The budget keeps one busy connection from
// starving the others, and bounds the stack where the compiler makes no tail calls (sanitizers).
#pragma once

#include <cstddef>

#include <conpool/runtime/detail/turn_bell.h>

namespace conpool {

struct ready_node {
  using run_fn = void (*)(ready_node&) noexcept;
  explicit ready_node(run_fn function) noexcept : run(function) {}
  ready_node(const ready_node&) = delete;
  ready_node& operator=(const ready_node&) = delete;

  run_fn run;
  ready_node* next_ready = nullptr;
};

class ready_queue {
 public:
  static constexpr unsigned inline_budget_max = 64;

  bool empty() const noexcept { return head_ == nullptr; }

  // Precondition: the node is not queued. It may be queued again from the moment it runs.
  void push(ready_node& node) noexcept {
    node.next_ready = nullptr;
    *tail_ = &node;
    tail_ = &node.next_ready;
    if (bell_ != nullptr) [[unlikely]]
      bell_->ring();
  }

  // Outside of a turn a push rings it; null for none.
  void announce_to(turn_bell* bell) noexcept { bell_ = bell; }

  // Appends all nodes of another queue, which is empty then.
  void take_all(ready_queue& other) noexcept {
    if (other.empty()) [[likely]]
      return;
    *tail_ = other.head_;
    tail_ = other.tail_;
    other.head_ = nullptr;
    other.tail_ = &other.head_;
  }

  // Runs the first node. Precondition: the queue is not empty.
  void run_one() noexcept {
    ready_node& node = *head_;
    head_ = node.next_ready;
    if (head_ == nullptr) tail_ = &head_;
    inline_budget_ = inline_budget_max;
    node.run(node);
  }

  // Returns true if the running task may go on inline, false if it should pass through the queue.
  bool spend_inline_budget() noexcept {
    if (inline_budget_ == 0) return false;
    --inline_budget_;
    return true;
  }

  // Returns the queue of the shard whose turn runs on this thread; null outside of a turn.
  static ready_queue* current() noexcept { return current_; }

 private:
  friend class shard;
  static inline thread_local constinit ready_queue* current_ = nullptr;

  ready_node* head_ = nullptr;
  ready_node** tail_ = &head_;
  turn_bell* bell_ = nullptr;
  unsigned inline_budget_ = inline_budget_max;
};

}  // namespace conpool

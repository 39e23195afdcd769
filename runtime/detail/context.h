// The cancellation and the deadline of a tree of tasks, carried from caller to callee.
//
// A task inherits the context of the task that awaits it. What suspends (a read, a timer, an
// acquire) subscribes a node for as long as it waits. Cancelling a context runs every node once,
// and those of all contexts below it. Everything is intrusive, belongs to one shard and is used on
// its thread only: no atomics, no allocation.
//
// Cancelling is a request. Whoever waits goes on waiting until its operation has ended, and then
// learns what really happened. The next wait in a cancelled context ends at once with the reason.
//
// Users meet contexts through with_timeout() (deadline.h), scope::cancel() and shard::stop().
#pragma once

#include <conpool/runtime/detail/fork_state.h>
#include <conpool/runtime/detail/intrusive_list.h>
#include <conpool/runtime/error.h>

namespace conpool {

class context;

class cancel_node : public list_hook<context> {
 public:
  using cancelled_fn = void (*)(cancel_node&, errc why) noexcept;
  explicit cancel_node(cancelled_fn function) noexcept : on_cancel(function) {}
  cancelled_fn on_cancel;
};

class context : private cancel_node {
  using node_list = intrusive_list<cancel_node, list_hook<context>>;

 public:
  context() noexcept : cancel_node(&context::parent_cancelled) {}
  ~context() {
    detach();
    CONPOOL_ASSERT_ENDED(waiting_.empty(), "a context was destroyed while something waits in it");
  }
  context(const context&) = delete;
  context& operator=(const context&) = delete;

  // From now on cancelling `parent` cancels this context, too; if the parent is cancelled already,
  // this context is cancelled at once. `parent` may be null, and must outlive the attachment.
  void attach(context* parent) noexcept {
    CONPOOL_ASSERT(!is_linked(), "a context has one parent");
    if (parent == nullptr) return;
    if (parent->cancelled()) {
      cancel(parent->why_);
    } else {
      parent->waiting_.push_back(*this);
    }
  }
  void detach() noexcept {
    if (is_linked()) node_list::unlink(*this);
  }

  bool cancelled() const noexcept { return why_ != errc{}; }
  // The reason: errc::cancelled, deadline_exceeded or shard_stopped; errc{} while not cancelled.
  errc why() const noexcept { return why_; }

  // Runs every subscribed node once. The first reason stays. A node may call it.
  void cancel(errc why) noexcept {
    if (cancelled()) return;
    why_ = why;
    while (!waiting_.empty()) {
      cancel_node& node = waiting_.pop_front();
      node.on_cancel(node, why);
    }
  }

  // Precondition: the context is not cancelled. The node leaves with unsubscribe(), or when it is
  // run.
  void subscribe(cancel_node& node) noexcept {
    CONPOOL_ASSERT(!cancelled(), "nothing waits in a cancelled context");
    waiting_.push_back(node);
  }
  static void unsubscribe(cancel_node& node) noexcept {
    if (node.is_linked()) node_list::unlink(node);
  }

 private:
  static void parent_cancelled(cancel_node& node, errc why) noexcept {
    static_cast<context&>(node).cancel(why);
  }

  node_list waiting_;
  errc why_{};
};

}  // namespace conpool

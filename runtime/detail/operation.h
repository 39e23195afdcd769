// One request in the kernel: the memory that its completion comes back to.
//
// An operation is embedded in whatever waits for it (an awaiter, a stream), so starting one
// allocates nothing. From the moment the ring has filled its submission it belongs to the kernel,
// until its own final completion has been harvested. Cancelling is a request: the operation stays
// in flight until the kernel has answered both the cancel and the operation, in whichever order,
// and its result is what really happened, be it success or a partial count.
//
//   operation receive_{&on_received};        // a member
//   ring.receive(receive_, fd, memory);      // in flight from here
//   ...                                      // harvest() calls on_received(receive_)
//
// The handler runs inside the harvest. It records what happened and may put work on the shard's
// ready queue, but it resumes nothing and calls no user's code. It may start the operation again.
// An operation is used on its shard's thread only.
#pragma once

#include <cstdint>

#include <conpool/runtime/detail/assert.h>
#include <conpool/runtime/detail/fork_state.h>

namespace conpool {

class operation {
 public:
  using handler = void (*)(operation&) noexcept;

  explicit operation(handler on_complete) noexcept : on_complete_(on_complete) {}
  ~operation() { CONPOOL_ASSERT_ENDED(owed_ == 0, "an operation was destroyed while in flight"); }
  operation(const operation&) = delete;
  operation& operator=(const operation&) = delete;

  // True until the kernel has returned every completion that it owes for this operation.
  bool in_flight() const noexcept { return owed_ != 0; }
  bool cancel_requested() const noexcept { return cancel_requested_; }
  // What the kernel returned: a count or a negative errno value. Valid in the handler and after it.
  int returned() const noexcept { return result_; }

  // From the completion's flags: whether a receive buffer holds the bytes, which one does, and
  // whether the socket had more to read.
  bool has_buffer() const noexcept { return has_buffer_; }
  std::uint16_t buffer_id() const noexcept { return buffer_id_; }
  bool socket_nonempty() const noexcept { return socket_nonempty_; }

 private:
  friend class ring;

  void started() noexcept {
    CONPOOL_ASSERT(owed_ == 0, "an operation was started twice");
    owed_ = 1;
    cancel_requested_ = false;
  }

  handler on_complete_;
  int result_ = 0;
  std::uint16_t buffer_id_ = 0;
  // How many completions the kernel still owes: the operation's own, and its cancel's if there is
  // one.
  std::uint8_t owed_ = 0;
  bool cancel_requested_ : 1 = false;
  bool has_buffer_ : 1 = false;
  bool socket_nonempty_ : 1 = false;
};

static_assert(sizeof(operation) == 16, "operations are embedded by the thousand");
static_assert(alignof(operation) >= 8, "the low three bits of its address carry the ring's tag");

}  // namespace conpool

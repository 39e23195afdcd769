// How a foreign loop learns that a turn is due because of what was done outside of one.
//
// Within a turn nothing has to be announced, because the turn's end looks at everything. Outside of
// one, a task may be spawned or woken, a timer armed, or an operation prepared, and the loop that
// sleeps on the shard's descriptor would not know. So at the end of a turn the shard gives its
// queues and timers the bell of its ring, and takes it back when the next turn begins. What is put
// there in between rings, which makes the descriptor readable. That costs one write(2) between two
// turns, and within a turn a look at a null pointer.
//
// The ring owns it; it is used on the ring's thread only.
#pragma once

#include <conpool/runtime/detail/socket_calls.h>

namespace conpool {

class turn_bell {
 public:
  // The eventfd that the loop watches; without one nobody hears the bell.
  void connect(int event_fd) noexcept { event_fd_ = event_fd; }
  void ring() noexcept {
    if (rung_ || event_fd_ < 0) return;
    rung_ = true;
    socket_calls::signal_event(event_fd_);
  }
  // A turn has begun: the next call of ring() is heard again.
  void answer() noexcept { rung_ = false; }

 private:
  int event_fd_ = -1;
  bool rung_ = false;
};

}  // namespace conpool

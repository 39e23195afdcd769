#include <conpool/pool/observer.h>

#include <conpool/pool/detail/pool_core.h>

namespace conpool {

const char* to_string(pool_event_kind kind) noexcept {
  switch (kind) {
    case pool_event_kind::created:
      return "created";
    case pool_event_kind::connected:
      return "connected";
    case pool_event_kind::connect_failed:
      return "connect failed";
    case pool_event_kind::lent:
      return "lent";
    case pool_event_kind::returned:
      return "returned";
    case pool_event_kind::closed:
      return "closed";
    case pool_event_kind::waiter_queued:
      return "waiter queued";
    case pool_event_kind::waiter_timed_out:
      return "waiter timed out";
    case pool_event_kind::waiter_cancelled:
      return "waiter cancelled";
    case pool_event_kind::queue_full:
      return "queue full";
    case pool_event_kind::breaker_opened:
      return "breaker opened";
    case pool_event_kind::breaker_closed:
      return "breaker closed";
    case pool_event_kind::ping_failed:
      return "ping failed";
    case pool_event_kind::push_kept:
      return "push kept";
    case pool_event_kind::leak_suspected:
      return "leak suspected";
    case pool_event_kind::leak_returned:
      return "leak returned";
    case pool_event_kind::endpoint_forgotten:
      return "endpoint forgotten";
  }
  return "unknown";
}

event_queue::event_queue(pool_core& core) noexcept
    : ready_node(&event_queue::deliver), core_(&core) {}

void event_queue::set(pool_observer observer) {
  observer_ = std::move(observer);
  ++generation_;
  pending_.clear();
}

void event_queue::tell(record event) noexcept {
  if (!observed()) return;
  if (pending_.size() >= pending_events_max) {
    ++dropped_;
    return;
  }
  pending_.push_back(std::move(event));
  if (queued_) return;
  queued_ = true;
  core_->add_reference();  // until it has run
  core_->home().ready().push(*this);
}

void event_queue::deliver(ready_node& node) noexcept {
  auto& self = static_cast<event_queue&>(node);
  const core_pointer keep(*self.core_);
  self.core_->drop_reference();
  self.queued_ = false;
  self.deliver_all();
}

// What the observer does may bring new events: they wait for the next node, so this ends.
void event_queue::deliver_all() noexcept {
  std::deque<record> batch = std::exchange(pending_, {});
  const std::uint64_t generation = generation_;
  // Out of its place while it runs: it may replace itself.
  pool_observer running = std::move(observer_);
  observer_ = [](const pool_event&) {
  };
  for (const record& one : batch) {
    if (generation_ != generation) return;
    const pool_event event{one.kind,   *one.peer, one.connection,
                           one.reason, one.held,  one.why ? &*one.why : nullptr,
                           one.where};
    try {
      running(event);
    } catch (...) {
      ++exceptions_;
    }
  }
  if (generation_ == generation) observer_ = std::move(running);
}

}  // namespace conpool

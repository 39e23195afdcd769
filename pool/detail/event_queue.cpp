#include <conpool/pool/detail/event_queue.h>

#include <utility>

#include <conpool/runtime/shard.h>

namespace conpool {

event_queue::event_queue(reference_counted& keep, shard& home) noexcept
    : ready_node(&event_queue::deliver), keep_(&keep), home_(&home) {}

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
  keep_->add_reference();  // until it has run
  home_->ready().push(*this);
}

void event_queue::deliver(ready_node& node) noexcept {
  auto& self = static_cast<event_queue&>(node);
  const counted_pointer keep(*self.keep_);
  self.keep_->drop_reference();
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

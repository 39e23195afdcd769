#include <conpool/pool/observer.h>

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

}  // namespace conpool

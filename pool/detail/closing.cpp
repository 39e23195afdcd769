// How connections end, one by one and all at once: closing what nobody holds, breaking off what
// somebody does, and what is due when the last of a connection is gone.
#include <conpool/pool/acquire.h>
#include <conpool/pool/detail/endpoint_pool.h>
#include <conpool/pool/detail/pool_core.h>

namespace conpool {

void endpoint_pool::close_connection(connection& unwanted, close_reason why) noexcept {
  if (unwanted.state_ == state::closing) return;
  if (unwanted.idle_hook::is_linked()) connection_list::unlink(unwanted);
  if (unwanted.state_ == state::idle) {
    --counts_.idle;
    if (batch_ != nullptr && batch_->begins) ++batch_->closed_by[static_cast<std::size_t>(why)];
  } else if (unwanted.state_ != state::connecting) {
    --counts_.active;
    if (unwanted.retiring_) --counts_.retiring;
  }
  unwanted.state_ = state::closing;
  unwanted.reason_ = why;
  ++counts_.closing;
  core_->closing_began();
  if (unwanted.managed_) managed(unwanted).life_.cancel(errc::connection_closed);
  if (unwanted.closed()) {
    connection_closed(unwanted);  // its shard was faster
  } else {
    unwanted.begin_close();
  }
}

// Closes what somebody holds: their operations end with connection_closed, and what they hold stays
// theirs until they let go of it.
void endpoint_pool::break_off(connection& held, close_reason why) noexcept {
  if ((held.conditions() & stream::closing) != 0) return;
  return_to_queue(held);  // they do not have it yet
  held.reason_ = why;
  if (held.managed_) managed(held).life_.cancel(errc::connection_closed);
  held.begin_close();
  const bool is_shared = held.managed_ && managed(held).shared_;
  if (is_shared && held.state_ == state::leased && managed(held).leases_ == 0) leave_closing(held);
}

void endpoint_pool::leave_closing(connection& left) noexcept {
  if (left.idle_hook::is_linked()) connection_list::unlink(left);
  if (left.managed_) managed(left).life_.cancel(errc::connection_closed);
  --counts_.active;
  if (left.retiring_) --counts_.retiring;
  ++counts_.closing;
  core_->closing_began();
  left.state_ = state::closing;
  if (left.closed()) connection_closed(left);
}

void endpoint_pool::connection_closed(connection& gone) noexcept {
  // What is connecting belongs to its dial, what is leased to its lease, what is serviced to that.
  if (gone.state_ != state::closing) return;
  if (gone.managed_ && managed(gone).running_) return;  // run() has still to end
  --counts_.closing;
  core_->closing_ended();
  ++counts_.closed_by[static_cast<std::size_t>(gone.reason_)];
  if (core_->observed()) {
    event_queue::record event;
    event.kind = pool_event_kind::closed;
    event.connection = gone.id();
    event.reason = gone.reason_;
    tell(std::move(event));
  }
  if (hooks_ != nullptr && hooks_->on_close != nullptr) {
    hooks_->on_close(core_->protocol(), gone, gone.reason_);
  }
  forget(gone);
}

void endpoint_pool::forget(connection& gone) noexcept {
  const core_pointer keep(*core_);
  members_.remove(gone);
  free_connection(gone);
  core_->drop_reference();  // the connection's
  core_->place_freed();
  if (shut_down_) {
    core_->look_if_quiet();
    return;
  }
  touched_ = home_->now();
  if (idle_room_ == 0) refresh();
  const auto floor = core_->config().min_idle_per_endpoint;
  if (counts_.idle < floor && refill_at_ <= touched_) {
    refill_at_ = touched_ + home_->random().up_to(core_->config().refill_jitter);
  }
  look_at_demand();
}

void endpoint_pool::close_all_idle(close_reason why) noexcept {
  while (!idle_.empty()) close_connection(idle_.back(), why);
}

void endpoint_pool::clear(bool leased_too) noexcept {
  const core_pointer keep(*core_);
  // Leased ones are recognised when they come back, connecting ones when they stand.
  ++generation_;
  close_all_idle(close_reason::cleared);
  for (auto it = members_.begin(); it != members_.end();) {
    connection& one = *it++;
    if (one.state_ == state::reserved) {
      return_to_queue(one);  // nobody has it yet, and nobody gets it
      close_connection(one, close_reason::cleared);
    } else if (leased_too && one.state_ == state::serviced) {
      end_service(one, close_reason::cleared);
    } else if (leased_too && one.state_ == state::leased) {
      break_off(one, close_reason::cleared);
    } else if (one.state_ == state::leased && one.managed_ && managed(one).shared_) {
      retire(one, close_reason::cleared);
    }
  }
}

void endpoint_pool::shut_down(errc why) noexcept {
  const core_pointer keep(*core_);
  shut_down_ = true;
  idle_room_ = 0;
  lends_ = look::closely;
  home_->timers().cancel(*this);
  home_->timers().cancel(retry_);
  const error reason = error(why, phase::acquire).about(endpoint_.text());
  for (connection& one : members_) return_to_queue(one);
  fail_waiters(reason);
  for (warm_request& one : warming_) {
    one.failure = reason;
    one.done.set();
  }
  for (auto it = members_.begin(); it != members_.end();) {
    connection& one = *it++;
    if (one.state_ == state::reserved) {
      close_connection(one, close_reason::pool_closed);
    } else if (one.state_ == state::serviced) {
      end_service(one, close_reason::pool_closed);
    } else if (one.state_ == state::leased && shares_) {
      retire(one, close_reason::pool_closed);
    }
  }
  close_all_idle(close_reason::pool_closed);
}

}  // namespace conpool

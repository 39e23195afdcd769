// Connections that carry several leases at once: what a protocol with access::shared(n) gets.
//
// A shared connection without leases is idle like any other. With leases and room for more it is
// in open_; full, or retiring, it is in neither list. The least loaded one is lent. One that
// retires takes no new leases, no longer counts as capacity, and closes after its last.
#include <conpool/pool/acquire.h>
#include <conpool/pool/detail/endpoint_pool.h>
#include <conpool/pool/detail/pool_core.h>

namespace conpool {
bool endpoint_pool::has_room(const managed_connection& one) const noexcept {
  return !one.retiring_ && one.leases_ < one.lease_limit_ && (one.conditions() & broken) == 0;
}

// Walks the connections that have room: a shared protocol needs few of them.
connection* endpoint_pool::least_loaded() noexcept {
  if (connection* const free = warmest_idle()) return free;
  managed_connection* least = nullptr;
  for (connection& candidate : open_) {
    if ((candidate.conditions() & broken) != 0) continue;
    if (least == nullptr || managed(candidate).leases_ < least->leases_) {
      least = &managed(candidate);
    }
  }
  return least;
}

// Counts one more lease, and puts the connection where it belongs.
void endpoint_pool::add_lease(managed_connection& one) noexcept {
  if (one.state_ == state::idle) {
    idle_.remove(one);
    --counts_.idle;
    ++counts_.active;
  }
  one.state_ = state::leased;
  ++one.leases_;
  ++counts_.leases;
  lease_limit_changed(one);
}

void endpoint_pool::drop_lease(managed_connection& one) noexcept {
  CONPOOL_ASSERT(one.leases_ > 0, "more leases came back than were lent");
  --one.leases_;
  --counts_.leases;
}

void endpoint_pool::lease_limit_changed(managed_connection& one) noexcept {
  if (one.state_ != state::leased) return;
  const bool belongs = one.leases_ > 0 && has_room(one);
  if (belongs && !one.idle_hook::is_linked()) {
    open_.push_back(one);
  } else if (!belongs && one.idle_hook::is_linked()) {
    connection_list::unlink(one);
  }
  if (belongs && counts_.waiting > 0) look_at_demand();
}

connection* endpoint_pool::take_shared(const std::source_location& where) noexcept {
  if (core_->paused()) return nullptr;
  if (watch_ && home_->ring().completions_pending()) home_->ring().harvest();
  if (counts_.waiting > 0) return nullptr;  // nobody passes those who wait
  while (connection* const least = least_loaded()) {
    if (!protocol_wants(*least)) {
      retire(*least, close_reason::vetoed);
      continue;
    }
    if (managed(*least).shared_) {
      add_lease(managed(*least));
      ++counts_.hits;
      counts_.reused += least->uses_++ > 0 ? 1 : 0;
    } else {
      note_reader(*least);  // its access_mode() was exclusive
      lend_idle(*least);
    }
    note_lent(*least, where);
    return least;
  }
  return nullptr;
}

void endpoint_pool::reserve_shared(managed_connection& one, acquire_waiter& first,
                                   bool existed) noexcept {
  leave_queue(first);
  add_lease(one);
  one.reserved_.push_back(first);
  first.hand(one, existed);
}

void endpoint_pool::give_back_shared(managed_connection& returned) noexcept {
  note_returned(returned);
  drop_lease(returned);
  if ((returned.conditions() & stream::closing) == 0) {
    home_->assert_owner();
    returned.last_used_ = home_->now();
    if (hooks_->on_release != nullptr && !hooks_->on_release(core_->protocol(), returned)) {
      begin_retiring(returned, close_reason::vetoed);
    }
  }
  place_shared(returned);
}

// A shared connection that is counted as active: serves waiters while it has room, or becomes idle
// if nobody has it, or is closed.
void endpoint_pool::place_shared(managed_connection& one, bool existed) noexcept {
  if ((one.conditions() & stream::closing) != 0) {
    if (one.leases_ == 0) leave_closing(one);
    return;
  }
  // One lease's error says nothing of the others, but there will be no new ones.
  const bool is_broken = (one.conditions() & broken) != 0;
  const std::optional<close_reason> why = is_broken ? reason_of(one) : unwanted(one);
  if (why) begin_retiring(one, *why);
  while (!core_->paused() && has_room(one)) {
    acquire_waiter* const first = first_waiter_for(one);
    if (first == nullptr) break;
    reserve_shared(one, *first, existed);
  }
  if (one.leases_ > 0) {
    lease_limit_changed(one);
    return;
  }
  if (why) {
    close_connection(one, *why);
    return;
  }
  if (one.idle_hook::is_linked()) connection_list::unlink(one);
  put_by(one);
}

// From now on it takes no new leases and does not count as capacity.
void endpoint_pool::begin_retiring(connection& one, close_reason why) noexcept {
  if (std::exchange(one.retiring_, true)) return;
  if ((one.conditions() & stream::closing) == 0) one.reason_ = why;
  ++counts_.retiring;
  one.mark(stream::supervised);  // it is to be looked at when it comes back
  if (one.managed_) lease_limit_changed(managed(one));
  if (!shut_down_) look_at_demand();
}

// The same, and who was chosen for it and has not been resumed gets another one. It is closed at
// once if nobody has it; that may free it.
void endpoint_pool::retire(connection& one, close_reason why) noexcept {
  if (one.state_ == state::closing || one.state_ == state::connecting) return;
  note_if_unserved(one, why);
  const bool is_shared = one.managed_ && managed(one).shared_;
  if (one.state_ == state::idle || (one.state_ == state::reserved && !is_shared)) {
    return_to_queue(one);
    close_connection(one, (one.conditions() & broken) != 0 ? reason_of(one) : why);
    return;
  }
  begin_retiring(one, why);
  return_to_queue(one);
  if (is_shared && managed(one).leases_ == 0 && one.state_ == state::leased) {
    place_shared(managed(one));
  }
}

// Whether somebody who was chosen for it may have it. If not, they are in the queue again.
bool endpoint_pool::still_good(connection& reserved) noexcept {
  if ((reserved.conditions() & broken) != 0) {
    retire(reserved, reason_of(reserved));
  } else if (!protocol_wants(reserved)) {
    retire(reserved, close_reason::vetoed);
  } else {
    note_reader(reserved);
    return true;
  }
  return false;
}

}  // namespace conpool

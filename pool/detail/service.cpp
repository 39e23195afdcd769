// The protocol's coroutines on a connection that nobody has leased: ping, cleaning after a lease,
// data that came while it was idle, and the task that lives as long as the connection.
//
// While one of them runs the connection is `serviced` and counted as active. The coroutine owns it:
// whatever closes the connection meanwhile ends its operations, and the end of the coroutine lets
// go of it. All are bounded in time but run(), which ends with its connection.
#include <conpool/pool/detail/endpoint_pool.h>

#include <vector>

#include <conpool/pool/detail/pool_core.h>
#include <conpool/runtime/deadline.h>

namespace conpool {

void endpoint_pool::begin_service(connection& one, service what) noexcept {
  if (one.state_ == state::idle) {
    idle_.remove(one);
    --counts_.idle;
    ++counts_.active;
  }
  one.state_ = state::serviced;
  if (what == service::clean) ++cleaning_;
  home_->spawn(&endpoint_pool::serve, core_pointer(*core_), std::ref(*this), std::ref(one), what);
}

task<void> endpoint_pool::serve(core_pointer keep, endpoint_pool& self, connection& one,
                                service what) {
  static_cast<void>(keep);
  bool well = false;
  try {
    // Not ?: between awaits, and one await a statement (docs/COROUTINES.md).
    result<void> done{};
    if (what == service::ping) {
      done = co_await self.ping_once(one);
    } else if (what == service::clean) {
      done = co_await self.clean_once(one);
    } else {
      done = co_await self.take_idle_data(one);
    }
    well = done.has_value();
  } catch (...) {
    well = false;  // a hook that throws counts as one that failed
  }
  self.serviced(one, what, well);
}

task<result<void>> endpoint_pool::ping_once(connection& one) {
  ++counts_.pings;
  auto round_trip = hooks_->ping(core_->protocol(), one);
  auto done = co_await with_timeout(*home_, core_->config().ping_timeout, std::move(round_trip));
  co_return std::move(done);
}

task<result<void>> endpoint_pool::clean_once(connection& one) {
  auto cleaning = hooks_->clean(core_->protocol(), one);
  auto wanted = co_await with_timeout(*home_, core_->config().release_timeout, std::move(cleaning));
  if (!wanted) co_return fail(error(errc::io_failed));
  co_return result<void>{};
}

task<result<void>> endpoint_pool::take_idle_data(connection& one) {
  constexpr std::size_t buffer_bytes = 4096;
  std::vector<std::byte> memory;
  idle_data verdict = idle_data::keep;
  constexpr std::uint32_t there = stream::has_data | stream::more_data;
  bool look_at_socket = (one.conditions() & stream::has_data) == 0;  // no buffer was free
  const auto more = [&] {
    if ((one.conditions() & stream::closing) != 0) return false;
    // What waits may be for TLS alone.
    if (one.has_codec()) return one.take_idle_input(true) == idle_input::data;
    return look_at_socket || (one.conditions() & there) != 0;
  };
  while (verdict == idle_data::keep && more()) {
    look_at_socket = false;
    if (memory.empty()) memory.resize(buffer_bytes);
    auto count = co_await one.read_some(memory, 1, core_->config().ping_timeout);
    if (!count) co_return fail(std::move(count.error()));
    if (*count == 0) co_return fail(error(errc::connection_closed));
    const std::span<const std::byte> bytes(memory.data(), *count);
    verdict = hooks_->on_idle_data(core_->protocol(), one, bytes);
  }
  if (verdict == idle_data::dirt) co_return fail(error(errc::io_failed));
  ++counts_.pushes;
  tell(pool_event_kind::push_kept, &one);
  co_return result<void>{};
}

void endpoint_pool::serviced(connection& one, service what, bool well) noexcept {
  const bool bad = !well || faults_of(one) != 0;
  if (what == service::clean) {
    --cleaning_;
    one.last_used_ = home_->now();
  } else if (what == service::ping && (one.conditions() & stream::closing) == 0) {
    pings_all_ = bad;
    if (bad) tell(pool_event_kind::ping_failed, &one);
  }
  service_over(one, bad ? std::optional(why_not(one, what)) : std::nullopt);
}

// Why a connection that was serviced is not lent again.
close_reason endpoint_pool::why_not(const connection& one, service what) const noexcept {
  if (what == service::ping) return close_reason::ping_failed;
  if ((one.conditions() & stream::failed) != 0) return reason_of(one);
  if ((one.conditions() & stream::ended) != 0) return close_reason::peer_closed;
  return what == service::idle_data ? close_reason::unexpected_data : close_reason::vetoed;
}

// The pool is done with a connection: all is well, or it is to be closed.
void endpoint_pool::service_over(connection& one, std::optional<close_reason> bad) noexcept {
  const bool closing = (one.conditions() & stream::closing) != 0;
  if (closing) bad = one.reason_;  // somebody closed it meanwhile
  if (one.checking_) check_over(one, bad);
  if (counts_.waiting > 0) look_at_demand();
  if (closing) {
    leave_closing(one);
  } else if (bad) {
    close_connection(one, *bad);
  } else {
    place(one);
  }
}

// Ends what the pool does on a connection: its coroutine, or its probe, lets go of it afterwards.
void endpoint_pool::end_service(connection& one, close_reason why) noexcept {
  if (std::exchange(one.probing_, false)) {
    service_over(one, why);
    return;
  }
  break_off(one, why);
}

// --- run(): as long as the connection

void endpoint_pool::begin_run(connection& fresh) noexcept {
  managed_connection& one = managed(fresh);
  one.running_ = true;
  one.life_.attach(&home_->root_context());
  home_->spawn(&endpoint_pool::run, core_pointer(*core_), std::ref(*this), std::ref(one));
}

task<void> endpoint_pool::run(core_pointer keep, endpoint_pool& self, managed_connection& one) {
  try {
    auto work = self.hooks_->run(keep->protocol(), one);
    co_await in_context(one.life_, std::move(work));
  } catch (...) {  // NOLINT(bugprone-empty-catch): that it has ended is what counts
  }
  one.running_ = false;
  one.life_.detach();
  if (one.state_ == state::closing) {
    if (one.closed()) self.connection_closed(one);
    co_return;
  }
  self.retire(one, close_reason::retired);
}

}  // namespace conpool

// The protocol's coroutines on a connection that nobody has leased: ping, cleaning after a lease,
// data that came while it was idle, and the task that lives as long as the connection.
//
// While one of them runs the connection is `serviced` and counted as active. The coroutine owns it:
// whatever closes the connection meanwhile ends its operations, and the end of the coroutine lets
// go of it. All are bounded in time but run(), which ends with its connection.
#include <conpool/pool/endpoint_pool.h>

#include <vector>

#include <conpool/pool/pool_core.h>
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
    // A hook that throws counts as one that failed.
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
  while (verdict == idle_data::keep && (one.conditions() & stream::closing) == 0 &&
         (look_at_socket || (one.conditions() & there) != 0)) {
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
  if (what == service::clean) --cleaning_;
  const bool closing = (one.conditions() & stream::closing) != 0;
  const std::uint32_t faults = one.conditions() & dirty_ & ~std::uint32_t{stream::supervised};
  if (what == service::ping) {
    pings_all_ = !well;
    if (!well) tell(pool_event_kind::ping_failed, &one);
    check_over(one, well && faults == 0 ? std::nullopt : std::optional(close_reason::ping_failed));
    return;
  }
  if (closing) {
    leave_closing(one);
    return;
  }
  if (what == service::clean) one.last_used_ = home_->now();
  if (!well || faults != 0) {
    close_reason why = close_reason::vetoed;
    if (what == service::idle_data) why = close_reason::unexpected_data;
    if ((one.conditions() & stream::ended) != 0) why = close_reason::peer_closed;
    if ((one.conditions() & stream::failed) != 0) why = reason_of(one);
    close_connection(one, why);
    return;
  }
  one.count_from_here();
  place(one);
}

// Ends what the pool does on a connection: its coroutine, or its probe, lets go of it afterwards.
void endpoint_pool::end_service(connection& one, close_reason why) noexcept {
  if (std::exchange(one.probing_, false)) {
    check_over(one, why);
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
  } catch (...) {
    // Its end is what counts.
  }
  one.running_ = false;
  one.life_.detach();
  if (one.state_ == state::closing) {
    if (one.closed()) self.connection_closed(one);
    co_return;
  }
  self.retire(one);
}

}  // namespace conpool

#include <conpool/pool/detail/protocol_tasks.h>

#include <functional>
#include <span>
#include <utility>
#include <vector>

#include <conpool/pool/detail/return_verdict.h>
#include <conpool/pool/protocol.h>
#include <conpool/runtime/deadline.h>

namespace conpool {

void protocol_tasks::begin(pooled_connection& one, protocol_task what) noexcept {
  if (one.stage == connection_stage::idle) idle_->take(one);
  one.stage = connection_stage::held_by_pool;
  if (what == protocol_task::clean) ++cleaning_;
  facts_->home->spawn(&protocol_tasks::work, keep_alive(*facts_->pool), std::ref(*this),
                      std::ref(one), what);
}

task<void> protocol_tasks::work(keep_alive keep, protocol_tasks& self, pooled_connection& one,
                                protocol_task what) {
  static_cast<void>(keep);
  bool well = false;
  try {
    // Not ?: between awaits, and one await a statement (docs/COROUTINES.md).
    result<void> done{};
    if (what == protocol_task::ping) {
      done = co_await self.ping(one);
    } else if (what == protocol_task::clean) {
      done = co_await self.clean(one);
    } else {
      done = co_await self.take_idle_data(one);
    }
    well = done.has_value();
  } catch (...) {
    well = false;
  }
  if (what == protocol_task::clean) --self.cleaning_;
  self.whole_->task_over(one, what, well);
}

task<result<void>> protocol_tasks::ping(pooled_connection& one) {
  ++facts_->counts.pings;
  auto round_trip = facts_->hooks()->ping(facts_->pool->protocol(), one);
  const duration within = facts_->config().ping_timeout;
  auto done = co_await with_timeout(*facts_->home, within, std::move(round_trip));
  co_return std::move(done);
}

task<result<void>> protocol_tasks::clean(pooled_connection& one) {
  auto cleaning = facts_->hooks()->clean(facts_->pool->protocol(), one);
  const duration within = facts_->config().release_timeout;
  auto wanted = co_await with_timeout(*facts_->home, within, std::move(cleaning));
  if (!wanted) co_return fail(error(errc::io_failed));
  co_return result<void>{};
}

task<result<void>> protocol_tasks::take_idle_data(pooled_connection& one) {
  constexpr std::size_t buffer_bytes = 4096;
  std::vector<std::byte> memory;
  idle_data verdict = idle_data::keep;
  constexpr std::uint32_t there = stream::has_data | stream::more_data;
  bool look_at_socket = (one.conditions() & stream::has_data) == 0;  // no buffer was free
  const auto more = [&] {
    if ((one.conditions() & stream::closing) != 0) return false;
    // What waits may be for the codec alone.
    if (one.has_codec()) return one.take_idle_input(true) == idle_input::data;
    return look_at_socket || (one.conditions() & there) != 0;
  };
  while (verdict == idle_data::keep && more()) {
    look_at_socket = false;
    if (memory.empty()) memory.resize(buffer_bytes);
    auto count = co_await one.read_some(memory, 1, facts_->config().ping_timeout);
    if (!count) co_return fail(std::move(count.error()));
    if (*count == 0) co_return fail(error(errc::connection_closed));
    const std::span<const std::byte> bytes(memory.data(), *count);
    verdict = facts_->hooks()->on_idle_data(facts_->pool->protocol(), one, bytes);
  }
  if (verdict == idle_data::dirt) co_return fail(error(errc::io_failed));
  ++facts_->counts.pushes;
  facts_->tell(pool_event_kind::push_kept, &one);
  co_return result<void>{};
}

close_reason protocol_tasks::reason_after(protocol_task what,
                                          const pooled_connection& one) noexcept {
  if (what == protocol_task::ping) return close_reason::ping_failed;
  if ((one.conditions() & stream::failed) != 0) return return_verdict::reason_of(one);
  if ((one.conditions() & stream::ended) != 0) return close_reason::peer_closed;
  return what == protocol_task::idle_data ? close_reason::unexpected_data : close_reason::vetoed;
}

void protocol_tasks::begin_run(managed_connection& one) noexcept {
  one.running = true;
  one.life.attach(&facts_->home->root_context());
  facts_->home->spawn(&protocol_tasks::run, keep_alive(*facts_->pool), std::ref(*this),
                      std::ref(one));
}

task<void> protocol_tasks::run(keep_alive keep, protocol_tasks& self, managed_connection& one) {
  try {
    auto life = self.facts_->hooks()->run(keep->protocol(), one);
    co_await in_context(one.life, std::move(life));
  } catch (...) {  // NOLINT(bugprone-empty-catch): that it has ended is what counts
  }
  one.running = false;
  one.life.detach();
  self.whole_->run_over(one);
}

}  // namespace conpool

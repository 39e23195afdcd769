#include <conpool/pool/detail/protocol_tasks.h>

#include <functional>
#include <span>
#include <utility>
#include <vector>

#include <conpool/pool/detail/return_verdict.h>
#include <conpool/pool/protocol.h>
#include <conpool/runtime/deadline.h>

namespace conpool {

namespace {

bool is_bounded(protocol_task what) noexcept {
  return what == protocol_task::clean || what == protocol_task::recover ||
         what == protocol_task::farewell;
}

}  // namespace

// --- whose turn it is

void protocol_tasks::begin(pooled_connection& one, protocol_task what) noexcept {
  if (what == protocol_task::farewell) {
    as_managed(one).leaving = true;
  } else {
    if (one.stage == connection_stage::idle) idle_->take(one);
    facts_->hold(one);
  }
  if (!is_bounded(what)) {
    start(one, what);
    return;
  }
  managed_connection& own = as_managed(one);
  if (what != protocol_task::farewell && !one.retiring && !std::exchange(own.returning, true)) {
    ++returning_;
  }
  own.due = what;
  own.queued = true;
  (what == protocol_task::farewell ? leaving_ : coming_back_).push_back(one);
  start_next();
}

void protocol_tasks::start_next() noexcept {
  const std::uint32_t most = facts_->config().max_releasing_per_endpoint;
  while (bounded_running_ < most && !(coming_back_.empty() && leaving_.empty())) {
    pooled_connection& next =
        coming_back_.empty() ? leaving_.pop_front() : coming_back_.pop_front();
    as_managed(next).queued = false;
    ++bounded_running_;
    start(next, as_managed(next).due);
  }
}

void protocol_tasks::start(pooled_connection& one, protocol_task what) noexcept {
  facts_->home->spawn(&protocol_tasks::work, keep_alive(*facts_->pool), std::ref(*this),
                      std::ref(one), what);
}

bool protocol_tasks::leave_queue(pooled_connection& one) noexcept {
  if (!one.managed || !std::exchange(as_managed(one).queued, false)) return false;
  connection_list::unlink(one);
  not_returning(one);
  return true;
}

void protocol_tasks::not_returning(pooled_connection& one) noexcept {
  if (one.managed && std::exchange(as_managed(one).returning, false)) --returning_;
}

void protocol_tasks::spare_farewells() noexcept {
  while (!leaving_.empty()) {
    pooled_connection& one = leaving_.pop_front();
    as_managed(one).queued = false;
    whole_->task_over(one, protocol_task::farewell, task_end::failed);
  }
}

void protocol_tasks::ended(pooled_connection& one, protocol_task what) noexcept {
  not_returning(one);
  if (!is_bounded(what)) return;
  --bounded_running_;
  start_next();
}

// --- what runs

task<void> protocol_tasks::work(keep_alive keep, protocol_tasks& self, pooled_connection& one,
                                protocol_task what) {
  static_cast<void>(keep);
  task_end how = task_end::failed;
  try {
    // Not ?: between awaits, and one await a statement (docs/COROUTINES.md).
    if (what == protocol_task::ping) {
      how = co_await self.ping(one);
    } else if (what == protocol_task::clean) {
      how = co_await self.clean(one);
    } else if (what == protocol_task::recover) {
      how = co_await self.recover(as_managed(one));
    } else if (what == protocol_task::farewell) {
      how = co_await self.say_farewell(one);
    } else {
      how = co_await self.take_idle_data(one);
    }
  } catch (...) {
    how = task_end::failed;
  }
  self.ended(one, what);
  self.whole_->task_over(one, what, how);
}

task<task_end> protocol_tasks::ping(pooled_connection& one) {
  ++facts_->counts.pings;
  auto round_trip = facts_->hooks()->ping(facts_->pool->protocol(), one);
  const duration within = facts_->config().ping_timeout;
  auto done = co_await with_timeout(*facts_->home, within, std::move(round_trip));
  co_return done ? task_end::well : task_end::failed;
}

task<task_end> protocol_tasks::clean(pooled_connection& one) {
  auto cleaning = facts_->hooks()->clean(facts_->pool->protocol(), one);
  const duration within = facts_->config().release_timeout;
  const time_point deadline = facts_->now() + within;
  auto wanted = co_await with_timeout(*facts_->home, within, std::move(cleaning));
  if (wanted) co_return task_end::well;
  // A hook whose time was over gives up because its round trip has failed.
  co_return facts_->now() >= deadline ? task_end::failed : task_end::refused;
}

task<task_end> protocol_tasks::recover(managed_connection& one) {
  // What the lease left behind is the protocol's to deal with.
  one.clear(stream::interrupted | stream::wrote_last);
  auto saving = facts_->hooks()->recover(facts_->pool->protocol(), one, one.lost_for);
  const duration within = facts_->config().release_timeout;
  auto saved = co_await with_timeout(*facts_->home, within, std::move(saving));
  co_return saved ? task_end::well : task_end::refused;
}

task<task_end> protocol_tasks::say_farewell(pooled_connection& one) {
  auto last_words = facts_->hooks()->farewell(facts_->pool->protocol(), one);
  const duration within = facts_->config().release_timeout;
  co_await with_timeout(*facts_->home, within, std::move(last_words));
  co_return task_end::well;
}

task<task_end> protocol_tasks::take_idle_data(pooled_connection& one) {
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
    if (!count || *count == 0) co_return task_end::failed;
    const std::span<const std::byte> bytes(memory.data(), *count);
    verdict = facts_->hooks()->on_idle_data(facts_->pool->protocol(), one, bytes);
  }
  if (verdict == idle_data::dirt) co_return task_end::refused;
  ++facts_->counts.pushes;
  facts_->tell(pool_event_kind::push_kept, &one);
  co_return task_end::well;
}

close_reason protocol_tasks::reason_after(protocol_task what, task_end how,
                                          const pooled_connection& one) noexcept {
  if (what == protocol_task::ping) return close_reason::ping_failed;
  if ((one.conditions() & stream::failed) != 0) return return_verdict::reason_of(one);
  if ((one.conditions() & stream::ended) != 0) return close_reason::peer_closed;
  if (what == protocol_task::recover) return as_managed(one).lost_for;
  if (what == protocol_task::idle_data) return close_reason::unexpected_data;
  return how == task_end::failed ? close_reason::cleaning_failed : close_reason::vetoed;
}

// --- saving what a lease left in the middle of something

bool protocol_tasks::can_recover(const pooled_connection& one, close_reason reason) const noexcept {
  const bool left_something = reason == close_reason::interrupted ||
                              reason == close_reason::unanswered ||
                              reason == close_reason::unread_data;
  return left_something && facts_->hooks() != nullptr && facts_->hooks()->recover != nullptr &&
         !return_verdict::is_broken(one) && !one.retiring && !facts_->shut_down;
}

void protocol_tasks::begin_recovery(managed_connection& one, close_reason reason) noexcept {
  one.lost_for = reason;
  begin(one, protocol_task::recover);
}

// --- run()

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

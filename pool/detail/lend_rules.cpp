#include <conpool/pool/detail/lend_rules.h>

namespace conpool {

void lend_rules::refresh(const endpoint_facts& facts) noexcept {
  const pool_config& config = facts.config();
  const pool_facts& pool = *facts.pool;
  const protocol_hooks* const hooks = facts.hooks();
  const validation_policy policy = config.validation;
  const bool asks_first = policy == validation_policy::probe || policy == validation_policy::ping;

  shares = hooks != nullptr && hooks->access_mode != nullptr;
  watch = policy != validation_policy::none;
  detects_leaks = config.leak_threshold > duration::zero();
  lends = watch ? look::at_completions : look::not_at_all;
  nobody_passes = nobody_passes && facts.counts.waiting > 0;
  if (asks_first || pool.paused() || pool.observed() || detects_leaks || nobody_passes ||
      (hooks != nullptr && hooks->on_each_lend())) {
    lends = look::closely;
  }
  supervised = config.max_connection_uses != 0 || detects_leaks || pool.observed() ||
               (hooks != nullptr && hooks->on_each_return());
  dirty = config.reuse_unanswered ? ~std::uint32_t{stream::wrote_last} : ~0U;

  floor = config.min_idle_per_endpoint;
  idle_room = config.idle_limit();
  // Above the floor each return may make the coldest connection due.
  if (config.min_idle_per_endpoint > 0) idle_room = config.min_idle_per_endpoint;
  if (facts.shut_down || pool.cap().in_shortage() || pool.cap().over_limit() ||
      facts.standing() > config.max_connections_per_endpoint) {
    idle_room = 0;
  }
  if (idle_room > 0 && whose != nullptr) facts.pool->cap().returns_are_quick(*whose);
}

}  // namespace conpool

// The whole of a pool: its endpoints, and what steers all of them.
//
// Internal. A `pool` is a handle to it, so a pool may be destroyed while connections are leased or
// the kernel still holds operations: the core lives until the last handle, lease and connect are
// gone. Everything is on one shard, or after the shard's end on whichever thread drops the last
// lease.
#pragma once

#include <memory>
#include <unordered_map>

#include <conpool/pool/config.h>
#include <conpool/pool/detail/counted.h>
#include <conpool/pool/detail/endpoint_pool.h>
#include <conpool/pool/detail/pool_facts.h>
#include <conpool/pool/endpoint.h>
#include <conpool/pool/observer.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/event.h>
#include <conpool/runtime/shard.h>

namespace conpool {

class CONPOOL_API pool_core final : public pool_facts, private stop_hook {
 public:
  pool_core(shard& home, const pool_config& config, const protocol_hooks* hooks,
            std::shared_ptr<void> protocol);

  using endpoint_map = std::unordered_map<endpoint, std::unique_ptr<endpoint_pool>>;
  endpoint_pool& at(const endpoint& to);
  endpoint_pool* find(const endpoint& to) noexcept;
  endpoint_map& endpoints() noexcept { return endpoints_; }
  const endpoint_map& endpoints() const noexcept { return endpoints_; }
  pool_stats totals() const;

  void reconfigure(const pool_config& config) noexcept;
  // A configuration of its own for one endpoint, known or not; none takes it away.
  void configure(const endpoint& to, const pool_config* own);
  void pause(while_paused policy) noexcept;
  void resume() noexcept;
  void observe(pool_observer observer);

  // Lends no more; idempotent. Leased connections are closed when they come back.
  void shut_down(errc why) noexcept;
  // Set when the pool is shut down and only leased connections are left.
  event& quiet() noexcept { return quiet_; }
  // Set when it is shut down and nothing is left.
  event& empty() noexcept { return empty_; }

 private:
  ~pool_core() override;

  void look_if_quiet() noexcept override;
  void forget(const endpoint& unused) noexcept override;
  static void shard_stops(stop_hook& hook) noexcept;
  void refresh_all() noexcept;

  event quiet_;
  event empty_;
  endpoint_map endpoints_;
  endpoint_map::iterator not_quiet_;  // once shut down: those before it are quiet
  pool_counts forgotten_;             // what endpoints had counted that are gone
  bool all_shut_down_ = false;        // each endpoint, too
};

using core_pointer = counted_pointer<pool_core>;

}  // namespace conpool

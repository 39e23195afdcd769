// What a pool, its leases and its connects share: lives until the last of them is gone.
//
// Internal. A `pool` is a handle to it, so a pool may be destroyed while connections are leased or
// the kernel still holds operations. Counted without atomics: everything is on one shard, or after
// the shard's end on whichever thread drops the last lease.
//
// It holds what is of the whole pool: the endpoints, the configuration, the protocol, the observer,
// the pause, and the cap over all endpoints. At that cap an endpoint whose callers need a connect
// stands in line with the others; each place that becomes free goes to the one whose first caller
// came first, and an endpoint that cannot use it (its own limit, its backoff) holds up nobody.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include <conpool/pool/config.h>
#include <conpool/pool/detail/endpoint_pool.h>
#include <conpool/pool/endpoint.h>
#include <conpool/pool/observer.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/detail/context.h>
#include <conpool/runtime/event.h>
#include <conpool/runtime/shard.h>

namespace conpool {

// What an acquire does while the pool is paused.
enum class while_paused : std::uint8_t { wait, fail };

class pool_core : private stop_hook {
 public:
  pool_core(shard& home, const pool_config& config, const protocol_hooks* hooks,
            std::shared_ptr<void> protocol);
  ~pool_core();

  shard& home() const noexcept { return *home_; }
  const pool_config& config() const noexcept { return config_; }
  void reconfigure(const pool_config& config) noexcept;
  const io_timeouts& timeouts() const noexcept { return timeouts_; }
  const socket_options& sockets() const noexcept { return sockets_; }
  context& dial_context() noexcept { return dial_context_; }
  std::uint64_t next_connection_id() noexcept { return ++last_connection_id_; }
  std::uint64_t next_ticket() noexcept { return ++last_ticket_; }
  const protocol_hooks* hooks() const noexcept { return hooks_; }
  void* protocol() const noexcept { return protocol_.get(); }

  using endpoint_map = std::unordered_map<endpoint, std::unique_ptr<endpoint_pool>>;
  endpoint_pool& at(const endpoint& to);
  endpoint_pool* find(const endpoint& to) noexcept;
  endpoint_map& endpoints() noexcept { return endpoints_; }
  const endpoint_map& endpoints() const noexcept { return endpoints_; }
  // Gives back all that an unused endpoint has; its counts stay in the totals.
  void forget(endpoint_pool& unused) noexcept;
  pool_stats totals() const;

  bool closed() const noexcept { return closed_ != errc{}; }
  errc closed_because() const noexcept { return closed_; }
  // Lends no more; idempotent. Leased connections are closed when they come back.
  void shut_down(errc why) noexcept;
  // Set when the pool is shut down and only leased connections are left.
  event& quiet() noexcept { return quiet_; }
  // Set when it is shut down and nothing is left.
  event& empty() noexcept { return empty_; }
  void look_if_quiet() noexcept;

  void pause(while_paused policy) noexcept;
  void resume() noexcept;
  bool paused() const noexcept { return paused_; }
  bool pause_fails() const noexcept { return pause_policy_ == while_paused::fail; }

  void observe(pool_observer observer);
  bool observed() const noexcept { return events_.observed() && closed_ != errc::shard_stopped; }
  void tell(event_queue::record event) noexcept { events_.tell(std::move(event)); }

  // --- The cap over all endpoints.
  // Whether `asking` may open one more. If not and `for_callers`, it stands in line from now on,
  // and the coldest idle connection of another endpoint is closed. If not and only its floor or a
  // warm() asks, it is told of a place that nobody in line can use.
  bool may_open(endpoint_pool& asking, bool for_callers) noexcept;
  void opened() noexcept { ++connections_; }
  // A connection is gone, or a connect has failed.
  void place_freed() noexcept;
  void closing_began() noexcept { ++closing_; }
  void closing_ended() noexcept { --closing_; }
  // An endpoint has looked at its demand: if it can use no place now, the next in line may.
  void demand_looked_at(endpoint_pool& looked) noexcept;
  bool in_shortage() const noexcept { return shortage_; }
  // Whether `giver` should close a connection because another endpoint stands in line for its
  // place, with a caller who came before ticket `own_next`; if so, it is counted as on its way.
  bool claim_place_of(const endpoint_pool& giver, std::uint64_t own_next) noexcept;
  bool over_limit() const noexcept {
    return config_.max_connections != 0 && connections_ - closing_ > config_.max_connections;
  }
  // Closes the idle connection that was unused longest; false if there is none.
  bool evict_coldest(const endpoint_pool* but_of,
                     close_reason why = close_reason::evicted) noexcept;
  std::size_t connections() const noexcept { return connections_; }

  void add_reference() noexcept { ++references_; }
  void drop_reference() noexcept {
    if (--references_ == 0) delete this;
  }

 private:
  using line = intrusive_list<endpoint_pool, list_hook<shortage_tag>>;
  using floor_line = intrusive_list<endpoint_pool, list_hook<floor_tag>>;

  static void shard_stops(stop_hook& hook) noexcept;
  void apply_config() noexcept;
  void refresh_all() noexcept;
  endpoint_pool* next_in_line() noexcept;
  void offer_place() noexcept;
  std::size_t line_length() const noexcept;
  void leave_line(endpoint_pool& one) noexcept;
  void set_shortage(bool there_is) noexcept;
  bool has_place() const noexcept {
    return config_.max_connections == 0 || connections_ < config_.max_connections;
  }

  shard* home_;
  pool_config config_;
  io_timeouts timeouts_;
  socket_options sockets_;
  const protocol_hooks* hooks_;
  std::shared_ptr<void> protocol_;
  context dial_context_;
  event quiet_;
  event empty_;
  event_queue events_;
  endpoint_map endpoints_;
  endpoint_map::iterator not_quiet_;  // once shut down: those before it are quiet
  line in_line_;
  floor_line below_floor_;  // for a floor or a warm(): they get what nobody in line needs
  pool_counts forgotten_;   // what endpoints had counted that are gone
  std::uint64_t last_connection_id_ = 0;
  std::uint64_t last_ticket_ = 0;
  std::size_t connections_ = 0;  // connecting, idle, active and closing, over all endpoints
  std::size_t closing_ = 0;      // of these
  std::size_t evicting_ = 0;     // closed for somebody in line, and not gone yet
  std::size_t references_ = 0;
  errc closed_{};
  bool all_shut_down_ = false;  // each endpoint, too
  bool paused_ = false;
  bool shortage_ = false;
  while_paused pause_policy_ = while_paused::wait;
};

class core_pointer {
 public:
  core_pointer() noexcept = default;
  explicit core_pointer(pool_core& core) noexcept : core_(&core) { core.add_reference(); }
  core_pointer(const core_pointer& other) noexcept : core_(other.core_) {
    if (core_ != nullptr) core_->add_reference();
  }
  core_pointer(core_pointer&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
  core_pointer& operator=(core_pointer other) noexcept {
    std::swap(core_, other.core_);
    return *this;
  }
  ~core_pointer() {
    if (core_ != nullptr) core_->drop_reference();
  }
  pool_core* operator->() const noexcept { return core_; }
  pool_core& operator*() const noexcept { return *core_; }
  explicit operator bool() const noexcept { return core_ != nullptr; }

 private:
  pool_core* core_ = nullptr;
};

}  // namespace conpool

// A pool of connections on one shard: keeps them open and lends them out.
//
//   auto backends = pool::create(home).value();
//   auto redis = endpoint::parse("tcp://127.0.0.1:6379").value();
//
//   auto lease = co_await backends.acquire(redis);
//   if (!lease) co_return fail(lease.error());
//   auto sent = co_await (*lease)->write("PING\r\n");
//
// Belongs to one shard and is used on its thread only; for all shards of a runtime see sharded.h.
// It holds a pool of connections for each endpoint, made at first use. An acquire that finds an
// idle connection takes no system call, lock, allocation or suspension, the check that the
// connection is alive included.
//
// Destroying a pool closes what is idle and fails who waits; it returns at once. Leases may outlive
// it. When its shard stops, the pool is closed with errc::shard_stopped.
#pragma once

#include <optional>
#include <type_traits>
#include <vector>

#include <conpool/pool/acquire.h>
#include <conpool/pool/config.h>
#include <conpool/pool/connection.h>
#include <conpool/pool/endpoint.h>
#include <conpool/pool/lease.h>
#include <conpool/pool/pool_core.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/shard.h>
#include <conpool/runtime/task.h>

namespace conpool {

// An endpoint resolved to its place in one pool: acquiring through it costs no look-up. Copyable;
// keeps the pool's memory alive, not the pool open. Used on the pool's shard only.
class endpoint_handle {
 public:
  const endpoint& peer() const noexcept { return place_->peer(); }

 private:
  friend class pool;
  endpoint_handle(pool_core& core, endpoint_pool& place) noexcept : core_(core), place_(&place) {}
  core_pointer core_;
  endpoint_pool* place_;
};

class pool {
 public:
  // On the shard's thread. Errors: invalid_config, naming field and value.
  static result<pool> create(shard& home, const pool_config& config = {});
  pool(pool&&) noexcept = default;
  pool& operator=(pool&& other) noexcept;
  ~pool();

  shard& home() const noexcept { return core_->home(); }
  const pool_config& config() const noexcept { return core_->config(); }

  // Lends a connection. result<lease>; errors: acquire_timeout (after config's acquire_timeout, or
  // `timeout`), connect_failed, connect_timeout, resolve_failed, resolve_timeout, too_many_files,
  // queue_full, pool_closed, cancelled, deadline_exceeded, shard_stopped, unsupported (tls:// in a
  // build or version without it). The pool must outlive the call, not the lease.
  acquire_awaiter acquire(const endpoint& to);
  acquire_awaiter acquire(const endpoint& to, duration timeout);
  acquire_awaiter acquire(const endpoint_handle& to) noexcept {
    return acquire_awaiter(*to.place_, duration::zero());
  }
  acquire_awaiter acquire(const endpoint_handle& to, duration timeout) noexcept {
    return acquire_awaiter(*to.place_, timeout);
  }
  endpoint_handle handle(const endpoint& to) { return endpoint_handle(*core_, core_->at(to)); }

  // Acquires, runs function(connection&), a task<result<T>>, and releases. If the function fails or
  // throws, the connection is discarded: what was left on it is not known.
  template <typename F>
  auto with_connection(endpoint to, F function)
      -> task<typename std::invoke_result_t<F&, connection&>::value_type>;

  // Counts of one endpoint; nothing if the pool was never asked for it.
  std::optional<endpoint_stats> stats(const endpoint& to) const;
  std::vector<endpoint_stats> all_stats() const;
  // Everything summed up.
  pool_stats totals() const;

  // Idle connections are closed now, leased ones when they come back, those that are connecting as
  // soon as they stand. Callers that wait stay, and get new connections.
  void clear(const endpoint& to) noexcept;
  void clear_all() noexcept;

  class close_awaiter;
  // Lends no more: callers that wait get pool_closed, idle connections are closed, connects are
  // cancelled. Returns when that is done; connections still leased are closed when they come back.
  // result<void>: cancelled and the like if the wait was ended early. Idempotent.
  close_awaiter close();
  bool closed() const noexcept { return core_->closed(); }

 private:
  explicit pool(pool_core& core) noexcept : core_(core) {}

  core_pointer core_;
};

class pool::close_awaiter : public event::awaiter {
 public:
  explicit close_awaiter(core_pointer core) noexcept
      : event::awaiter(core->quiet()), core_(std::move(core)) {}

 private:
  core_pointer core_;
};

template <typename F>
auto pool::with_connection(endpoint to, F function)
    -> task<typename std::invoke_result_t<F&, connection&>::value_type> {
  auto taken = co_await acquire(to);
  if (!taken) co_return fail(std::move(taken.error()));
  lease held = std::move(*taken);
  // Until the function has returned a value the connection counts as unusable.
  held->mark(stream::discarded);
  auto body = function(*held);
  auto outcome = co_await body;
  if (outcome) held->clear(stream::discarded);
  co_return std::move(outcome);
}

}  // namespace conpool

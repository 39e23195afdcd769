// A pool keeps connections open on one shard and lends them out.
//
//   auto backends = pool::create(home).value();
//   auto redis = endpoint::parse("tcp://127.0.0.1:6379").value();
//
//   auto lease = co_await backends.acquire(redis);
//   if (!lease) co_return fail(lease.error());
//   auto sent = co_await (*lease)->write("PING\r\n");
//
// A pool belongs to one shard and is used on its thread only; sharded.h has one for each shard of a
// runtime. It keeps the connections of each endpoint apart and learns of an endpoint at its first
// use. An acquire that finds an idle connection takes no system call, lock, allocation or
// suspension, and that includes the check that the connection is alive. Only for a connection that
// came back in this very turn, or got a push that was kept, that check is a system call
// (detail/connection_watch.h).
//
// Destroying a pool closes idle connections and fails waiting callers; it returns at once. Leases
// may outlive it. When its shard stops, the pool is closed with errc::shard_stopped. To end without
// cutting anybody short, drain() it.
//
// To teach the pool a protocol, see protocol.h.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <conpool/pool/acquire.h>
#include <conpool/pool/config.h>
#include <conpool/pool/connection.h>
#include <conpool/pool/detail/pool_core.h>
#include <conpool/pool/endpoint.h>
#include <conpool/pool/lease.h>
#include <conpool/pool/observer.h>
#include <conpool/pool/protocol.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/detail/compiler_bugs.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/shard.h>
#include <conpool/runtime/task.h>

namespace conpool {

// An endpoint that was looked up in one pool: acquiring through a handle costs no look-up, and the
// pool does not forget the endpoint while a handle exists. Handles can be copied. They keep the
// pool's memory alive, but not the pool open. Used on the pool's shard only.
class endpoint_handle {
 public:
  endpoint_handle(const endpoint_handle& other) noexcept : core_(other.core_), at_(other.at_) {
    at_->add_handle();
  }
  endpoint_handle& operator=(endpoint_handle other) noexcept {
    std::swap(core_, other.core_);
    std::swap(at_, other.at_);
    return *this;
  }
  ~endpoint_handle() { at_->drop_handle(); }

  const endpoint& peer() const noexcept { return at_->facts().peer; }

 private:
  friend class pool;
  endpoint_handle(pool_core& core, endpoint_pool& at) noexcept : core_(core), at_(&at) {
    at_->add_handle();
  }
  core_pointer core_;
  endpoint_pool* at_;
};

// What clear() does with connections that are leased.
enum class leased : std::uint8_t {
  keep,       // they are closed when they come back
  break_off,  // closed now: reads and writes under way end with connection_closed
};

// A lease that was still out at drain()'s deadline: its connection was closed under its holder.
struct forced_lease {
  std::string endpoint;
  std::uint64_t connection = 0;  // its id()
  // Known with the leak detector on (leak_threshold).
  duration held{0};
  std::source_location where{};
};

struct drain_report {
  std::uint64_t waiters_failed = 0;  // callers who waited when it began
  std::uint64_t returned = 0;        // connections that came back in time
  std::vector<forced_lease> forced;  // and those that did not
};

// What validate() found among the idle connections.
struct validation_report {
  std::uint64_t checked = 0;
  std::uint64_t alive = 0;
  std::array<std::uint64_t, close_reasons> closed_by{};  // the others, by close_reason

  std::uint64_t closed(close_reason why) const noexcept {
    return closed_by[static_cast<std::size_t>(why)];
  }
};

namespace detail {

// Discards its lease at the end, however that comes, unless it is known to be good.
struct discarding_lease {
  explicit discarding_lease(lease held) noexcept : taken(std::move(held)) {}
  discarding_lease(const discarding_lease&) = delete;
  discarding_lease& operator=(const discarding_lease&) = delete;
  ~discarding_lease() {
    if (!is_good) taken.discard();
  }
  lease taken;
  bool is_good = false;
};

}  // namespace detail

class CONPOOL_API pool {
 public:
  // To be called on the shard's thread. Errors: invalid_config, which names the field and its
  // value; shard_stopped.
  static result<pool> create(shard& home, const pool_config& config = {});
  // The same with a protocol (protocol.h). The pool owns `speaks` from now on.
  template <protocol P>
  static result<pool> create(shard& home, const pool_config& config, P speaks);
  pool(pool&&) noexcept = default;
  pool& operator=(pool&& other) noexcept;
  ~pool();

  shard& home() const noexcept { return core_->home(); }
  // The protocol object that the pool was made with; it lives until the pool and the last of its
  // leases are gone. Precondition: it is a P, which is asserted in builds without NDEBUG.
  template <protocol P>
  P& protocol_object() const noexcept {
    CONPOOL_ASSERT(core_->hooks() != nullptr && core_->hooks()->is_of(detail::type_of<P>()),
                   "the pool has another protocol");
    return *static_cast<P*>(core_->protocol());
  }
  const pool_config& config() const noexcept { return core_->config(); }
  // What holds for this endpoint; valid until its configuration is changed.
  const pool_config& config(const endpoint& to) const noexcept { return core_->config_of(to); }

  // --- Lending. Awaiting it gives a result<lease>. Errors: acquire_timeout (its text says what the
  // caller waited for, the counts and the last failed connect), connect_failed, connect_timeout,
  // resolve_failed, resolve_timeout, too_many_files, queue_full, breaker_open, pool_paused,
  // pool_closed, none_idle (try_only), cancelled, deadline_exceeded, shard_stopped, unsupported
  // (tls:// in a build without TLS), out_of_memory, those of a TLS handshake, and whatever the
  // protocol's on_connect said. error::is_permanent() tells a refusal that will not pass by itself.
  // While a connection stands no failed connect fails a caller. Await what it returns in the
  // same statement. The pool must outlive the call, but not the lease. The leak detector reports
  // `where`.
  using location = std::source_location;
  acquire_awaiter acquire(const endpoint& to, location where = location::current()) {
    return acquire(to, duration::zero(), where);
  }
  acquire_awaiter acquire(const endpoint& to, duration timeout,
                          location where = location::current());
  acquire_awaiter acquire(const endpoint& to, const acquire_options& options,
                          location where = location::current());
  acquire_awaiter acquire(const endpoint_handle& to,
                          location where = location::current()) noexcept {
    return acquire_awaiter(*to.at_, duration::zero(), where);
  }
  acquire_awaiter acquire(const endpoint_handle& to, duration timeout,
                          location where = location::current()) noexcept {
    return acquire_awaiter(*to.at_, timeout, where);
  }
  acquire_awaiter acquire(const endpoint_handle& to, const acquire_options& options,
                          location where = location::current()) noexcept {
    return acquire_awaiter(*to.at_, options, where);
  }
  endpoint_handle handle(const endpoint& to) { return endpoint_handle(*core_, core_->at(to)); }

  // Acquires a connection, runs function(connection&), a task<result<T>>, and releases it. If the
  // function fails or throws, the lease is discarded, since nobody knows what was left on its
  // connection; others who share that keep theirs. The function is copied or moved, and kept until
  // its task has ended. Awaited in the same statement, a lambda may capture by reference what lives
  // there; g++ 12 refuses a temporary one with captures that own something
  // (detail/compiler_bugs.h).
  template <typename F>
  auto with_connection(endpoint to, F&& function, location where = location::current())
      -> task<typename std::invoke_result_t<std::decay_t<F>&, connection&>::value_type>;

  // --- Before and beside the load.
  // Opens connections until `count` of them stand, idle or leased, and waits for that for at most
  // `within` (0 is the pool's acquire_timeout). Errors: that of the first connect that failed;
  // deadline_exceeded; invalid_argument if `count` is above max_connections_per_endpoint, or above
  // what max_idle_per_endpoint lets stand; pool_closed.
  task<result<void>> warm(endpoint to, std::uint32_t count, duration within = duration::zero());
  // Checks all idle connections in one batch: by the protocol's ping if it has one, by a peek under
  // validation_policy::probe, otherwise by what the posted receives have reported. Dead ones are
  // closed. Errors: pool_closed; cancelled and the like, and then the checks go on without this.
  task<result<validation_report>> validate(endpoint to);
  task<result<validation_report>> validate_all();
  // Makes a connected stream socket an idle connection to `to`, about which you say what you know.
  // On success the pool owns the descriptor; after an error it stays yours. Errors:
  // invalid_argument if it is no connected socket or a time is negative, queue_full at the limits,
  // connection_closed or connection_reset if its peer has ended it already, unsolicited_data if
  // bytes wait on it that nobody asked for, unsupported for tls://, out_of_memory.
  result<void> adopt(const endpoint& to, int fd, const adopt_options& known = {});

  // --- Steering.
  // Closes idle connections now, those that are connecting as soon as they stand, and leased ones
  // as `what` says. Waiting callers go on waiting and get new connections. It takes time in
  // proportion to the connections of the endpoint.
  void clear(const endpoint& to, leased what = leased::keep) noexcept;
  void clear_all(leased what = leased::keep) noexcept;
  // Lends nothing and begins no connect until resume(); connections that come back become idle.
  // Callers wait, up to their deadlines, or fail with pool_paused, as `policy` says.
  void pause(while_paused policy = while_paused::wait) noexcept { core_->pause(policy); }
  void resume() noexcept { core_->resume(); }
  bool paused() const noexcept { return core_->paused(); }
  // Uses another configuration from now on. A limit that grows serves callers at once; one that
  // shrinks closes idle connections above it now and leased ones when they come back. Times hold
  // for what begins after this, socket options for new connections. Errors: invalid_config, and
  // then nothing has changed.
  result<void> reconfigure(const pool_config& config);
  // Gives one endpoint a configuration of its own, which holds for it instead of the pool's, also
  // before its first use and after it was forgotten. It is whole: begin with config(to), and change
  // what is different. reconfigure() does not change it. max_connections is the pool's, whatever it
  // says there. What a change does is said at reconfigure(). Errors: invalid_config, pool_closed,
  // and unsupported, and then nothing has changed.
  result<void> configure(const endpoint& to, const pool_config& own);
  // From now on the pool's configuration holds for it again.
  void configure_as_pool(const endpoint& to) { core_->configure(to, nullptr); }
  // Tells `observer` what happens from now on; see observer.h. An empty function ends it.
  void observe(pool_observer observer) { core_->observe(std::move(observer)); }

  // --- Looking. The counts of one endpoint; nothing if the pool does not know it (any more).
  std::optional<endpoint_stats> stats(const endpoint& to) const;
  std::vector<endpoint_stats> all_stats() const;
  // The sums over all endpoints, including those that were forgotten.
  pool_stats totals() const { return core_->totals(); }

  // --- Ending.
  class close_awaiter;
  // Lends no more: waiting callers get pool_closed, idle connections are closed, connects are
  // cancelled. It returns when that is done; connections that are still leased are closed when they
  // come back. Errors: cancelled and the like if the wait was ended early. Idempotent.
  close_awaiter close();
  // Does the same, then waits up to `within` for the leases. A connection that is still leased then
  // is closed under its holder, whose reads and writes end with connection_closed. Errors:
  // cancelled and the like, and then nothing was forced.
  task<result<drain_report>> drain(duration within);
  bool closed() const noexcept { return core_->closed(); }

 private:
  explicit pool(pool_core& core) noexcept : core_(core) {}
  static result<pool> create_with(shard& home, const pool_config& config,
                                  const protocol_hooks* hooks, std::shared_ptr<void> speaks);
  std::optional<error> refusal(const endpoint& to) const;
  static task<result<validation_report>> validate_in(core_pointer core, endpoint to);
  static task<void> validate_into(core_pointer core, endpoint to, result<validation_report>* into);
  static forced_lease describe(const pooled_connection& forced);

  core_pointer core_;
};

class pool::close_awaiter : public event::awaiter {
 public:
  explicit close_awaiter(core_pointer core) noexcept
      : event::awaiter(core->quiet()), core_(std::move(core)) {}

 private:
  core_pointer core_;
};

template <protocol P>
result<pool> pool::create(shard& home, const pool_config& config, P speaks) {
  return create_with(home, config, &detail::hooks_of<P>, std::make_shared<P>(std::move(speaks)));
}

namespace detail {

template <typename F>
auto use_connection(pool& from, endpoint to, F function, std::source_location where)
    -> task<typename std::invoke_result_t<F&, connection&>::value_type> {
  auto taken = co_await from.acquire(to, where);
  if (!taken) co_return fail(std::move(taken.error()));
  discarding_lease held{std::move(*taken)};
  auto body = function(*held.taken);
  auto outcome = co_await body;
  held.is_good = outcome.has_value();
  co_return std::move(outcome);
}

}  // namespace detail

template <typename F>
auto pool::with_connection(endpoint to, F&& function, location where)
    -> task<typename std::invoke_result_t<std::decay_t<F>&, connection&>::value_type> {
  detail::check_beside_co_await<F>();
  return detail::use_connection<std::decay_t<F>>(*this, std::move(to), std::forward<F>(function),
                                                 where);
}

}  // namespace conpool

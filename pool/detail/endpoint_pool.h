// The connections of one endpoint on one shard: the hit path, the idle watch, the waiters, dialing.
//
// Internal to the pool; users see `pool` and `endpoint_handle`. Owned by pool_core, used on its
// shard only.
//
//   acquire: take_idle() -- a hit: no system call, allocation, suspension or clock read
//            else the caller waits in strict FIFO order, and a connect is begun if the limits allow
//   release: give_back() -- to the first waiter, or on top of the idle stack (LIFO: warmest first)
//
// Each idle connection has a receive posted. Its completion is the end of the stream, a reset, or
// bytes that nobody asked for: the connection is closed and counted at once. take_idle() first
// looks at two words of memory that say whether completions are pending, and reaps them only then;
// so a connection known to be dead is never lent, and the look sees what recv(MSG_PEEK) would.
//
// Late binding: a waiter takes whatever comes first, a connection given back or a new one; the
// other becomes idle. Connects belong to the pool: a caller that gives up does not end its connect.
//
// What not every pool needs costs nothing on a hit: a pool that has to look closer at each lend
// (protocol hooks, probes, pings, use counts, an observer, leak detection, a pause) sets lends_ to
// `closely`, and marks its connections `supervised`, so that their return takes the slow way, too.
//
// The parts, each a file: endpoint_pool.cpp lending, taking back; closing.cpp; waiting.cpp the
// queue; demand.cpp when to dial; dial.cpp dialing; secure.cpp TLS; coded.cpp what arrives through
// it; upkeep.cpp what time brings; service.cpp the protocol's coroutines; checks.cpp probes and
// pings; shared.cpp connections with several leases.
#pragma once

#include <array>
#include <cstdint>
#include <iterator>
#include <optional>
#include <source_location>
#include <span>
#include <string>

#include <conpool/pool/config.h>
#include <conpool/pool/connection.h>
#include <conpool/pool/detail/connect_gate.h>
#include <conpool/pool/endpoint.h>
#include <conpool/pool/observer.h>
#include <conpool/pool/protocol.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/address.h>
#include <conpool/runtime/detail/intrusive_list.h>
#include <conpool/runtime/detail/timers.h>
#include <conpool/runtime/event.h>
#include <conpool/runtime/shard.h>
#include <conpool/runtime/socket.h>
#include <conpool/runtime/task.h>

namespace conpool {

class acquire_waiter;
class core_pointer;
class pool_core;
struct validation_report;

// Somebody waits until so many connections of an endpoint stand. Lives in the waiter's frame.
struct warm_request : list_hook<warm_request> {
  warm_request(shard& home, std::uint32_t count) noexcept : wanted(count), done(home) {}
  std::uint32_t wanted;
  std::optional<error> failure;
  event done;
};

// A run of checks that somebody waits for; see pool::validate().
struct check_batch {
  explicit check_batch(shard& home) noexcept : done(home) {}
  bool begins = true;  // what was told before anything is asked is being counted
  std::uint32_t pending = 0;
  std::uint32_t checked = 0;
  std::uint32_t alive = 0;
  std::array<std::uint64_t, close_reasons> closed_by{};
  event done;
};

struct shortage_tag {};
struct floor_tag {};

class endpoint_pool : private timer_node,
                      private ready_node,
                      public list_hook<shortage_tag>,
                      public list_hook<floor_tag> {
 public:
  endpoint_pool(pool_core& core, const endpoint& to);
  ~endpoint_pool();

  const endpoint& peer() const noexcept { return endpoint_; }
  pool_core& core() const noexcept { return *core_; }
  shard& home() const noexcept { return *home_; }
  endpoint_stats stats() const;
  const pool_counts& counts() const noexcept { return counts_; }

  // The hit path. Null if no idle connection is alive, or a closer look has to wait.
  connection* take_idle(const std::source_location& where) noexcept {
    home_->assert_owner();
    if (idle_.empty()) return take_without_idle(where);
    if (lends_ == look::at_completions) [[likely]] {
      if (home_->ring().completions_pending()) [[unlikely]]
        return take_idle_slowly(where);
    } else if (lends_ == look::closely) {
      return take_idle_slowly(where);
    }
    connection& taken = idle_.front();
    if (!taken.receive_posted()) [[unlikely]]
      return take_idle_slowly(where);
    lend_idle(taken);
    return &taken;
  }

  // The other half of the hit path.
  void give_back(connection& returned) noexcept {
    if ((returned.conditions() & dirty_) == 0 && counts_.waiting == 0 &&
        counts_.idle < idle_room_ && returned.generation_ == generation_) [[likely]] {
      home_->assert_owner();
      const time_point now = home_->now();
      if (now < returned.retire_at_) [[likely]] {
        --counts_.active;
        returned.last_used_ = now;
        make_idle(returned);
        return;
      }
    }
    give_back_slowly(returned);
  }

  // --- For acquire_waiter (waiting.cpp). Why a caller may not queue up, nothing if it may.
  std::optional<error> refusal(bool try_only) noexcept;
  void join_queue(acquire_waiter& waiter) noexcept;
  void leave_queue(acquire_waiter& waiter) noexcept;
  // A waiter that was chosen for `reserved` gives up: the next one gets it.
  void take_back(acquire_waiter& waiter, connection& reserved) noexcept;
  // Called when the waiter takes what was reserved for it.
  void lend_reserved(acquire_waiter& waiter, connection& reserved) noexcept;
  // What an acquire that was ended by its deadline or its context returns; counts it.
  error ended_early(errc why) noexcept;
  bool still_good(connection& reserved) noexcept;
  bool watched() const noexcept { return watch_; }
  duration acquire_timeout() const noexcept;

  // --- For pool and pool_core.
  // Idle connections are closed now, connecting ones when they stand, leased ones when they come
  // back, or now if `leased_too`.
  void clear(bool leased_too) noexcept;
  // Lends no more: fails all waiters with `why`, and clears.
  void shut_down(errc why) noexcept;
  // Closes what is still leased; tells of each.
  template <typename F>
  void force_leased(F tell);
  // The configuration, a pause, an observer or a shortage changed what a lend or a return looks at.
  void refresh() noexcept;
  // After refresh(): serves waiters anew and closes what is above lowered limits.
  void limits_changed() noexcept;
  void resumed() noexcept;
  // All callers who wait get `why`.
  void fail_waiters(const error& why) noexcept;
  // What an acquire gets while the pool is paused and the policy is to fail.
  error paused() const;
  // For drain(): callers who wait, also those who were chosen and have not run; and connections
  // that somebody has.
  std::uint32_t callers() const noexcept;
  std::uint32_t leased_connections() const noexcept;
  // What counts for the limits and is not on its way out.
  std::uint32_t standing() const noexcept {
    return counts_.active + counts_.idle + counts_.connecting - counts_.retiring;
  }
  // Nothing of it is left in the kernel's hands but what is leased.
  bool quiet() const noexcept { return counts_.idle + counts_.connecting + counts_.closing == 0; }
  // Nobody has anything of it, so it may be forgotten.
  bool unused() const noexcept {
    return quiet() && counts_.active + counts_.waiting + handles_ == 0 && !looking_ &&
           warming_.empty();
  }
  void add_handle() noexcept { ++handles_; }
  void drop_handle() noexcept {
    if (--handles_ == 0 && !shut_down_ && unused()) schedule_upkeep();
  }
  connection* coldest_idle() noexcept { return idle_.empty() ? nullptr : &idle_.back(); }
  void evict(connection& idle, close_reason why) noexcept { close_connection(idle, why); }
  // When its first caller came for whom nothing is under way and a connect may be begun; nullopt if
  // there is none, or its own limits or backoff allow none. The probe of an open breaker comes
  // before all: it stands for the callers that are refused meanwhile.
  std::optional<std::uint64_t> first_unserved() const noexcept;
  bool wants_fresh() const noexcept { return fresh_waiting_ > 0; }
  // Looks in this turn whether waiters can be served or connects begun.
  void look_at_demand() noexcept;
  // For pool::warm(): dials until request.wanted connections stand, or no more may.
  void warm(warm_request& request) noexcept;
  // How many of `wanted` connections do not stand and may.
  std::uint32_t missing(std::uint32_t wanted) const noexcept;
  void give_up_warming(warm_request& request) noexcept;
  // Begins to check all idle connections; `into` is told of each.
  void check_all(check_batch& into) noexcept;
  void leave_batch() noexcept;
  check_batch* batch() const noexcept { return batch_; }
  // Makes a connected descriptor an idle connection of this endpoint.
  result<void> adopt(int fd);
  // Whether this build can open connections to it.
  static bool supports(const endpoint& to) noexcept;

  std::uint32_t total() const noexcept { return standing() + counts_.closing; }

 private:
  friend class connection;
  using state = connection::state_kind;

  // What keeps any connection from being lent, however its protocol reads and shares it.
  static constexpr std::uint32_t broken = stream::ended | stream::failed | stream::closing |
                                          stream::discarded | stream::detaching | stream::torn;

  enum class look : std::uint8_t { not_at_all, at_completions, closely };
  // What a connection is serviced for.
  enum class service : std::uint8_t { ping, clean, idle_data };

  // --- endpoint_pool.cpp
  void lend_idle(connection& taken) noexcept {
    idle_.remove(taken);
    taken.state_ = state::leased;
    taken.count_from_here();
    --counts_.idle;
    ++counts_.active;
    ++counts_.hits;
    counts_.reused += taken.uses_++ > 0 ? 1 : 0;
  }
  void make_idle(connection& clean) noexcept {
    clean.state_ = state::idle;
    ++counts_.idle;
    idle_.push_front(clean);
    // Nothing more to do if the lease read nothing: then the receive of last time still waits. The
    // timer is armed as long as connections are active; see schedule_upkeep().
    if (clean.receive_posted()) return;
    watch_idle(clean);
  }
  void watch_idle(connection& clean) noexcept;
  void watch(connection& clean) const noexcept;
  void watch_unwatched() noexcept;
  connection* take_idle_slowly(const std::source_location& where) noexcept;
  connection* take_without_idle(const std::source_location& where) noexcept {
    return shares_ ? take_shared(where) : nullptr;
  }
  connection* warmest_idle() noexcept;
  bool is_alive(connection& candidate) noexcept;
  bool protocol_wants(connection& candidate) noexcept;
  void give_back_slowly(connection& returned) noexcept;
  // `existed`: it is not new, as far as hits are concerned.
  void place(connection& clean, bool existed = true) noexcept;
  void put_by(connection& clean) noexcept;
  static bool read_by_run(const connection& one) noexcept;
  static bool read_by_protocol(const connection& one) noexcept;
  static void note_reader(connection& lent) noexcept;
  std::uint32_t faults_of(const connection& one) const noexcept;
  close_reason reason_of(const connection& dirty) const noexcept;
  std::optional<close_reason> unwanted(const connection& clean) const noexcept;
  void note_lent(connection& taken, const std::source_location& where) noexcept;
  void note_returned(connection& returned) noexcept;
  void something_arrived(connection& source) noexcept;
  void end_unused(connection& source, close_reason why) noexcept;
  void close_connection(connection& unwanted, close_reason why) noexcept;
  void connection_closed(connection& gone) noexcept;
  // The closing of a connection that somebody held goes on without them, or is over.
  void leave_closing(connection& left) noexcept;
  void forget(connection& gone) noexcept;  // may destroy this
  void close_all_idle(close_reason why) noexcept;
  bool is_supervised() const noexcept;
  void stop_detecting() noexcept;
  connection* make_connection(int fd);
  void free_connection(connection& gone) noexcept;
  void tell(event_queue::record event) const noexcept;
  void tell(pool_event_kind kind, const connection* about = nullptr) const noexcept;

  // --- waiting.cpp
  acquire_waiter* first_waiter_for(const connection& clean) noexcept;
  void reserve(connection& clean, acquire_waiter& first, bool existed) noexcept;
  void return_to_queue(connection& lost) noexcept;
  std::string waits_for() const;

  // --- demand.cpp
  static void look_at_demand_now(ready_node& node) noexcept;
  void serve_from_idle() noexcept;
  void reserve_idle(connection& candidate, acquire_waiter& first) noexcept;
  std::uint32_t connects_wanted() const noexcept;
  bool gate_allows_one_more() const noexcept;
  bool may_dial_now() noexcept;
  void begin_dials() noexcept;
  void schedule_retry() noexcept;
  void dial_failed(const error& why) noexcept;
  void end_warming() noexcept;
  void count_failure(const error& why, pool_event_kind kind) noexcept;
  void note_if_unserved(const connection& gone, close_reason why) noexcept;

  // --- dial.cpp
  static task<void> dial(core_pointer keep, endpoint_pool& self, std::uint32_t generation);
  task<result<connection*>> connect_one(time_point deadline);
  task<result<connection*>> connect_to(socket_address to, time_point deadline);
  task<result<int>> open_socket(int family);
  task<result<void>> introduce(connection& fresh, time_point deadline);
  void established(connection& fresh, std::uint32_t generation) noexcept;
  void take_in(connection& fresh, std::uint32_t generation) noexcept;

  // --- secure.cpp, or no_tls.cpp in builds without TLS
  task<result<void>> secure(connection& fresh, time_point deadline);

  // --- coded.cpp
  void coded_arrived(connection& source) noexcept;
  std::optional<close_reason> settle(connection& returned) noexcept;
  static bool is_unsolicited(const connection& refused) noexcept;

  // --- upkeep.cpp
  void schedule_upkeep() noexcept;
  void upkeep() noexcept;
  void expire_idle(time_point now) noexcept;
  void retire_old(time_point now) noexcept;
  time_point replaced_at(const connection& old) const noexcept;
  void trim(time_point now) noexcept;
  void check_due(time_point now) noexcept;
  void report_leaks(time_point now) noexcept;
  std::uint32_t floor() const noexcept;
  std::uint32_t idle_wanted() const noexcept;
  static void upkeep_fired(timer_node& node) noexcept;
  static void retry_fired(timer_node& node) noexcept;

  // --- service.cpp
  void begin_service(connection& one, service what) noexcept;
  static task<void> serve(core_pointer keep, endpoint_pool& self, connection& one, service what);
  task<result<void>> ping_once(connection& one);
  task<result<void>> clean_once(connection& one);
  task<result<void>> take_idle_data(connection& one);
  void serviced(connection& one, service what, bool well) noexcept;
  close_reason why_not(const connection& one, service what) const noexcept;
  void service_over(connection& one, std::optional<close_reason> bad) noexcept;
  void end_service(connection& one, close_reason why) noexcept;
  void begin_run(connection& fresh) noexcept;
  static task<void> run(core_pointer keep, endpoint_pool& self, managed_connection& one);

  // --- checks.cpp
  bool needs_check(const connection& candidate) const noexcept;
  bool pings() const noexcept { return hooks_ != nullptr && hooks_->ping != nullptr; }
  bool can_be_checked(const connection& candidate) const noexcept;
  static bool can_be_probed(const connection& candidate) noexcept;
  void begin_check(connection& candidate, bool by_ping) noexcept;
  void begin_checks_for_waiters() noexcept;
  std::uint64_t callers_left_by_checks() const noexcept;
  void probed(connection& candidate) noexcept;
  void check_over(connection& checked, std::optional<close_reason> bad) noexcept;

  // --- shared.cpp
  static managed_connection& managed(connection& one) noexcept {
    return static_cast<managed_connection&>(one);
  }
  static const managed_connection& managed(const connection& one) noexcept {
    return static_cast<const managed_connection&>(one);
  }
  connection* take_shared(const std::source_location& where) noexcept;
  void add_lease(managed_connection& one) noexcept;
  void drop_lease(managed_connection& one) noexcept;
  void give_back_shared(managed_connection& returned) noexcept;
  void place_shared(managed_connection& one, bool existed = true) noexcept;
  void reserve_shared(managed_connection& one, acquire_waiter& first, bool existed = true) noexcept;
  connection* least_loaded() noexcept;
  bool has_room(const managed_connection& one) const noexcept;
  void begin_retiring(connection& one, close_reason why) noexcept;
  void retire(connection& one, close_reason why) noexcept;
  void break_off(connection& held, close_reason why) noexcept;
  void lease_limit_changed(managed_connection& one) noexcept;
  void expect_leases(std::uint32_t most) noexcept { expected_leases_ = most; }

  struct retry_timer : timer_node {
    explicit retry_timer(endpoint_pool& owner) noexcept
        : timer_node(&endpoint_pool::retry_fired), pool(&owner) {}
    endpoint_pool* pool;
  };
  using connection_list = intrusive_list<connection, idle_hook>;

  // What the hit path touches comes first.
  connection_list idle_;  // front: last used, back: coldest
  shard* home_;
  pool_counts counts_;
  std::uint32_t idle_room_ = 0;   // idle connections a return may add to without a closer look
  std::uint32_t dirty_ = ~0U;     // the conditions that keep a connection from being lent again
  std::uint32_t generation_ = 0;  // clear() begins a new one
  look lends_ = look::closely;
  bool watch_ = true;
  bool shares_ = false;
  bool detects_leaks_ = false;
  bool supervised_ = false;  // each return is looked at
  bool shut_down_ = false;
  bool looking_ = false;    // the look at demand is on the ready queue
  bool pings_all_ = false;  // the last ping failed: each lend pings until one succeeds
  bool in_upkeep_ = false;

  pool_core* core_;
  const protocol_hooks* hooks_;
  endpoint endpoint_;
  intrusive_list<acquire_waiter, waiter_hook> waiters_[2];  // high, normal priority
  connection_list leased_;  // with the leak detector: those not reported, longest lent first
  connection_list open_;    // shared: leased and with room for more
  intrusive_list<connection, member_hook> members_;  // all that stand
  intrusive_list<warm_request, list_hook<warm_request>> warming_;
  check_batch* batch_ = nullptr;  // that somebody waits for
  retry_timer retry_;
  connect_gate gate_;
  std::uint32_t fresh_waiting_ = 0;  // of the waiters, those who want no used connection
  std::uint32_t checking_ = 0;       // by a probe or ping, for whatever reason
  std::uint32_t cleaning_ = 0;
  std::uint32_t expiring_soon_ = 0;  // idle ones whose replacements should stand by now
  std::uint32_t expected_leases_ = 1;
  std::uint32_t handles_ = 0;
  double need_ = 0;  // the smoothed peak of need
  time_point next_trim_ = time_point::max();
  time_point next_check_ = time_point::max();
  time_point refill_at_ = time_point::min();
  time_point touched_{};  // when somebody last wanted it, as far as the slow paths know
  time_point next_retirement_ = time_point::max();  // or the next replacement
  std::optional<socket_address> fixed_address_;     // nothing to resolve
  std::shared_ptr<const tls::profile> profile_;     // of tls://, from the first dial on
  std::optional<error> last_error_;
};

template <typename F>
void endpoint_pool::force_leased(F tell_of) {
  for (auto it = members_.begin(); it != members_.end();) {
    connection& one = *it++;
    if (one.state_ != state::leased && one.state_ != state::serviced) continue;
    if (one.state_ == state::leased) tell_of(one);
    end_service(one, close_reason::forced);
  }
}

}  // namespace conpool

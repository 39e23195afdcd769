#include <conpool/pool/detail/connection_cap.h>
#include <tests/sim/fuzz/oracle.h>

#include <algorithm>
#include <utility>

namespace conpool::sim::fuzz {
namespace {

using namespace std::chrono_literals;

// A tick of the timers and the turns that a step of time may take.
constexpr duration tolerance = 10ms;
constexpr unsigned patience_steps = 40;
constexpr unsigned leases_max = 8;

std::uint64_t open_of(const pool_counts& counts) {
  return std::uint64_t{counts.connecting} + counts.idle + counts.active + counts.closing;
}

}  // namespace

std::string oracle::trouble() const {
  return "step " + std::to_string(steps_) + ", " + here_.trouble();
}

void oracle::watch(std::shared_ptr<pool> made) {
  pools_.push_back(std::move(made));
  memory_.clear();
  last_served_.clear();
  connections_before_ = 0;
  watched_since_ = here_.now();
  fresh_wishes_ = new_for_others_ = evicted_before_ = taken_from_others_ = 0;
  ever_capped_ = false;
  configured_ = here_.now();
}

// --- what clients tell

wish oracle::asks(pool& from, const std::string& peer, const acquire_options& options) {
  wish one;
  one.peer = peer;
  one.number = ++last_wish_;
  one.step = steps_;
  one.asked = here_.home().now();
  const pool_config& config = from.config();
  duration most =
      options.timeout == duration::zero() ? duration(config.acquire_timeout) : options.timeout;
  if (options.deadline != time_point::max()) most = std::min(most, options.deadline - one.asked);
  one.due = one.asked + std::max(most, duration::zero());
  one.lane = options.priority;
  one.fresh = options.fresh;
  if (one.fresh) ++fresh_wishes_;
  one.others_waited = others_wait(from, peer);
  pending_.emplace(one.number, one);
  return one;
}

// In the queue, and for any connection.
bool oracle::others_wait(const pool& from, const std::string& peer) const {
  const auto now = from.stats(endpoint::parse(peer).value());
  const auto want_new =
      static_cast<std::size_t>(std::ranges::count_if(pending_, [&](const auto& other) {
        return other.second.fresh && other.second.peer == peer;
      }));
  return now && now->waiting > want_new && !from.paused();
}

void oracle::got(const wish& one, const pool& from, connection& taken, bool waited) {
  EXPECT_EQ(pending_.erase(one.number), 1U) << "answered twice; " << trouble();
  ++served_;
  const connection_key key(&from, taken.id());
  EXPECT_FALSE(retired_.contains(key)) << "connection " << key.second << " is gone; " << trouble();
  const unsigned most = plan_.shares() ? leases_max : 1;
  EXPECT_LE(++lent_[key], most) << "connection " << key.second << " lent twice; " << trouble();
  resting_.erase(key);
  EXPECT_LE(here_.home().now(), one.due + tolerance) << "late; " << trouble();
  if (one.fresh && !plan_.shares()) {
    EXPECT_EQ(taken.uses(), 1U) << trouble();
  }
  // The acquire itself may have brought what they waited for.
  EXPECT_FALSE(!waited && one.others_waited && others_wait(from, one.peer))
      << "passed those who waited at " << one.peer << " under "
      << to_string(from.config().validation) << "; " << trouble();
  check_lend(one, from, taken);
  check_order(one, from, taken, waited);
  if (taken.uses() == 1) note_first_lend(from, one);
  if (taken.uses() == 1 && waited && !one.fresh) ++new_for_others_;
}

// A peek beside the lend: what has come long enough ago the pool should have known.
void oracle::check_lend(const wish& one, const pool& from, connection& taken) const {
  constexpr duration at_once = 100us;
  if (from.config().validation == validation_policy::none) return;
  // What shared connections and readers have is their protocol's.
  if (plan_.shares() || plan_.spoken == speech::careful || from.config().server_speaks_first)
    return;
  const std::uint32_t held =
      taken.conditions() & (stream::has_data | stream::more_data | stream::ended | stream::failed);
  EXPECT_EQ(held, 0U) << "lent connection " << taken.id() << " of " << one.peer << "; "
                      << trouble();
  const socket_table::arrivals there = here_.net().sockets().inspect(taken.fd());
  const bool something = there.ended || there.broken || there.bytes > 0;
  EXPECT_FALSE(something && here_.net().now() - there.since > at_once)
      << "lent connection " << taken.id() << " with " << there.bytes << " bytes"
      << (there.ended ? ", ended" : "") << (there.broken ? ", broken" : "") << " since "
      << (here_.net().now() - there.since).count() << " ns; " << trouble();
}

void oracle::check_order(const wish& one, const pool& from, const connection& taken, bool waited) {
  // While a fresh caller waits at the limit and nothing is done for it, nobody who came later gets
  // what exists.
  const auto now = from.stats(endpoint::parse(one.peer).value());
  const auto asking = static_cast<std::uint64_t>(std::ranges::count_if(
      pending_, [&](const auto& other) { return other.second.peer == one.peer; }));
  // Nor has anybody been handed something that its task has not taken yet.
  const bool nothing_is_done =
      now && now->waiting == asking &&
      now->active + now->idle >= from.config().max_connections_per_endpoint &&
      now->connecting == 0 && now->closing == 0 && now->retiring == 0 && !from.paused() &&
      !from.closed() && from.config().max_connections == 0 && plan_.calm();
  if (nothing_is_done && taken.uses() > 1 && !plan_.shares()) {
    for (const auto& [number, other] : pending_) {
      const bool comes_first = other.fresh && other.peer == one.peer && other.lane == one.lane &&
                               other.number < one.number && other.step + 2 < steps_ &&
                               other.asked < one.asked;
      EXPECT_FALSE(comes_first) << "passed fresh caller " << number << " at " << one.peer << ": "
                                << now->active << " active, " << now->idle << " idle, "
                                << now->waiting << " waiting, at most "
                                << from.config().max_connections_per_endpoint << "; " << trouble();
    }
  }
  // Who loses what was kept for him, as when another lease discards it or a late answer comes on
  // it, is served later than he was chosen.
  if (!plan_.calm() || plan_.shares() || !waited || plan_.config.reuse_unanswered) return;
  std::uint64_t& last = last_served_[{one.peer, one.fresh}][static_cast<std::size_t>(one.lane)];
  EXPECT_GT(one.number, last) << "not in the order of asking; " << trouble();
  last = std::max(last, one.number);
}

void oracle::failed(const wish& one, const pool& from, const error& why) {
  EXPECT_EQ(pending_.erase(one.number), 1U) << "answered twice; " << trouble();
  ++refused_;
  EXPECT_LE(here_.home().now(), one.due + tolerance) << why.message() << "; " << trouble();
  if (why == errc::acquire_timeout) {
    EXPECT_GE(here_.home().now(), one.due) << "early; " << trouble();
  }
  check_refusal(one, from, why);
}

void oracle::gives_back(const pool& from, std::uint64_t id, bool clean) {
  const connection_key key(&from, id);
  const auto found = lent_.find(key);
  EXPECT_NE(found, lent_.end()) << trouble();
  if (!clean) ++unclean_;
  if (found == lent_.end()) return;
  if (--found->second > 0) return;
  lent_.erase(found);
  returned_[key] = steps_;
  if (clean && !retired_.contains(key)) resting_[key] = {here_.home().now(), here_.home().now()};
}

void oracle::saw_closed(const pool& from, std::uint64_t id) {
  retired_.emplace(&from, id);
  resting_.erase({&from, id});
}

// --- after each step

void oracle::check_counts(const pool_counts& counts, const std::string& whose) const {
  EXPECT_EQ(counts.created, open_of(counts) + counts.closed()) << whose << "; " << trouble();
  EXPECT_LE(counts.retiring, counts.active) << whose << "; " << trouble();
}

// A limit that was lowered is reached by not growing.
void oracle::check_caps(const endpoint_stats& now, memory& before,
                        const pool_config& config) const {
  const std::uint32_t limit = config.max_connections_per_endpoint;
  const std::uint32_t standing = now.active + now.idle + now.connecting - now.retiring;
  const std::uint32_t total = standing + now.closing;
  EXPECT_LE(standing, std::max(limit, before.standing)) << now.endpoint << "; " << trouble();
  // A retiring one counts again while it closes.
  if (!plan_.shares() && plan_.spoken != speech::careful) {
    EXPECT_LE(total, std::max(limit, before.total)) << now.endpoint << "; " << trouble();
  }
  EXPECT_LE(now.connecting, std::max(config.max_connecting_per_endpoint, before.connecting))
      << now.endpoint << "; " << trouble();
  EXPECT_LE(now.idle, config.idle_limit()) << now.endpoint << "; " << trouble();
  // Those whose connection was lost before they had it come back above the limit.
  EXPECT_LE(now.waiting, std::max(config.waiter_limit(), before.waiting) + limit * leases_max)
      << now.endpoint << "; " << trouble();
  before.standing = standing;
  before.total = total;
  before.connecting = now.connecting;
  before.waiting = now.waiting;
}

// Whether what the endpoint's callers wait for is there to be taken or to be begun.
bool oracle::could_go_on(const endpoint_stats& now, const pool_stats& all) const {
  const pool& current = *pools_.back();
  const pool_config& config = current.config();
  if (now.waiting == 0 || current.paused() || current.closed()) return false;
  const auto fresh =
      static_cast<std::uint32_t>(std::ranges::count_if(pending_, [&](const auto& one) {
        return one.second.fresh && one.second.peer == now.endpoint;
      }));
  // A ping is under way: its end will decide.
  const bool checks = config.validation == validation_policy::ping ||
                      config.validation == validation_policy::probe || plan_.shares();
  if (now.idle > 0 && now.waiting > fresh && !checks) return true;
  if (now.connecting > 0 || now.closing > 0 || (checks && now.active > 0)) return false;
  const std::uint64_t open = open_of(all);
  const bool local_room =
      now.active + now.idle - now.retiring < config.max_connections_per_endpoint;
  const bool global_room = config.max_connections == 0 || open < config.max_connections;
  if (local_room && global_room) return true;
  if (local_room && all.closing == 0) return all.idle > 0 && (now.idle == 0 || fresh > 0);
  return !local_room && global_room && now.idle > 0 && now.waiting <= fresh && !checks;
}

void oracle::check_progress(const endpoint_stats& now, memory& before, const pool_stats& all) {
  // A connect may begin and fail within a step.
  if (!could_go_on(now, all) || std::exchange(before.created, now.created) != now.created) {
    before.stuck_steps = 0;
    return;
  }
  if (before.stuck_steps++ == 0) before.stuck_since = here_.now();
  // They may be waiting for the backoff after a failure to end, or until what another endpoint
  // needed a moment ago may be taken from it.
  const duration patience = longest_backoff_ + tolerance + connection_cap::patience;
  EXPECT_FALSE(before.stuck_steps > patience_steps && here_.now() - before.stuck_since > patience)
      << now.endpoint << ": " << now.waiting << " wait (at most "
      << pools_.back()->config().max_connections_per_endpoint << "), " << now.idle << " idle, "
      << now.active << " active, " << now.retiring << " retiring, " << now.failed_in_a_row
      << " failed; in all " << open_of(all) << " (at most "
      << pools_.back()->config().max_connections << "), " << all.idle << " idle, " << all.connecting
      << " connecting; " << trouble();
}

void oracle::check() {
  ++steps_;
  pool& current = *pools_.back();
  const pool_config& config = current.config();
  longest_backoff_ = std::max<duration>(longest_backoff_, config.connect_backoff_max);
  for (const auto& one : pools_) check_counts(one->totals(), "a pool");
  const pool_stats all = current.totals();
  if (config.max_connections > 0) {
    ever_capped_ = true;
    EXPECT_LE(open_of(all), std::max<std::uint64_t>(config.max_connections, connections_before_))
        << trouble();
  }
  connections_before_ = open_of(all);
  for (const endpoint_stats& one : current.all_stats()) {
    memory& before = memory_[one.endpoint];
    if (one.created < before.seen) before = memory();  // it was forgotten, and is known again
    before.seen = one.created;
    check_counts(one, one.endpoint);
    check_caps(one, before, config);
    check_progress(one, before, all);
    check_breaker(one, before, config);
    check_outage(one, before, config);
  }
  check_reuse();
  check_evictions(all);
  check_rests(config);
  for (const auto& [number, one] : pending_) {
    EXPECT_LE(here_.home().now(), one.due + tolerance) << "nobody answers; " << trouble();
  }
}

void oracle::check_end() {
  EXPECT_TRUE(pending_.empty()) << trouble();
  EXPECT_TRUE(lent_.empty()) << trouble();
  for (const auto& one : pools_) {
    const pool_stats last = one->totals();
    EXPECT_EQ(last.created, last.closed()) << trouble();
    EXPECT_EQ(last.waiting + last.leases + last.retiring, 0U) << trouble();
  }
}

}  // namespace conpool::sim::fuzz

#include <conpool/pool/detail/refusals.h>

#include <string>
#include <utility>

#include <conpool/pool/detail/dialer.h>

namespace conpool::refusals {
namespace {

// A permanent refusal is its own answer: whoever asks hears what the server said, in its own kind.
error breaker_open(const endpoint_facts& facts, const dial_demand& demand) {
  const std::uint32_t tried = demand.gate().failures(facts.first_lends());
  if (demand.gate().permanent() && facts.last_error && facts.last_error->is_permanent()) {
    std::string detail(facts.last_error->detail());
    if (!detail.empty()) detail += "; ";
    detail +=
        "this is what a connect was told before; the next one is put off, and one at a time "
        "goes on trying";
    error made = *facts.last_error;
    return std::move(made).with_detail(detail).after_attempts(tried);
  }
  std::string detail =
      "connects for callers failed in a row, and no connection stands; one "
      "connect at a time goes on trying, so try again later, or see what is wrong "
      "with the server";
  if (facts.last_error) detail += "; the last one: " + facts.last_error->message();
  return error(errc::breaker_open, phase::acquire)
      .about(facts.peer.text())
      .with_detail(detail)
      .after_attempts(tried);
}

error queue_full(endpoint_facts& facts) {
  const pool_config& config = facts.config();
  ++facts.counts.queue_full;
  facts.tell(pool_event_kind::queue_full);
  return error(errc::queue_full, phase::acquire)
      .about(facts.peer.text())
      .with_detail(std::to_string(config.waiter_limit()) + " callers wait for " +
                   std::to_string(config.max_connections_per_endpoint) +
                   " connections; raise max_connections_per_endpoint or "
                   "max_waiters_per_endpoint, or send less");
}

// What it was that the queue waits for, for a person.
std::string waits_for(const endpoint_facts& facts, const dial_demand& demand, bool in_line) {
  if (facts.pool->paused()) return "the pool is paused";
  std::string held_back = demand.held_back_by();
  if (!held_back.empty()) return held_back;
  if (in_line) return "max_connections of the pool are open";
  if (facts.total() >= facts.config().max_connections_per_endpoint &&
      facts.counts.connecting == 0) {
    return "all connections were in use";
  }
  if (facts.counts.connecting > 0) return "a connect was under way";
  return "no connection became free";
}

}  // namespace

error breaker_opened(endpoint_facts& facts, const dial_demand& demand) {
  facts.counts.failed_fast += facts.counts.waiting;
  return breaker_open(facts, demand);
}

std::optional<error> at_the_door(endpoint_facts& facts, const dial_demand& demand, bool try_only) {
  facts.touched = facts.now();
  if (facts.home->ring().forked()) {
    return error(errc::forked, phase::acquire)
        .about(facts.peer.text())
        .with_detail("the pool was made before the fork(); a child makes its own shard and pool");
  }
  if (facts.shut_down) {
    return error(facts.pool->closed_because(), phase::acquire).about(facts.peer.text());
  }
  if (!dialer::supports(facts.peer)) {
    return error(errc::unsupported, phase::acquire)
        .about(facts.peer.text())
        .with_detail("this build of conpool has no TLS (-Dtls=disabled)");
  }
  if (facts.pool->paused() && facts.pool->pause_fails()) return paused(facts);
  if (try_only) return error(errc::none_idle, phase::acquire).about(facts.peer.text());
  if (demand.gate().open()) {
    ++facts.counts.failed_fast;
    return breaker_open(facts, demand);
  }
  if (facts.counts.waiting < facts.config().waiter_limit()) return std::nullopt;
  return queue_full(facts);
}

error ended_early(endpoint_facts& facts, const dial_demand& demand, bool in_line, errc why) {
  const bool timed_out = why == errc::acquire_timeout;
  error made = error(why, phase::acquire).about(facts.peer.text());
  if (timed_out) {
    pool_counts& counts = facts.counts;
    ++counts.acquire_timeouts;
    std::string detail = waits_for(facts, demand, in_line) + "; " + std::to_string(counts.active) +
                         " leased, " + std::to_string(counts.idle) + " idle, " +
                         std::to_string(counts.connecting) + " connecting, " +
                         std::to_string(counts.waiting) + " waiting, at most " +
                         std::to_string(facts.config().max_connections_per_endpoint);
    if (facts.last_error) detail += "; last failed connect: " + facts.last_error->message();
    made = std::move(made).with_detail(detail);
  } else {
    ++facts.counts.acquires_cancelled;
  }
  if (facts.pool->observed()) {
    event_queue::record event;
    event.kind = timed_out ? pool_event_kind::waiter_timed_out : pool_event_kind::waiter_cancelled;
    event.why = made;
    facts.tell(std::move(event));
  }
  return made;
}

error paused(const endpoint_facts& facts) {
  return error(errc::pool_paused, phase::acquire)
      .about(facts.peer.text())
      .with_detail("try again after resume()");
}

}  // namespace conpool::refusals

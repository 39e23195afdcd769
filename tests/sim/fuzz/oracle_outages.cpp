// The oracle's laws of failing connects: how often a server is dialed, when the breaker opens, who
// is refused, and how soon all is well again.
#include <algorithm>

#include <tests/sim/fuzz/oracle.h>

namespace conpool::sim::fuzz {

using namespace std::chrono_literals;

const server& oracle::server_of(const std::string& peer) const {
  network& net = here_.net();
  for (std::size_t i = 0; i < net.servers(); ++i) {
    if (peer == "tcp://" + net.server_at(i).address().to_string()) return net.server_at(i);
  }
  misuse("no server at " + peer);
}

namespace {

// Connects that failed, and connections that ended before anybody had them.
std::uint64_t failures_of(const endpoint_stats& now) {
  return now.closed(close_reason::connect_failed) + now.closed(close_reason::peer_closed) +
         now.closed(close_reason::peer_reset) + now.closed(close_reason::io_error) +
         now.closed(close_reason::vetoed) + now.closed(close_reason::retired) +
         now.closed(close_reason::unexpected_data);
}

}  // namespace

void oracle::note_first_lend(const pool& from, const wish& one) {
  if (&from != pools_.back().get()) return;
  memory& about = memory_[one.peer];
  const auto now = from.stats(endpoint::parse(one.peer).value());
  if (!now) return;
  about.failed_before = failures_of(*now);
  about.moments_before = server_of(one.peer).counts().moments;
  about.dialed_before = now->connecting > 0;
  about.lent_in_step = steps_;
}

// The breaker opens only after so many rounds of connects have failed since a new connection was
// lent, in as many moments, and while nothing stands; and then nobody goes on waiting.
void oracle::check_breaker(const endpoint_stats& now, memory& before,
                           const pool_config& config) const {
  const bool servers_are_well = plan_.calm() || plan_.sky == weather::restless;
  EXPECT_TRUE(!servers_are_well || now.failed_in_a_row == 0)
      << now.endpoint << " is well: " << now.last_error << "; " << trouble();
  // Each round is of a moment of its own.
  if (plan_.sky == weather::outages && before.lent_in_step + 1 < steps_) {
    const std::uint64_t most = server_of(now.endpoint).counts().moments - before.moments_before +
                               (before.dialed_before ? 1 : 0);
    EXPECT_LE(now.failed_in_a_row, most) << now.endpoint << "; " << trouble();
  }
  // Within a step nobody knows which came first.
  const bool is_told_apart = before.lent_in_step + 1 < steps_;
  if (now.breaker_opened > before.breaker_opened && config.breaker_failures > 0 && is_told_apart) {
    const std::uint64_t failed = failures_of(now) + now.closing - before.failed_before;
    // One that was under way when a new connection was lent may have failed since.
    const std::uint64_t moments = server_of(now.endpoint).counts().moments - before.moments_before +
                                  (before.dialed_before ? 1 : 0);
    EXPECT_GE(failed, config.breaker_failures) << now.endpoint << "; " << trouble();
    // A state that throws is a failed connect that no server hears of.
    if (!plan_.storm() || plan_.spoken == speech::none) {
      EXPECT_GE(moments, config.breaker_failures)
          << now.endpoint << ": connects of one moment counted as many; " << trouble();
    }
    EXPECT_TRUE(plan_.storm() || plan_.sky == weather::outages)
        << now.endpoint << " is well; " << trouble();
  }
  before.breaker_opened = now.breaker_opened;
  if (!now.breaker_open || pools_.back()->paused()) before.open_steps = 0;
  if (!now.breaker_open) return;
  EXPECT_EQ(now.idle, 0U) << now.endpoint << " is refused, and stands; " << trouble();
  // Who lost what was kept for him just now hears of it in the next turn.
  if (++before.open_steps > 4) {
    EXPECT_EQ(now.waiting, 0U) << now.endpoint << ": they wait in vain; " << trouble();
  }
}

// Nobody is refused while something stands, or where nothing is wrong with the server.
void oracle::check_refusal(const wish& one, const pool& from, const error& why) const {
  const bool refused = why == errc::breaker_open || why == errc::connect_failed ||
                       why == errc::connect_timeout || why == errc::connection_closed;
  if (!refused) return;
  EXPECT_TRUE(plan_.storm() || plan_.sky == weather::outages)
      << one.peer << " is well: " << why.message() << "; " << trouble();
  const auto now = from.stats(endpoint::parse(one.peer).value());
  if (!now) return;
  EXPECT_EQ(now->idle, 0U) << one.peer << " stands: " << why.message() << "; " << trouble();
}

// In an outage a server is dialed by one connect at a time, ever more seldom; when it is back,
// service is back within the longest backoff.
void oracle::check_outage(const endpoint_stats& now, memory& before, const pool_config& config) {
  if (plan_.sky != weather::outages) return;
  const server& peer = server_of(now.endpoint);
  const bool nothing_stands = now.active + now.idle == 0;
  const bool out = peer.down() && nothing_stands;
  if (out && !before.out) {
    before.out_since = here_.now();
    before.dials_before = peer.counts().connects;
  }
  if (before.out) {
    // What was begun before the first had failed, and then: a backoff is random, but on average
    // half of its bound, which doubles.
    const std::uint64_t dials = peer.counts().connects - before.dials_before;
    const auto least = std::max<duration>(config.connect_backoff_min, 1ms);
    const auto longest =
        std::chrono::duration_cast<std::chrono::milliseconds>(here_.now() - before.out_since);
    const auto bound = 8 + 24 + static_cast<std::uint64_t>(longest / least);
    EXPECT_LE(dials, bound) << now.endpoint << " in " << longest.count() << " ms; " << trouble();
  }
  before.out = out;
  // Recovery.
  const bool could = !peer.down() && nothing_stands && now.waiting > 0 &&
                     !pools_.back()->paused() && config.max_connections == 0;
  if (!could) {
    before.recovering = false;
    return;
  }
  if (!std::exchange(before.recovering, true)) before.reachable_since = here_.now();
  EXPECT_LE(here_.now() - before.reachable_since, longest_backoff_ + 60ms)
      << now.endpoint << " is back, and " << now.waiting << " wait; " << trouble();
}

}  // namespace conpool::sim::fuzz

// The configuration of a pool: its limits, its timeouts, and how its sockets are set up.
//
// It is a plain struct with usable defaults. Change what you need and give it to the pool, which
// checks it once and keeps a copy. It is trivially destructible, so it may be written in braces
// next to a co_await even with g++ 12, which destroys other temporaries there twice.
//
//   conpool::pool_config config;
//   config.max_connections_per_endpoint = 8;
//   config.acquire_timeout = std::chrono::seconds(1);
//   if (auto valid = conpool::validate(config); !valid) return valid.error();
//
// All limits but max_connections hold for one endpoint on one shard. Shards share nothing, so a
// runtime with 4 shards may open 4 times as many connections. Durations are measured by the shard's
// clock, in milliseconds.
#pragma once

#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/error.h>

#include <chrono>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace conpool {

// How the pool knows that an idle connection is alive when it lends it.
enum class validation_policy : std::uint8_t {
  // A receive is posted on each idle connection; its end, its reset or a stray byte completes that
  // receive, and the pool sees this before it lends, without a system call. The kernel gets the
  // receive when a turn ends: what is lent again in the turn of its return, or of a push that was
  // kept, is peeked at.
  watch,
  // Nothing is posted on idle connections. An acquire peeks at the sockets of up to
  // probe_candidates of them in one submission; the first healthy one is lent, the others go back,
  // and dead ones are closed. It is what pools do that cannot watch, and is here to compare.
  probe,
  // Like watch, and a connection that was idle for ping_window or longer is lent only after the
  // protocol's own round trip. After a failed ping the endpoint's next lends ping, too, until one
  // succeeds. It finds peers that are there and do not answer. It needs a protocol with a ping()
  // (protocol.h).
  ping,
  // Connections are not checked: the caller's first read or write finds out. This is for
  // measurements, and for protocols whose requests are safe to repeat.
  none,
};

struct pool_config {
  // Most connections to one endpoint: connecting, idle, leased and closing together.
  // 1 to 65536, default 32.
  std::uint32_t max_connections_per_endpoint = 32;

  // Most connections of the pool on this shard, over all endpoints. At the limit a caller that
  // needs a new connection takes the slot of another endpoint's coldest idle one; callers stand in
  // one line over all endpoints. 1 to 1048576, or 0 for no such limit. Default 0.
  std::uint32_t max_connections = 0;

  // Most connects in progress to one endpoint; more callers wait for these, or for what comes back.
  // Until a first connect stands there are 8 at most, and after one has failed there is one at a
  // time until one stands. 1 to 65536, default 4.
  std::uint32_t max_connecting_per_endpoint = 4;

  // Idle connections that are kept ready for each endpoint from its first use on, beside those that
  // are leased: neither idle time nor trimming goes below it, and what is lent away or lost is
  // dialed. A refill that fails delays other refills, and no caller. 0 to idle_limit(). Default 0.
  std::uint32_t min_idle_per_endpoint = 0;

  // Most idle connections kept for one endpoint; one that is returned beyond it is closed.
  // 1 to max_connections_per_endpoint, or 0 for as many as that. Default 0. See idle_limit().
  std::uint32_t max_idle_per_endpoint = 0;

  // Most callers that may wait for a connection to one endpoint; the next gets errc::queue_full at
  // once. 1 to 1048576, or 0 for 4 times max_connections_per_endpoint. Default 0.
  // See waiter_limit().
  std::uint32_t max_waiters_per_endpoint = 0;

  // The time for one attempt to open a connection: resolve, connect and handshake together.
  // 1 ms to 24 h, default 3 s.
  std::chrono::milliseconds connection_timeout{3'000};

  // The time for one acquire, from the call until it has a connection. A caller that gives up does
  // not end the attempt to connect, so this may be shorter than connection_timeout. It always ends.
  // 1 ms to 24 h, default 5 s.
  std::chrono::milliseconds acquire_timeout{5'000};

  // The time for one read of a lease, until at least one byte has come. 1 ms to 24 h, default 30 s.
  std::chrono::milliseconds read_timeout{30'000};

  // The time for one write of a lease, until the kernel has taken all of it. 1 ms to 24 h, default
  // 30 s.
  std::chrono::milliseconds write_timeout{30'000};

  // A connection that has been idle for this long is closed. Keep it below what the peer and any
  // firewall on the way allow. 1 ms to 720 h, or 0 for never. Default 60 s.
  std::chrono::milliseconds max_idle_time{60'000};

  // A connection this old is closed as soon as it is idle, so that changes of DNS and of load
  // balancers take effect; a lease is never cut short. 1 ms to 720 h, or 0 for never. Default 1 h.
  std::chrono::milliseconds max_connection_lifetime{3'600'000};

  // Each connection's lifetime is shortened by a random share up to this, drawn when it stands, so
  // that connections that were opened together do not end together. In percent, 0 to 90,
  // default 10.
  std::uint32_t lifetime_jitter_percent = 10;

  // A connection that was lent this many times is closed when it comes back. 1 to 4294967295, or 0
  // for no limit. Default 0.
  std::uint32_t max_connection_uses = 0;

  // What min_idle_per_endpoint misses is dialed after a random time up to this, so that many
  // clients of one server that restarted do not come back at once. 0 to 60 s, default 100 ms.
  std::chrono::milliseconds refill_jitter{100};

  // Adaptive trimming: each step closes half of the idle connections that a smoothed peak of need
  // does not account for, coldest first. 1 ms to 24 h, or 0 for off. Default 0.
  std::chrono::milliseconds trim_interval{0};

  // An endpoint that nobody acquired for this long and that has no connection left is forgotten:
  // its memory is given back, and its counts go into the pool's totals. It has no effect with
  // min_idle_per_endpoint. 1 ms to 720 h, or 0 for never. Default 5 min.
  std::chrono::milliseconds max_endpoint_idle_time{300'000};

  // How idle connections are checked before they are lent. Default watch.
  validation_policy validation = validation_policy::watch;

  // At this interval the pool asks idle connections that were neither used nor checked for that
  // long whether they are alive, as one batch: by the protocol's ping, or else by a peek at those
  // that have no receive posted, which is all of them under validation_policy::probe and none under
  // watch. It is refused for validation_policy::none without a ping. 1 ms to 24 h, or 0 for off.
  // Default 0.
  std::chrono::milliseconds validation_interval{0};

  // Under validation_policy::probe, how many idle connections are asked for one caller.
  // 1 to 64, default 4.
  std::uint32_t probe_candidates = 4;

  // Under validation_policy::ping, a connection that was idle for less is lent as it is.
  // 0 (ping before each lend) to 24 h, default 1 s.
  std::chrono::milliseconds ping_window{1'000};

  // The time for one ping of the protocol. 1 ms to 24 h, default 1 s.
  std::chrono::milliseconds ping_timeout{1'000};

  // The time for one on_release of the protocol that is a coroutine, one recover or one farewell.
  // 1 ms to 24 h, default 1 s.
  std::chrono::milliseconds release_timeout{1'000};

  // Most connections of an endpoint on which on_release, recover or farewell run at a time; others
  // wait for their turn. 1 to 65536, default 8.
  std::uint32_t max_releasing_per_endpoint = 8;

  // After the k-th failed connect in a row the next one waits a random time up to this times
  // 2^(k-1), at most connect_backoff_max. Connects that ran at the same time count as one. The row
  // ends when a new connection is lent. 1 ms to connect_backoff_max, default 10 ms.
  std::chrono::milliseconds connect_backoff_min{10};

  // The longest that a connect is put off, whatever failed before. After a permanent refusal, such
  // as a wrong password or a certificate that will not verify, the next one waits from half of this
  // to all of it at once. connect_backoff_min to 24 h, default 5 s.
  std::chrono::milliseconds connect_backoff_max{5'000};

  // After this many failed connects for callers in a row, while no connection stands, or after one
  // permanent refusal, the breaker opens: who waits and who would have to fail at once with
  // breaker_open, or with the permanent refusal itself, while trial connects go on, one at a time.
  // As soon as something stands it closes. Refills, connections that ended before anybody needed
  // them, and shortages of this process do not count. 1 to 1000000, or 0 for off. Default 5.
  std::uint32_t breaker_failures = 5;

  // A lease that is held longer is reported to the observer once, with the place of its acquire.
  // Leases of shared connections are not: one that is used all the time never is without a lease.
  // 1 ms to 720 h, or 0 for off. Default 0.
  std::chrono::milliseconds leak_threshold{0};

  // Lends a connection again whose last lease ended with a write that no read followed. It is off
  // by default, since the answer may still be on its way and the next user would take it for its
  // own. Switch it on for protocols whose requests are never answered. Default false.
  bool reuse_unanswered = false;

  // Keeps bytes that come on a connection before it was ever lent, as a greeting for its first
  // lease. It is off by default, since a server that closes a connection which nobody used may say
  // so in bytes, and the first request would take them for its answer: such a connection is closed.
  // Default false.
  bool server_speaks_first = false;

  // The remaining fields are for TCP sockets, with or without TLS. They have no effect on Unix
  // sockets.

  // TCP_NODELAY: send small writes at once, do not wait for more. Default true.
  bool tcp_nodelay = true;

  // SO_KEEPALIVE: let the kernel ask silent peers whether they are there. It is what finds a peer
  // that vanished without a FIN while its connection is idle. Default true.
  bool tcp_keepalive = true;

  // TCP_KEEPIDLE: silence before the first probe. The kernel counts in seconds.
  // 1 s to 32767 s, in whole seconds, default 30 s.
  std::chrono::milliseconds keepalive_idle{30'000};

  // TCP_KEEPINTVL: time between two probes. 1 s to 32767 s, in whole seconds, default 5 s.
  std::chrono::milliseconds keepalive_interval{5'000};

  // TCP_KEEPCNT: unanswered probes until the connection is given up. With a tcp_user_timeout that
  // one decides instead, once a probe is unanswered. 1 to 127, default 3.
  std::uint32_t keepalive_probes = 3;

  // TCP_USER_TIMEOUT: how long sent bytes may stay unacknowledged until the kernel gives the
  // connection up. 1 ms to 24 h, or 0 for the kernel's own rule, about 15 minutes of
  // retransmissions. Default 30 s.
  std::chrono::milliseconds tcp_user_timeout{30'000};

  // The limits as they hold, with 0 replaced by what it means.
  constexpr std::uint32_t idle_limit() const noexcept {
    return max_idle_per_endpoint == 0 ? max_connections_per_endpoint : max_idle_per_endpoint;
  }
  constexpr std::uint32_t waiter_limit() const noexcept {
    return max_waiters_per_endpoint == 0 ? 4 * max_connections_per_endpoint
                                         : max_waiters_per_endpoint;
  }

  friend bool operator==(const pool_config&, const pool_config&) = default;
};

static_assert(std::is_trivially_destructible_v<pool_config>);

// Checks every field, including those that another one switches off, and how they fit together. It
// fails with errc::invalid_config, phase::configure; the subject is the name of the wrong field,
// and the detail says its value, what is allowed, and why. pool::create() checks what the fields
// need of a protocol. Any thread may call it; it makes no system call.
CONPOOL_API result<void> validate(const pool_config& config);

// The policy's name, as parse_validation_policy() reads it: "watch", "probe", "ping", "none".
CONPOOL_API const char* to_string(validation_policy value) noexcept;

// For command lines and files. It fails with errc::invalid_config, phase::configure, subject
// "validation"; the detail has the known names.
CONPOOL_API result<validation_policy> parse_validation_policy(std::string_view text);

}  // namespace conpool

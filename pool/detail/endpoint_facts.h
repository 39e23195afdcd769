// What all parts of an endpoint's pool read: what it connects to, its counts, its connections.
//
// The first member of endpoint_pool. Each part keeps its own lines of the counts; connections are
// listed here from the moment they stand until they are forgotten. Used on its shard only.
#pragma once

#include <cstdint>
#include <optional>

#include <conpool/pool/config.h>
#include <conpool/pool/detail/event_queue.h>
#include <conpool/pool/detail/pool_facts.h>
#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/pool/endpoint.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/shard.h>
#include <conpool/runtime/socket.h>
#include <conpool/runtime/stream.h>

namespace conpool {

struct endpoint_facts {
  endpoint_facts(pool_facts& of, endpoint_pool& whole, const endpoint& to);
  endpoint_facts(const endpoint_facts&) = delete;
  endpoint_facts& operator=(const endpoint_facts&) = delete;

  const pool_config& config() const noexcept { return *config_; }
  // Another one holds from now on, or it was changed.
  void config_changed() noexcept;
  // Null without a protocol.
  const protocol_hooks* hooks() const noexcept { return pool->hooks(); }
  time_point now() const noexcept { return home->now(); }

  // What counts for the limits and is not on its way out; and all of them.
  std::uint32_t standing() const noexcept {
    return counts.active + counts.idle + counts.connecting - counts.retiring;
  }
  std::uint32_t total() const noexcept { return standing() + counts.closing; }
  // Connections that stand and are not on their way out, whatever they are good for.
  std::uint32_t open() const noexcept { return counts.active + counts.idle - counts.retiring; }
  // Whether something stands that can serve callers, `but` one: it has served already, or is ready
  // to. One that was dialed for a caller and has not been lent yet has still to show that. It walks
  // the connections, up to the first that does.
  bool can_serve(const pooled_connection* but = nullptr) const noexcept;
  // Connections that were lent for the first time, ever; and those that ended unexpectedly, those
  // that are being closed included, whatever for.
  std::uint64_t first_lends() const noexcept { return counts.hits + counts.misses - counts.reused; }
  std::uint64_t lost() const noexcept;
  // Nothing of it is left in the pool's or the kernel's hands; what is leased may be.
  bool quiet() const noexcept {
    return counts.idle + counts.connecting + counts.closing + held == 0;
  }
  // What comes on a connection before it was ever lent is a greeting.
  bool server_speaks_first() const noexcept {
    return config().server_speaks_first || (hooks() != nullptr && hooks()->server_speaks_first);
  }
  // The pool has the connection, which is counted as active, for itself; and no longer.
  void hold(pooled_connection& one) noexcept;
  void end_hold(pooled_connection& one) noexcept;

  // Callers who wait, and those who were handed a connection and have not run.
  std::uint32_t callers() const noexcept;
  // Connections that somebody has.
  std::uint32_t leased() const noexcept;

  // Precondition: its handshake is done. In tls_dial.cpp, or in no_tls.cpp in builds without TLS.
  void count_handshake(const pooled_connection& secured) noexcept;

  // Tells the pool's observer, if there is one.
  void tell(event_queue::record event) const noexcept;
  void tell(pool_event_kind kind, const pooled_connection* about = nullptr) const noexcept;

  // With what its protocol keeps for each connection, whose constructor may throw. Then nothing has
  // happened; otherwise it owns the descriptor from now on.
  pooled_connection* make_connection(int fd);
  void free_connection(pooled_connection& gone) const noexcept;

  shard* const home;
  pool_counts counts;
  std::uint32_t held = 0;  // of the active ones: in the stage held_by_pool
  pool_facts* const pool;
  endpoint_pool* const whole;
  const endpoint peer;
  io_timeouts timeouts;  // of its connections, which read them at each read and write
  socket_options sockets;
  intrusive_list<pooled_connection, member_hook> members;
  time_point touched;               // when somebody last wanted it, as far as the slow paths know
  std::optional<error> last_error;  // of the last failed connect
  bool shut_down = false;

 private:
  const pool_config* config_;
};

}  // namespace conpool

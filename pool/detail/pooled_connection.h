// What a pool knows of one of its connections, beside what the stream knows.
//
// Users see a `connection`; each one is a pooled_connection, whose fields the parts of the pool
// read and write. Its endpoint's pool owns it from the moment its socket is opened until the
// descriptor is closed. Used on its shard only.
//
// A managed_connection belongs to a pool with a protocol: several leases may share it, and a task
// of the protocol may live as long as it does.
#pragma once

#include <cstdint>
#include <source_location>

#include <conpool/pool/connection.h>
#include <conpool/pool/detail/connect_gate.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/context.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/detail/intrusive_list.h>

namespace conpool {

class endpoint_pool;
class waiter;
struct endpoint_facts;

struct idle_tag {};
struct member_tag {};
struct waiter_tag {};
using idle_hook = list_hook<idle_tag>;
using member_hook = list_hook<member_tag>;
using waiter_hook = list_hook<waiter_tag>;

// What the pool lets a protocol do on a connection that nobody has leased.
enum class protocol_task : std::uint8_t { ping, clean, recover, idle_data, farewell };

enum class connection_stage : std::uint8_t {
  connecting,    // owned by the coroutine that dials
  idle,          // on the idle stack
  reserved,      // handed to a waiter that has not run yet
  leased,        // its user has it, or several users
  held_by_pool,  // being checked, cleaned or recovered, or a hook of its protocol is asked
  closing,       // on its way out; its memory may still be in use
};

class CONPOOL_API pooled_connection : public connection, public idle_hook, public member_hook {
 public:
  // A mark in the owner's half of conditions(), beside connection::discarded: its return is looked
  // at, so it takes the slow way.
  static constexpr std::uint32_t supervised = discarded << 1U;

  pooled_connection(endpoint_facts& of, int fd);
  ~pooled_connection() = default;

  endpoint_pool* const owner;
  const std::uint64_t serial;  // counts the pool's connections from 1
  time_point stood_at{};
  time_point retire_at = time_point::max();
  time_point last_used{};            // when it came back; with the leak detector, when it was lent
  time_point checked_at{};           // when the last probe or ping of it was begun
  std::source_location lent_from{};  // known only with the leak detector
  waiter* reserved_for = nullptr;    // while reserved
  std::uint64_t times_lent = 0;      // this lease included
  std::uint32_t generation = 0;      // of its endpoint when its connect began
  connect_gate::beginning begun{};   // of its dial
  connection_stage stage = connection_stage::connecting;
  close_reason reason = close_reason::pool_closed;  // once it retires or closes
  const bool managed;                               // is a managed_connection
  bool checking = false;                            // held by the pool for a check
  bool probing = false;                             // for a probe that has not come back
  bool in_batch = false;                            // for somebody who waits for the report
  bool retiring = false;                            // takes no new leases
  bool leak_reported = false;                       // in this lease
  bool was_spare = false;                           // nobody needed it when it stood

 protected:
  pooled_connection(endpoint_facts& of, int fd, bool is_managed);
};

class managed_connection : public pooled_connection {
 public:
  managed_connection(endpoint_facts& of, int fd) : pooled_connection(of, fd, true) {}
  ~managed_connection() = default;

  intrusive_list<waiter, waiter_hook>
      chosen;                     // waiters that it was handed to and that have not run
  context life;                   // of its protocol's run(); cancelled when it closes
  std::uint32_t lease_count = 0;  // lent or reserved
  std::uint32_t lease_limit = 1;
  close_reason lost_for = close_reason::interrupted;  // what recover() is to save it from
  protocol_task due = protocol_task::ping;            // once it is its turn
  bool shared = false;
  bool running = false;      // run() has not ended
  bool queued = false;       // waits for its turn to be cleaned and the like
  bool returning = false;    // is being cleaned or recovered, and is capacity on its way
  bool leaving = false;      // farewell() has not ended
  bool read_by_run = false;  // run() was reading when the connection was lent
};

inline managed_connection& as_managed(pooled_connection& one) noexcept {
  return static_cast<managed_connection&>(one);
}
inline const managed_connection& as_managed(const pooled_connection& one) noexcept {
  return static_cast<const managed_connection&>(one);
}
// Whether several leases may have it at once.
inline bool is_shared(const pooled_connection& one) noexcept {
  return one.managed && as_managed(one).shared;
}

using connection_list = intrusive_list<pooled_connection, idle_hook>;

}  // namespace conpool

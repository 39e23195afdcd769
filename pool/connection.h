// A pooled connection: a stream with a place in its endpoint's pool.
//
// Users reach it through a lease and use what stream offers: read, read_exactly, write.
//
//   auto sent = co_await lease->write("PING\r\n");
//   if (!sent) co_return fail(sent.error());
//   auto count = co_await lease->read(buffer);
//
// bytes_sent() and bytes_received() count from the beginning of the lease (in shared mode: from
// the moment the connection stood), so that a protocol can tell whether a request that failed may
// have reached the server.
//
// Owned by its endpoint pool until its descriptor is closed; used on its shard only. The reference
// that a lease gives is valid as long as the lease.
#pragma once

#include <cstdint>
#include <source_location>

#include <conpool/pool/endpoint.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/detail/context.h>
#include <conpool/runtime/detail/intrusive_list.h>
#include <conpool/runtime/stream.h>

namespace conpool {

namespace tls {
class connection_info;
}

class acquire_waiter;
class endpoint_pool;
class managed_connection;

struct idle_tag {};
struct member_tag {};
struct waiter_tag {};
using idle_hook = list_hook<idle_tag>;
using member_hook = list_hook<member_tag>;
using waiter_hook = list_hook<waiter_tag>;

class connection : public stream, public idle_hook, public member_hook {
 public:
  // What it is connected to.
  const conpool::endpoint& peer() const noexcept;
  // Counts the pool's connections from 1; for logs.
  std::uint64_t id() const noexcept { return id_; }
  // How often it was lent, this lease included.
  std::uint32_t uses() const noexcept { return uses_; }
  // When it was connected.
  time_point created_at() const noexcept { return created_at_; }

  // Version, cipher, application protocol, whether resumed and so on (tls/stream.h); null for what
  // is not tls://, and once it is closed.
  const tls::connection_info* tls() const noexcept;

  // What protocol P keeps for this connection. Precondition: it is of a pool that was made with a
  // P. In protocol.h.
  template <typename P>
  typename P::state& state() noexcept;

  // For the protocol of a shared connection, at any time: how many leases it may have at once. A
  // lower number than there are takes none away. Has no effect on one that is not shared.
  void set_lease_limit(std::uint32_t most) noexcept;
  // For protocols (GOAWAY): takes no new leases, no longer counts as capacity, and is closed when
  // its last lease is back; at once if it has none. Idempotent; has no effect in on_connect.
  void retire() noexcept;
  // Leases on it now; 0 or 1 unless it is shared.
  std::uint32_t leases() const noexcept;

 protected:
  friend class endpoint_pool;
  friend class lease;
  friend class acquire_waiter;
  friend class pool;
  friend class pool_core;

  enum class state_kind : std::uint8_t {
    connecting,  // owned by the coroutine that dials
    idle,
    reserved,  // handed to a waiter that has not run yet
    leased,
    serviced,  // probed, pinged, cleaned or read by the pool
    closing,
  };

  connection(endpoint_pool& owner, shard& home, int fd, std::uint64_t id);
  ~connection() = default;

  static void arrived_unread(stream& source) noexcept;
  static void fully_closed(stream& source) noexcept;

  endpoint_pool* owner_;
  acquire_waiter* reserved_for_ = nullptr;
  time_point created_at_{};
  time_point retire_at_ = time_point::max();
  time_point last_used_{};  // given back; while a supervised one is leased: when it was lent
  std::source_location lent_from_{};  // known only with the leak detector on
  time_point checked_at_{};           // by a probe or ping
  std::uint64_t id_;
  std::uint32_t generation_ = 0;  // of its endpoint's pool when its connect began
  std::uint32_t uses_ = 0;
  state_kind state_ = state_kind::connecting;
  close_reason reason_ = close_reason::pool_closed;
  bool managed_ = false;        // is a managed_connection
  bool checking_ = false;       // serviced by a check, and counted as such
  bool leak_reported_ = false;  // in this lease
  bool retiring_ = false;
  bool probing_ = false;   // serviced by a probe, which has not come back
  bool in_batch_ = false;  // checked for somebody who waits for the report
};

// A connection of a pool with a protocol: may be shared, and may have a task of its own.
class managed_connection : public connection {
 protected:
  friend class connection;
  friend class endpoint_pool;
  managed_connection(endpoint_pool& owner, shard& home, int fd, std::uint64_t id);
  ~managed_connection() = default;

  intrusive_list<acquire_waiter, waiter_hook> reserved_;  // chosen for it and not resumed yet
  context life_;                                          // of run(); cancelled when it is closed
  std::uint32_t leases_ = 0;                              // lent or reserved
  std::uint32_t lease_limit_ = 1;
  bool shared_ = false;
  bool running_ = false;      // run() has not ended
  bool read_by_run_ = false;  // it was reading when the connection was lent
};

}  // namespace conpool

// A pooled connection: a stream with a place in its endpoint's pool.
//
// Users reach it through a lease and use what stream offers: read, read_exactly, write.
//
//   auto sent = co_await lease->write("PING\r\n");
//   if (!sent) co_return fail(sent.error());
//   auto count = co_await lease->read(buffer);
//
// Owned by its endpoint pool until its descriptor is closed; used on its shard only. The reference
// that a lease gives is valid as long as the lease.
#pragma once

#include <cstdint>

#include <conpool/pool/endpoint.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/intrusive_list.h>
#include <conpool/runtime/stream.h>

namespace conpool {

class acquire_waiter;
class endpoint_pool;

struct idle_tag {};
struct member_tag {};

class connection final : public stream, public list_hook<idle_tag>, public list_hook<member_tag> {
 public:
  // What it is connected to.
  const conpool::endpoint& peer() const noexcept;
  // Counts the pool's connections from 1; for logs.
  std::uint64_t id() const noexcept { return id_; }
  // How often it was lent, this lease included.
  std::uint32_t uses() const noexcept { return uses_; }
  // When it was connected.
  time_point created_at() const noexcept { return created_at_; }

 private:
  friend class endpoint_pool;
  friend class lease;

  enum class state : std::uint8_t {
    connecting,  // owned by the coroutine that dials
    idle,
    reserved,  // handed to a waiter that has not run yet
    leased,
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
  time_point last_used_{};
  std::uint64_t id_;
  std::uint64_t generation_ = 0;  // of its endpoint's pool when its connect began
  std::uint32_t uses_ = 0;
  state state_ = state::connecting;
  close_reason reason_ = close_reason::pool_closed;
};

}  // namespace conpool

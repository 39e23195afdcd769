// A lent connection: yours until the lease is destroyed, released or discarded.
//
//   auto lease = co_await pool.acquire(to);
//   if (!lease) co_return fail(lease.error());
//   auto sent = co_await (*lease)->write(request);
//
// Move-only. The destructor gives the connection back without I/O. A connection that is not clean
// is closed instead: bytes left unread, a write that was never followed by a read, a read or write
// under way, an error, a deadline or cancellation in the middle. A lease may outlive its pool and
// its shard; the connection is closed then. Used on its shard's thread only, as long as that runs.
//
// Ways out: discard() closes the connection, detach() takes its descriptor out of the pool.
//
// Whether a request may be repeated after an error: if reused() and bytes_received() is 0, the
// server may have closed the connection before it saw the request, which happens however well a
// pool looks; if bytes_sent() is 0 as well, it has certainly seen nothing.
#pragma once

#include <utility>

#include <conpool/pool/connection.h>
#include <conpool/runtime/detached.h>
#include <conpool/runtime/task.h>

namespace conpool {

class [[nodiscard]] lease {
 public:
  lease() noexcept = default;
  lease(lease&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
  lease& operator=(lease&& other) noexcept {
    if (this != &other) {
      release();
      connection_ = std::exchange(other.connection_, nullptr);
    }
    return *this;
  }
  ~lease() { release(); }

  explicit operator bool() const noexcept { return connection_ != nullptr; }
  connection* operator->() const noexcept {
    CONPOOL_ASSERT(connection_ != nullptr, "an empty lease was used");
    return connection_;
  }
  connection& operator*() const noexcept { return *operator->(); }

  // True if the connection was lent before: then a first read that finds it closed says nothing
  // about the endpoint, and a request without effect may be repeated.
  bool reused() const noexcept { return operator->()->uses() > 1; }

  // Gives it back now; the lease is empty then. Idempotent.
  void release() noexcept {
    if (connection_ != nullptr) give_back(*std::exchange(connection_, nullptr));
  }
  // Closes it instead of giving it back: for what the pool cannot know, as a protocol error.
  void discard() noexcept {
    if (connection_ == nullptr) return;
    connection_->mark(connection::discarded);
    release();
  }
  // Takes the descriptor out of the pool: its watch is ended first, and bytes that were received
  // and not read come with it. The connection no longer counts; the lease is empty afterwards.
  // result<detached>; on an error the lease stays what it was: invalid_argument with a read or
  // write under way or on a shared connection, connection_closed or connection_reset if it is
  // broken. The lease must stay where it is until this returns.
  task<result<detached>> detach();

 private:
  friend class acquire_awaiter;
  friend class acquire_waiter;
  explicit lease(connection& lent) noexcept : connection_(&lent) {}

  static void give_back(connection& lent) noexcept;

  connection* connection_ = nullptr;
};

}  // namespace conpool

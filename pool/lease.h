// A lent connection: yours until the lease is destroyed, released or discarded.
//
//   auto lease = co_await pool.acquire(to);
//   if (!lease) co_return fail(lease.error());
//   auto sent = co_await (*lease)->write(request);
//
// A lease can be moved and not copied. Its destructor gives the connection back without I/O. A
// connection that is not clean is closed instead: it has unread bytes, its last write was not
// followed by a read, answers are owed, a read or write is under way, or one failed, ran into its
// deadline or was cancelled. A lease may outlive its pool and its shard; then the connection is
// closed when the lease ends. A lease is used on its shard's thread only, as long as that runs.
//
// There are two other ways out: discard() closes the connection, and detach() takes its descriptor
// out of the pool.
//
// May a request be repeated after an error? If reused() is true and bytes_received() is 0, the
// server may have closed the connection before it saw the request, which can happen however well a
// pool looks. If bytes_sent() is 0 as well, the server has certainly seen nothing.
// retry_if_stale() decides by this (retry.h).
#pragma once

#include <utility>

#include <conpool/pool/connection.h>
#include <conpool/runtime/detached.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/task.h>

namespace conpool {

class [[nodiscard]] CONPOOL_API lease {
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
  // Closes it instead of giving it back, for reasons that the pool cannot know, such as a protocol
  // error.
  void discard() noexcept {
    if (connection_ == nullptr) return;
    connection_->mark(connection::discarded);
    release();
  }
  // Takes the descriptor out of the pool. Its watch is ended first, and bytes that were received
  // and not read come with it. The connection no longer counts, and the lease is empty afterwards.
  // After an error the lease is what it was. Errors: invalid_argument with a read or write under
  // way or on a shared connection, unsupported with TLS, connection_closed or connection_reset if
  // it is broken. The lease must not be moved until this returns.
  task<result<detached>> detach();

 private:
  friend class acquire_awaiter;
  friend class acquire_waiter;
  explicit lease(connection& lent) noexcept : connection_(&lent) {}

  static void give_back(connection& lent) noexcept;

  connection* connection_ = nullptr;
};

}  // namespace conpool

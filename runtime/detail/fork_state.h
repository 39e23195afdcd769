// What has become of this process by fork(2): whether it is a child in which the shards of its
// parent are of no use, or a parent whose descriptors somebody else holds, too.
//
// Rings tell when they are made and the process forks (detail/ring_fork.cpp). Both marks are set
// in the handlers of pthread_atfork(3) and never cleared. They may be read on any thread.
#pragma once

#include <atomic>

#include <conpool/runtime/detail/assert.h>
#include <conpool/runtime/detail/export.h>

namespace conpool::detail {

// This process is a child, and had rings when it was forked. Its copies of what belonged to them
// (tasks that wait, operations in flight) can never end as they should.
CONPOOL_API extern std::atomic<bool> forked_child;
// This process has forked while it had rings. close(2) alone no longer ends a connection, because
// the child may hold its descriptor.
extern std::atomic<bool> forked_parent;

}  // namespace conpool::detail

// For what must have ended when something is destroyed: in a child of fork(2) it cannot have.
#define CONPOOL_ASSERT_ENDED(condition, message)                                                   \
  CONPOOL_ASSERT((condition) || ::conpool::detail::forked_child.load(::std::memory_order_relaxed), \
                 message)

// Connections that carry several leases at once: what a protocol with access::shared(n) gets.
//
// A shared connection without leases is idle like any other. With leases and room for more it is
// listed here; full, or retiring, it is in no list. The least loaded one is lent. It also knows how
// many leases the next connection will likely take, so that so many callers wait for one connect.
//
// Invariant: what is listed is leased, has room, and does not retire. Used on its shard only.
#pragma once

#include <algorithm>
#include <cstdint>

#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/pooled_connection.h>

namespace conpool {

class shared_leases {
 public:
  explicit shared_leases(endpoint_facts& facts) noexcept : facts_(&facts) {
    if (facts.hooks() != nullptr) expect(facts.hooks()->expected_leases);
  }

  static bool has_room(const managed_connection& one) noexcept;
  // Of those with leases and room for more; null if there is none. Walks all of them: a shared
  // protocol needs few connections.
  managed_connection* least_loaded() noexcept;

  // Counts one lease more or less. A connection that was idle must have left the stack.
  void add_lease(managed_connection& one) noexcept;
  void drop_lease(managed_connection& one) noexcept;
  // Lists it or not, after its leases, its limit or its conditions changed. True if it has room for
  // one more lease beside those that it has.
  bool list_if_open(managed_connection& one) noexcept;
  // It leaves the list for good, or until it is leased again.
  static void unlist(pooled_connection& one) noexcept {
    if (one.idle_hook::is_linked()) connection_list::unlink(one);
  }

  // How many leases a connection that is being opened will likely take.
  std::uint32_t expected() const noexcept { return expected_; }
  void expect(std::uint32_t most) noexcept { expected_ = std::max(1U, most); }
  // How many connections so many callers need.
  std::uint64_t connections_for(std::uint64_t callers) const noexcept {
    return (callers + expected_ - 1) / expected_;
  }

 private:
  connection_list open_;
  endpoint_facts* facts_;
  std::uint32_t expected_ = 1;
};

}  // namespace conpool

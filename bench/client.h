// The clients of one shard, whose requests conpool-bench measures.
//
// A shard runs its share of the clients, a fixed number of them at a time, over a pool of its own.
// For each message a client picks a random server, acquires a connection, makes the exchange, and
// gives the connection back. It records two latencies: from the call of acquire to the lease, and
// from the same call to the release. A request costs three clock readings, a random number and two
// histogram records. The shard shares nothing with other threads but two counters that only this
// shard writes.
//
//   client_group clients(plan, servers, home.id());    // any thread
//   clients.open(home);                                // from here on, on the shard
//   co_await clients.run();
//   co_await clients.close();
//   clients.results();                                 // any thread again
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <bench/exchange.h>
#include <bench/histogram.h>
#include <bench/plan.h>
#include <conpool/pool/pool.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/shard.h>
#include <conpool/runtime/task.h>

namespace conpool::bench {

// Requests that failed in the same way: the same kind of error, in the same phase, at the same
// server.
struct failure {
  errc kind{};
  phase where{};
  std::string subject;
  std::string message;  // of the first of them
  std::uint64_t count = 0;
};

// Adds `seen` to the entry of its kind, or as a new entry. Beyond a fixed number of entries, all
// new kinds are counted in one entry of kind errc{}.
void add_failure(std::vector<failure>& to, failure seen);

struct client_results {
  histogram acquire_ns;  // of acquires that got a connection
  histogram request_ns;  // of requests that succeeded
  std::uint64_t requests = 0;
  std::uint64_t errors = 0;
  // How many of the errors happened because the pool lent a connection that its peer had already
  // closed.
  std::uint64_t stale_errors = 0;
  std::vector<failure> failures;
  // The pool's statistics after the last request, before its connections are closed.
  pool_stats connections;
  std::uint64_t began_ns = 0;  // CLOCK_MONOTONIC
  std::uint64_t ended_ns = 0;
};

class alignas(64) client_group {
 public:
  // Takes the share of shard `index`. `plan` and `servers` must outlive the group.
  client_group(const run_plan& plan, std::span<const endpoint> servers, unsigned index);
  ~client_group();
  client_group(const client_group&) = delete;
  client_group& operator=(const client_group&) = delete;

  // Call these on the shard, to which the group belongs until close() has returned. Errors: those
  // of pool::create.
  result<void> open(shard& home);
  task<void> run();
  task<void> close();

  // These may be called on any thread at any time.
  std::uint64_t requests_so_far() const noexcept {
    return requests_seen_.load(std::memory_order_relaxed);
  }
  std::uint64_t errors_so_far() const noexcept {
    return errors_seen_.load(std::memory_order_relaxed);
  }

  // Valid after run().
  const client_results& results() const noexcept { return results_; }

 private:
  struct slot;

  std::uint64_t due_ns(const slot& self) const noexcept;
  bool over(std::uint64_t at_ns) const noexcept;
  task<void> run_slot(slot& self);
  task<void> run_client(slot& self);
  task<void> make_request(slot& self, std::uint64_t began_ns);
  void succeeded(std::uint64_t began_ns) noexcept;
  void failed(const error& why, bool is_stale);

  const run_plan* plan_;
  std::span<const endpoint> servers_;
  std::uint32_t slots_ = 0;         // how many clients run at once on this shard
  std::uint32_t first_slot_ = 0;    // how many slots the shards before this one have
  std::uint32_t clients_left_ = 0;  // clients of this shard that have not started
  double interval_ns_ = 0;          // between two requests of a slot; 0 without a rate

  shard* home_ = nullptr;
  std::optional<pool> pool_;
  std::vector<endpoint_handle> handles_;
  client_results results_;

  std::atomic<std::uint64_t> requests_seen_ = 0;
  std::atomic<std::uint64_t> errors_seen_ = 0;
};

}  // namespace conpool::bench

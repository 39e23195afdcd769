#include <bench/client.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <functional>
#include <utility>

#include <conpool/pool/lease.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/scope.h>

namespace conpool::bench {
namespace {

// A preset may have 500 clients wait for 2 connections, which is not an error.
constexpr std::chrono::seconds acquire_timeout(30);
constexpr std::size_t failures_max = 8;

std::uint64_t now_ns() noexcept {
  timespec reading;
  ::clock_gettime(CLOCK_MONOTONIC, &reading);
  return static_cast<std::uint64_t>(reading.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(reading.tv_nsec);
}

// The size of part `index` when `total` is split into `parts`, and where that part begins.
std::uint32_t share(std::uint32_t total, std::uint32_t parts, std::uint32_t index) noexcept {
  return total / parts + (index < total % parts ? 1 : 0);
}
std::uint32_t share_begin(std::uint32_t total, std::uint32_t parts, std::uint32_t index) noexcept {
  return total / parts * index + std::min(index, total % parts);
}

// SplitMix64, by Sebastiano Vigna: good enough to pick a server, and cheap.
std::uint64_t next_random(std::uint64_t& state) noexcept {
  state += 0x9E3779B97F4A7C15;
  std::uint64_t mixed = state;
  mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
  return mixed ^ (mixed >> 31);
}

pool_config config_of(const run_plan& plan) {
  pool_config config;
  config.max_connections_per_endpoint = plan.pool_size;
  config.max_waiters_per_endpoint = std::max(plan.parallel, 1U);
  config.acquire_timeout = acquire_timeout;
  config.validation = plan.validation;
  return config;
}

}  // namespace

// Room for one running client. When that client is done, the next one starts in its slot.
struct client_group::slot {
  slot(const run_plan& plan, std::uint32_t number_in_run)
      : talk(plan.protocol, plan.message_bytes, number_in_run),
        random(number_in_run),
        number(number_in_run) {}

  exchange talk;
  std::uint64_t random;
  std::uint32_t number;
  std::uint64_t requests = 0;
};

void add_failure(std::vector<failure>& to, failure seen) {
  for (failure& known : to) {
    if (known.kind == seen.kind && known.where == seen.where && known.subject == seen.subject) {
      known.count += seen.count;
      return;
    }
  }
  if (to.size() < failures_max || seen.kind == errc{}) {
    to.push_back(std::move(seen));
  } else {
    add_failure(to, {errc{}, phase::none, {}, "other errors", seen.count});
  }
}

client_group::client_group(const run_plan& plan, std::span<const endpoint> servers, unsigned index)
    : plan_(&plan), servers_(servers) {
  // A shard without a slot gets no clients either.
  const std::uint32_t parts = std::min(plan.shards, plan.parallel);
  if (index >= parts) return;
  slots_ = share(plan.parallel, parts, index);
  first_slot_ = share_begin(plan.parallel, parts, index);
  clients_left_ = share(plan.clients, parts, index);
  if (plan.rate_per_s > 0) interval_ns_ = plan.parallel * 1e9 / plan.rate_per_s;
}

client_group::~client_group() = default;

result<void> client_group::open(shard& home) {
  home_ = &home;
  result<pool> made = pool::create(home, config_of(*plan_));
  if (!made) return fail(std::move(made.error()));
  pool_.emplace(std::move(*made));
  for (const endpoint& server : servers_) handles_.push_back(pool_->handle(server));
  return {};
}

task<void> client_group::run() {
  std::vector<std::unique_ptr<slot>> slots;
  slots.reserve(slots_);
  for (std::uint32_t index = 0; index < slots_; ++index) {
    slots.push_back(std::make_unique<slot>(*plan_, first_slot_ + index));
  }
  scope running(*home_);
  results_.began_ns = now_ns();
  for (const std::unique_ptr<slot>& each : slots) {
    running.spawn(&client_group::run_slot, this, std::ref(*each));
  }
  co_await running.join();
  results_.ended_ns = now_ns();
  results_.connections = pool_->totals();
}

task<void> client_group::close() {
  if (!pool_) co_return;
  auto closed = co_await pool_->close();
  static_cast<void>(closed);  // only a stopping shard ends it early, and that closes everything too
  handles_.clear();
  pool_.reset();
}

task<void> client_group::run_slot(slot& self) {
  while (clients_left_ > 0) {
    --clients_left_;
    co_await run_client(self);
  }
}

// When the slot's next request is due, if the run has a rate.
std::uint64_t client_group::due_ns(const slot& self) const noexcept {
  const double turn = static_cast<double>(self.requests) +
                      static_cast<double>(self.number) / static_cast<double>(plan_->parallel);
  return results_.began_ns + static_cast<std::uint64_t>(turn * interval_ns_);
}

bool client_group::over(std::uint64_t at_ns) const noexcept {
  return plan_->timed() &&
         at_ns >= results_.began_ns + static_cast<std::uint64_t>(plan_->duration.count());
}

task<void> client_group::run_client(slot& self) {
  for (std::uint64_t message = 0; plan_->timed() || message < plan_->messages; ++message) {
    std::uint64_t began_ns = now_ns();
    if (interval_ns_ > 0) {
      const std::uint64_t due = due_ns(self);
      if (over(due)) co_return;
      if (began_ns < due) {
        auto waited = co_await home_->sleep_until(time_point(duration(due)));
        if (!waited) co_return;
        began_ns = now_ns();
      } else {
        // This request had to wait for the one before it. The wait counts; otherwise a slow server
        // would hide behind the requests that were not made in the meantime.
        began_ns = due;
      }
    }
    if (over(began_ns)) co_return;
    co_await make_request(self, began_ns);
    ++self.requests;
  }
}

task<void> client_group::make_request(slot& self, std::uint64_t began_ns) {
  const std::uint64_t random = next_random(self.random) >> 32;
  const endpoint_handle& server = handles_[(random * handles_.size()) >> 32];
  const std::uint64_t asked_ns = interval_ns_ > 0 ? now_ns() : began_ns;
  auto taken = co_await pool_->acquire(server);
  if (!taken) {
    failed(taken.error(), false);
    // An error that comes without a wait must not keep the shard from its other work.
    co_await home_->yield();
    co_return;
  }
  results_.acquire_ns.record(now_ns() - asked_ns);
  lease held = std::move(*taken);
  const std::uint64_t received_before = held->bytes_received();
  auto done = co_await self.talk.run(*held);
  if (!done) {
    const errc kind = done.error().kind();
    const bool ended = kind == errc::connection_closed || kind == errc::connection_reset;
    failed(done.error(), ended && held.reused() && held->bytes_received() == received_before);
    held.discard();
    co_return;
  }
  held.release();
  succeeded(began_ns);
}

void client_group::succeeded(std::uint64_t began_ns) noexcept {
  results_.request_ns.record(now_ns() - began_ns);
  ++results_.requests;
  requests_seen_.store(results_.requests, std::memory_order_relaxed);
}

void client_group::failed(const error& why, bool is_stale) {
  ++results_.requests;
  ++results_.errors;
  if (is_stale) ++results_.stale_errors;
  requests_seen_.store(results_.requests, std::memory_order_relaxed);
  errors_seen_.store(results_.errors, std::memory_order_relaxed);
  add_failure(results_.failures,
              {why.kind(), why.where(), std::string(why.subject()), why.message(), 1});
}

}  // namespace conpool::bench

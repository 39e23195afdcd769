// What the parts of a pool read of the whole, and what they ask of it.
//
// The configuration, the protocol, the observer, the pause, the line at the cap over all endpoints.
// The pool's core derives from it and is the only one that changes it; everything that belongs to a
// pool holds a reference, so it lives until the last lease, connect and handle are gone. Used on
// its shard only.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>

#include <conpool/pool/config.h>
#include <conpool/pool/detail/connection_cap.h>
#include <conpool/pool/detail/counted.h>
#include <conpool/pool/detail/event_queue.h>
#include <conpool/pool/detail/protocol_hooks.h>
#include <conpool/pool/endpoint.h>
#include <conpool/runtime/detail/context.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/shard.h>

namespace conpool {

// What an acquire does while the pool is paused.
enum class while_paused : std::uint8_t { wait, fail };

class pool_facts : public reference_counted {
 public:
  shard& home() const noexcept { return *home_; }
  const pool_config& config() const noexcept { return config_; }
  // What holds for an endpoint: its own, or the pool's.
  const pool_config& config_of(const endpoint& to) const noexcept {
    const auto own = own_configs_.find(to);
    return own == own_configs_.end() ? config_ : own->second;
  }
  // Null without a protocol.
  const protocol_hooks* hooks() const noexcept { return hooks_; }
  void* protocol() const noexcept { return protocol_.get(); }
  // Of all connects; cancelled when the pool is shut down.
  context& dial_context() noexcept { return dial_context_; }
  connection_cap& cap() noexcept { return cap_; }
  const connection_cap& cap() const noexcept { return cap_; }

  bool closed() const noexcept { return closed_ != errc{}; }
  errc closed_because() const noexcept { return closed_; }
  bool paused() const noexcept { return paused_; }
  bool pause_fails() const noexcept { return pause_policy_ == while_paused::fail; }

  // The shard began to stop, and may be gone by now: nothing is left to it to do.
  bool shard_has_stopped() const noexcept { return shard_has_stopped_; }
  bool observed() const noexcept { return events_.observed() && !shard_has_stopped_; }
  void tell(event_queue::record event) noexcept { events_.tell(std::move(event)); }

  std::uint64_t next_serial() noexcept { return ++last_serial_; }
  // Callers are numbered in the order of arrival over all endpoints.
  std::uint64_t next_ticket() noexcept { return ++last_ticket_; }

  // A connection is gone from a pool that was shut down: perhaps it was the last.
  virtual void look_if_quiet() noexcept = 0;
  // Gives back all that an unused endpoint has, and destroys its pool.
  virtual void forget(const endpoint& unused) noexcept = 0;

 protected:
  pool_facts(shard& home, const pool_config& config, const protocol_hooks* hooks,
             std::shared_ptr<void> protocol)
      : home_(&home),
        config_(config),
        hooks_(hooks),
        protocol_(std::move(protocol)),
        events_(*this, home),
        cap_(config_) {}
  ~pool_facts() override = default;

  shard* home_;
  pool_config config_;
  std::unordered_map<endpoint, pool_config> own_configs_;  // of single endpoints
  const protocol_hooks* hooks_;
  std::shared_ptr<void> protocol_;
  context dial_context_;
  event_queue events_;
  connection_cap cap_;
  std::uint64_t last_serial_ = 0;
  std::uint64_t last_ticket_ = 0;
  errc closed_{};
  bool shard_has_stopped_ = false;
  bool paused_ = false;
  while_paused pause_policy_ = while_paused::wait;
};

}  // namespace conpool

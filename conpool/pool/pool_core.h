// What a pool, its leases and its connects share: lives until the last of them is gone.
//
// Internal. A `pool` is a handle to it, so a pool may be destroyed while connections are leased or
// the kernel still holds operations. Counted without atomics: everything is on one shard, or after
// the shard's end on whichever thread drops the last lease.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include <conpool/pool/config.h>
#include <conpool/pool/endpoint.h>
#include <conpool/pool/endpoint_pool.h>
#include <conpool/runtime/context.h>
#include <conpool/runtime/event.h>
#include <conpool/runtime/shard.h>

namespace conpool {

class pool_core : private shard_service {
 public:
  pool_core(shard& home, const pool_config& config);
  ~pool_core();

  shard& home() const noexcept { return *home_; }
  const pool_config& config() const noexcept { return config_; }
  const io_timeouts& timeouts() const noexcept { return timeouts_; }
  const socket_options& sockets() const noexcept { return sockets_; }
  context& dial_context() noexcept { return dial_context_; }
  std::uint64_t next_connection_id() noexcept { return ++last_connection_id_; }

  endpoint_pool& at(const endpoint& to);
  endpoint_pool* find(const endpoint& to) noexcept;
  auto& endpoints() noexcept { return endpoints_; }
  const auto& endpoints() const noexcept { return endpoints_; }

  bool closed() const noexcept { return closed_ != errc{}; }
  errc closed_because() const noexcept { return closed_; }
  // Lends no more; idempotent. Leased connections are closed when they come back.
  void shut_down(errc why) noexcept;
  // Set when the pool is shut down and only leased connections are left.
  event& quiet() noexcept { return quiet_; }
  void look_if_quiet() noexcept;

  void add_reference() noexcept { ++references_; }
  void drop_reference() noexcept {
    if (--references_ == 0) delete this;
  }

 private:
  static void shard_stops(shard_service& service) noexcept;

  shard* home_;
  pool_config config_;
  io_timeouts timeouts_;
  socket_options sockets_;
  context dial_context_;
  event quiet_;
  std::unordered_map<endpoint, std::unique_ptr<endpoint_pool>> endpoints_;
  std::uint64_t last_connection_id_ = 0;
  std::size_t references_ = 0;
  errc closed_{};
};

class core_pointer {
 public:
  core_pointer() noexcept = default;
  explicit core_pointer(pool_core& core) noexcept : core_(&core) { core.add_reference(); }
  core_pointer(const core_pointer& other) noexcept : core_(other.core_) {
    if (core_ != nullptr) core_->add_reference();
  }
  core_pointer(core_pointer&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
  core_pointer& operator=(core_pointer other) noexcept {
    std::swap(core_, other.core_);
    return *this;
  }
  ~core_pointer() {
    if (core_ != nullptr) core_->drop_reference();
  }
  pool_core* operator->() const noexcept { return core_; }
  pool_core& operator*() const noexcept { return *core_; }
  explicit operator bool() const noexcept { return core_ != nullptr; }

 private:
  pool_core* core_ = nullptr;
};

}  // namespace conpool

#include <conpool/pool/pool_core.h>

namespace conpool {

pool_core::pool_core(shard& home, const pool_config& config)
    : shard_service(&pool_core::shard_stops),
      home_(&home),
      config_(config),
      timeouts_{config.read_timeout, config.write_timeout},
      quiet_(home) {
  using std::chrono::duration_cast;
  using std::chrono::seconds;
  sockets_.nodelay = config.tcp_nodelay;
  sockets_.keepalive = config.tcp_keepalive;
  sockets_.keepalive_idle = duration_cast<seconds>(config.keepalive_idle);
  sockets_.keepalive_interval = duration_cast<seconds>(config.keepalive_interval);
  sockets_.keepalive_probes = config.keepalive_probes;
  sockets_.user_timeout = config.tcp_user_timeout;
  sockets_.timeouts = timeouts_;
  home.add_service(*this);
}

// The last reference is gone: no handle, no lease, no connection, no connect. The shard may be
// gone, too; what it had of this was given back when it stopped.
pool_core::~pool_core() {
  CONPOOL_ASSERT(closed(), "a pool's core was freed before it was shut down");
}

endpoint_pool& pool_core::at(const endpoint& to) {
  const auto found = endpoints_.find(to);
  if (found != endpoints_.end()) [[likely]]
    return *found->second;
  auto made = std::make_unique<endpoint_pool>(*this, to);
  endpoint_pool& reference = *made;
  endpoints_.emplace(to, std::move(made));
  return reference;
}

endpoint_pool* pool_core::find(const endpoint& to) noexcept {
  const auto found = endpoints_.find(to);
  return found == endpoints_.end() ? nullptr : found->second.get();
}

void pool_core::shut_down(errc why) noexcept {
  if (closed()) return;
  home_->assert_owner();
  const core_pointer keep(*this);
  closed_ = why;
  home_->remove_service(*this);
  for (auto& [to, one] : endpoints_) one->shut_down(why);
  dial_context_.cancel(why);
  look_if_quiet();
}

void pool_core::look_if_quiet() noexcept {
  if (!closed() || quiet_.is_set()) return;
  for (const auto& [to, one] : endpoints_) {
    if (!one->quiet()) return;
  }
  quiet_.set();
}

void pool_core::shard_stops(shard_service& service) noexcept {
  static_cast<pool_core&>(service).shut_down(errc::shard_stopped);
}

}  // namespace conpool

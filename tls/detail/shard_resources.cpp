#include <algorithm>
#include <utility>

#include <conpool/runtime/detail/assert.h>
#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/profile_on_shard.h>
#include <conpool/tls/detail/shard_resources.h>
#include <conpool/tls/detail/span_bio.h>
#include <conpool/tls/detail/symbol_check.h>

namespace conpool::tls {

shard_resources::shard_resources(const shard_limits& limits, wall_clock_source& clock)
    : limits_(limits),
      clock_(&clock),
      usable_(symbol_check()),
      sessions_(limits.session_keys_max, limits.session_lifetime_max_s) {
  if (!usable_) return;
  certificates_.reset(CRYPTO_BUFFER_POOL_new());
  bio_ = make_span_bio();
  if (!certificates_ || !bio_) usable_ = fail(error(errc::out_of_memory, phase::configure));
}

shard_resources::~shard_resources() {
  CONPOOL_ASSERT(servers_ == 0, "shard_resources died before their server profiles");
  CONPOOL_ASSERT(window_.current == nullptr, "shard_resources died while they serve a channel");
}

result<profile_on_shard*> shard_resources::config_for(const profile_ptr& which) {
  if (!usable_) return fail(usable_.error());
  CONPOOL_ASSERT(which != nullptr, "config_for() needs a profile");
  if (const auto found = profiles_.find(which->id()); found != profiles_.end()) {
    return found->second.get();
  }
  forget_unused();
  std::unique_ptr<profile_on_shard> made(new profile_on_shard(*this, which));
  if (auto done = made->make(); !done) return fail(std::move(done).error());
  return profiles_.emplace(which->id(), std::move(made)).first->second.get();
}

void shard_resources::forget_unused() noexcept {
  for (auto at = profiles_.begin(); at != profiles_.end();) {
    profile_on_shard& looked_at = *at->second;
    const profile_ptr& held = looked_at.configuration();
    // Only shards hold it, and nobody else can get hold of it but by profile::make().
    const auto shards = static_cast<long>(held->holders().load(std::memory_order_acquire));
    if (looked_at.channels() == 0 && held.use_count() <= shards) {
      sessions_.purge(at->first);
      at = profiles_.erase(at);
    } else {
      ++at;
    }
  }
  std::erase_if(roots_, [](const shared_roots& known) { return known.source.expired(); });
}

result<x509_store_st*> shard_resources::roots_of(const trust_ptr& trust) {
  for (const shared_roots& known : roots_) {
    if (known.generation == trust->generation()) return known.store.get();
  }
  boringssl_ptr<x509_store_st> made = trust->make_store();
  if (!made) return fail(error(errc::out_of_memory, phase::configure).about("root certificates"));
  roots_.push_back({trust->generation(), std::move(made), trust});
  return roots_.back().store.get();
}

std::span<std::byte> shard_resources::scratch() {
  if (scratch_.empty()) scratch_.resize(record_bytes_max);
  return scratch_;
}

}  // namespace conpool::tls

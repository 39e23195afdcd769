// What all TLS streams of one shard share: the BIO, the scratch, the caches, the contexts.
//
//   tls::shard_resources engine;                                   // one for each shard, on its
//   thread auto context = engine.config_for(profile);           // cheap when it exists already
//   tls::channel stream(**context, peer);
//
// It outlives its streams and server contexts (asserted). Shared with nobody: a record takes no
// lock and no allocation but the engine's own two. It has no descriptor and no timer; whoever
// drives the streams has. Used on one thread.
//
// Making the first one checks that it is BoringSSL that is bound (symbol_check.h); until that has
// passed, config_for() fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include <conpool/runtime/error.h>
#include <conpool/tls/detail/boringssl_pointers.h>
#include <conpool/tls/detail/record_buffer.h>
#include <conpool/tls/detail/session_cache.h>
#include <conpool/tls/detail/wall_clock.h>
#include <conpool/tls/profile.h>

namespace conpool::tls {

class profile_on_shard;
class channel;

// The bounds; the defaults are for use, smaller ones for tests.
struct shard_limits {
  // Records under one key, in each direction; beyond it a new key is made (TLS 1.3), and the
  // connection should be retired (TLS 1.2). At twice the number it fails. AES-GCM: 2^24.5.
  std::uint64_t records_per_key = std::uint64_t{1} << 23;
  std::size_t handshake_bytes_max = 256 * 1024;  // received by one handshake
  std::uint32_t idle_messages_max = 16;          // tickets and key updates in one idle period
  std::size_t idle_bytes_max = 16 * 1024;
  std::size_t session_keys_max = 1024;
  std::int64_t session_lifetime_max_s = 24 * 3600;
  std::size_t verified_chains_max = 256;  // for each profile
  std::int64_t verified_lifetime_max_s = 3600;
};

struct shard_counters {
  std::uint64_t handshakes = 0;  // completed
  std::uint64_t resumed = 0;     // of these
  std::uint64_t handshakes_failed = 0;
  std::uint64_t verifications = 0;        // chains verified in full
  std::uint64_t verifications_saved = 0;  // found among the verified ones
  std::uint64_t insecure = 0;             // handshakes that accepted any certificate
  std::uint64_t key_updates = 0;          // begun on this side
  std::uint64_t tickets_lost = 0;         // received, and not kept for want of memory
};

class shard_resources {
 public:
  explicit shard_resources(const shard_limits& limits = shard_limits(),
                           wall_clock_source& clock = system_wall_clock());
  shard_resources(const shard_resources&) = delete;
  shard_resources& operator=(const shard_resources&) = delete;
  ~shard_resources();

  // The context of a profile on this shard, made at its first use. Valid as long as a stream of it
  // lives or somebody else holds the profile. Errors: unsupported if another library than
  // BoringSSL is bound, out_of_memory, invalid_config.
  result<profile_on_shard*> config_for(const profile_ptr& which);
  // Frees the contexts and tickets of profiles that only this engine holds, unless they have
  // streams. Called by config_for() before it makes a context.
  void forget_unused() noexcept;

  session_cache& sessions() noexcept { return sessions_; }
  const shard_limits& limits() const noexcept { return limits_; }
  const shard_counters& counters() const noexcept { return counters_; }
  std::int64_t now_s() noexcept { return clock_->now_s(); }
  std::size_t profiles() const noexcept { return profiles_.size(); }

 private:
  friend class ssl_config;
  friend class io_scope;
  friend class profile_on_shard;
  friend class server_profile;
  friend class channel;
  friend struct span_bio;

  // What the BIO reads from and writes to, while an engine call runs.
  struct io_window {
    std::span<const std::byte> input;
    record_buffer* output = nullptr;
    channel* current = nullptr;
  };
  struct shared_roots {
    std::uint64_t generation;
    boringssl_ptr<x509_store_st> store;
    std::weak_ptr<const trust_store> source;
  };

  result<x509_store_st*> roots_of(const trust_ptr& trust);
  std::span<std::byte> scratch();

  shard_limits limits_;
  shard_counters counters_;
  wall_clock_source* clock_;
  io_window window_;
  result<void> bound_;  // the self-check's answer
  // In this order: the pool of certificates outlives everything that may refer to one.
  boringssl_ptr<crypto_buffer_pool_st> certificates_;
  boringssl_ptr<bio_st> bio_;
  std::vector<std::byte> scratch_;  // where small writes become one record; made at first use
  std::vector<shared_roots> roots_;
  session_cache sessions_;
  std::unordered_map<std::uint32_t, std::unique_ptr<profile_on_shard>> profiles_;
  std::size_t servers_ = 0;
};

}  // namespace conpool::tls

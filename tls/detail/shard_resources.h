// What all TLS channels of one shard share: the BIO, scratch memory, sessions, roots and profiles.
//
//   tls::shard_resources resources;                       // one for each shard, on its thread
//   auto config = resources.config_for(profile);          // cheap when it exists already
//   tls::channel channel(**config, peer);
//
// It outlives its channels and server profiles (asserted). No other shard uses it, so a record
// takes no lock, and no allocation but BoringSSL's own two. It has no descriptor and no timer;
// whoever drives the channels has. Used on one thread; shard_tls owns it.
//
// Making the first one checks that it is BoringSSL that the program is bound to (symbol_check.h);
// if that check fails, config_for() does, with its reason.
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

class channel;
class profile_on_shard;

// The bounds; the defaults are for use, smaller ones for tests.
struct shard_limits {
  // Records under one key, in each direction; beyond it a new key is made (TLS 1.3), or the
  // connection is to be retired (TLS 1.2). At twice the number it fails. AES-GCM: 2^24.5.
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
  // What the BIO reads from and writes to while a call into BoringSSL runs (io_scope).
  struct io_window {
    std::span<const std::byte> input;
    record_buffer* output = nullptr;
    channel* current = nullptr;
  };

  explicit shard_resources(const shard_limits& limits = shard_limits(),
                           wall_clock_source& clock = system_wall_clock());
  shard_resources(const shard_resources&) = delete;
  shard_resources& operator=(const shard_resources&) = delete;
  ~shard_resources();

  // The profile on this shard, made at its first use. Valid as long as a channel of it lives or
  // somebody else holds the profile. Errors: unsupported if another library than BoringSSL is
  // bound, out_of_memory, invalid_config.
  result<profile_on_shard*> config_for(const profile_ptr& which);
  // Frees what there is here of profiles that only the shards hold, and their tickets, unless they
  // have channels. config_for() calls it before it makes a new one.
  void forget_unused() noexcept;
  // How many profiles this shard knows.
  std::size_t profiles() const noexcept { return profiles_.size(); }

  session_cache& sessions() noexcept { return sessions_; }
  const shard_limits& limits() const noexcept { return limits_; }
  const shard_counters& counters() const noexcept { return counters_; }
  shard_counters& counters() noexcept { return counters_; }
  // The time of day, in seconds since 1970.
  std::int64_t now_s() noexcept { return clock_->now_s(); }

  // Whether TLS can be used at all. Errors: symbol_check()'s, out_of_memory.
  const result<void>& usable() const noexcept { return usable_; }
  crypto_buffer_pool_st* certificates() const noexcept { return certificates_.get(); }
  bio_st* bio() const noexcept { return bio_.get(); }
  io_window& window() noexcept { return window_; }
  // Valid as long as somebody holds the trust store. Errors: out_of_memory.
  result<x509_store_st*> roots_of(const trust_ptr& trust);
  // record_bytes_max bytes, in which small writes become one record. Good for one call.
  std::span<std::byte> scratch();
  void server_began() noexcept { ++servers_; }
  void server_ended() noexcept { --servers_; }

 private:
  struct shared_roots {
    std::uint64_t generation;
    boringssl_ptr<x509_store_st> store;
    std::weak_ptr<const trust_store> source;
  };

  shard_limits limits_;
  shard_counters counters_;
  wall_clock_source* clock_;
  io_window window_;
  result<void> usable_;
  // In this order: the pool of certificates outlives everything that may refer to one.
  boringssl_ptr<crypto_buffer_pool_st> certificates_;
  boringssl_ptr<bio_st> bio_;
  std::vector<std::byte> scratch_;  // made at its first use
  std::vector<shared_roots> roots_;
  session_cache sessions_;
  std::unordered_map<std::uint32_t, std::unique_ptr<profile_on_shard>> profiles_;
  std::size_t servers_ = 0;
};

}  // namespace conpool::tls

// Certificate chains that were verified, so that the same chain need not be verified again.
//
// Verification costs 90 to 390 us, and every handshake asks for it, a resumed one too. A chain is
// found again by all of its bytes. The shard's pool of certificates gives equal certificates one
// address, so this is mostly a comparison of pointers, far below 1 us. What the verdict depends on
// besides the chain (name, roots, policy) belongs to the profile, and each profile of a shard has
// its own cache.
//
// An entry ends with the first certificate of the chain, with the revocation lists, or with its own
// lifetime. When the cache is full, the entry that was used longest ago makes room.
//
// A profile_on_shard owns it; it is used on the shard's thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <conpool/tls/detail/boringssl_pointers.h>

namespace conpool::tls {

class chain_cache {
 public:
  explicit chain_cache(std::size_t entries_max) noexcept : entries_max_(entries_max) {}

  // If the chain was verified and the verdict holds at `now_s`: when the chain itself ends.
  std::optional<std::int64_t> end_of(std::span<const crypto_buffer_st* const> chain,
                                     std::int64_t now_s);
  // `forgotten_at_s`: when the verdict ends, which is at the chain's end at the latest.
  void insert(std::span<crypto_buffer_st* const> chain, std::int64_t ends_s,
              std::int64_t forgotten_at_s);

  std::size_t size() const noexcept { return entries_.size(); }
  void clear() noexcept { entries_.clear(); }

 private:
  struct entry {
    std::vector<boringssl_ptr<crypto_buffer_st>> chain;
    std::int64_t ends_s;
    std::int64_t forgotten_at_s;
    std::uint64_t used;
  };
  static bool same(const entry& known, std::span<const crypto_buffer_st* const> chain) noexcept;

  std::vector<entry> entries_;
  std::size_t entries_max_;
  std::uint64_t uses_ = 0;
};

}  // namespace conpool::tls

#include <algorithm>
#include <cstring>
#include <utility>

#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/chain_cache.h>

namespace conpool::tls {

bool chain_cache::same(const entry& known,
                       std::span<const crypto_buffer_st* const> chain) noexcept {
  if (known.chain.size() != chain.size()) return false;
  for (std::size_t at = 0; at < chain.size(); ++at) {
    const CRYPTO_BUFFER* left = known.chain[at].get();
    const CRYPTO_BUFFER* right = chain[at];
    if (left == right) continue;
    const std::size_t size = CRYPTO_BUFFER_len(left);
    if (size != CRYPTO_BUFFER_len(right) ||
        std::memcmp(CRYPTO_BUFFER_data(left), CRYPTO_BUFFER_data(right), size) != 0) {
      return false;
    }
  }
  return true;
}

std::optional<std::int64_t> chain_cache::end_of(std::span<const crypto_buffer_st* const> chain,
                                                std::int64_t now_s) {
  const auto found =
      std::ranges::find_if(entries_, [&](const entry& known) { return same(known, chain); });
  if (found == entries_.end()) return std::nullopt;
  if (found->forgotten_at_s <= now_s) {
    entries_.erase(found);
    return std::nullopt;
  }
  found->used = ++uses_;
  return found->ends_s;
}

void chain_cache::insert(std::span<crypto_buffer_st* const> chain, std::int64_t ends_s,
                         std::int64_t forgotten_at_s) {
  if (entries_max_ == 0) return;
  if (entries_.size() >= entries_max_)
    entries_.erase(std::ranges::min_element(entries_, {}, &entry::used));
  entry made{{}, ends_s, forgotten_at_s, ++uses_};
  made.chain.reserve(chain.size());  // a reference that was taken can always be kept
  for (crypto_buffer_st* certificate : chain) {
    CRYPTO_BUFFER_up_ref(certificate);
    made.chain.emplace_back(certificate);
  }
  entries_.push_back(std::move(made));
}

}  // namespace conpool::tls

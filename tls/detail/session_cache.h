// The sessions of earlier connections, to be resumed: those of one shard.
//
// The key is the profile's id and the peer, both in full: a session proves an identity and carries
// a verdict on the peer's, so it must never meet another name, certificate or policy. The cache
// keeps the newest few sessions of a key (4), and the keys that were used last (1024).
//
// Whoever offers a session of TLS 1.3 takes it out: it is used once, so that connections cannot be
// linked by it. A session of TLS 1.2 stays. Both end at the lifetime that the server gave, at
// lifetime_max_s, or with the verdict on the peer's chain, whichever comes first.
//
// Some peers end, reset or ignore a client who offers what they do not know any more. After such a
// failure the sessions of the key are gone and none is given out for pause_min_s, and for twice as
// long after each further failure, up to pause_max_s, until one was resumed.
//
// The shard_resources own it; it is used on their thread only. It costs nothing for a connection
// that is reused, and a lookup and a list operation for a handshake.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include <conpool/runtime/detail/intrusive_list.h>
#include <conpool/tls/detail/boringssl_pointers.h>

namespace conpool::tls {

class session_cache {
 public:
  static constexpr std::size_t sessions_per_key = 4;
  static constexpr std::int64_t pause_min_s = 60;
  static constexpr std::int64_t pause_max_s = 3600;

  session_cache(std::size_t keys_max, std::int64_t lifetime_max_s);
  ~session_cache();

  // Keeps a session, at most until `ends_s`, when the verdict on its chain ends. The oldest of its
  // key, or the key that was used longest ago, makes room.
  void put(std::uint32_t profile, std::string_view peer, boringssl_ptr<ssl_session_st> session,
           std::int64_t now_s, std::int64_t ends_s);
  // The newest that has not ended; null if there is none, or if the key has a pause.
  boringssl_ptr<ssl_session_st> take(std::uint32_t profile, std::string_view peer,
                                     std::int64_t now_s);
  // A session that was taken was offered in vain: the key loses all, and has a pause.
  void failed(std::uint32_t profile, std::string_view peer, std::int64_t now_s) noexcept;
  // One was resumed: the next pause is a short one.
  void resumed(std::uint32_t profile, std::string_view peer) noexcept;
  // Forgets the sessions of a key.
  void purge(std::uint32_t profile, std::string_view peer) noexcept;
  // Forgets all sessions of a profile.
  void purge(std::uint32_t profile) noexcept;

  std::size_t keys() const noexcept { return entries_.size(); }
  // How many sessions a key has, ended ones too.
  std::size_t count(std::uint32_t profile, std::string_view peer) const noexcept;

 private:
  struct key {
    std::uint32_t profile;
    std::string peer;
  };
  struct key_view {
    std::uint32_t profile;
    std::string_view peer;
  };
  struct hash {
    using is_transparent = void;
    std::size_t operator()(const key_view& of) const noexcept;
    std::size_t operator()(const key& of) const noexcept {
      return (*this)(key_view{of.profile, of.peer});
    }
  };
  struct equal {
    using is_transparent = void;
    template <typename Left, typename Right>
    bool operator()(const Left& left, const Right& right) const noexcept {
      return left.profile == right.profile && left.peer == right.peer;
    }
  };
  struct kept {
    boringssl_ptr<ssl_session_st> session;
    std::int64_t ends_s = 0;
  };
  struct entry : list_hook<> {
    const key* name = nullptr;
    std::array<kept, sessions_per_key> newest_first;
    std::int64_t paused_at_s = 0;
    std::uint32_t failures = 0;  // since one was resumed

    bool paused(std::int64_t now_s) const noexcept;
    bool has_session() const noexcept;
  };
  using map = std::unordered_map<key, std::unique_ptr<entry>, hash, equal>;

  map::iterator find_or_make(std::uint32_t profile, std::string_view peer);
  void forget(map::iterator which) noexcept;

  map entries_;
  intrusive_list<entry> by_use_;  // the one used last is in front
  std::size_t keys_max_;
  std::int64_t lifetime_max_s_;
};

}  // namespace conpool::tls

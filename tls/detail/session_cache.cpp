#include <algorithm>
#include <utility>

#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/session_cache.h>

namespace conpool::tls {

session_cache::session_cache(std::size_t keys_max, std::int64_t lifetime_max_s)
    : keys_max_(std::max<std::size_t>(keys_max, 1)), lifetime_max_s_(lifetime_max_s) {}

session_cache::~session_cache() {
  while (!by_use_.empty()) by_use_.pop_front();
}

std::size_t session_cache::hash::operator()(const key_view& of) const noexcept {
  return std::hash<std::string_view>()(of.peer) ^ (of.profile * 0x9e3779b97f4a7c15);
}

void session_cache::forget(map::iterator which) noexcept {
  by_use_.remove(*which->second);
  entries_.erase(which);
}

void session_cache::put(std::uint32_t profile, std::string_view peer,
                        boringssl_ptr<ssl_session_st> session, std::int64_t now_s) {
  const std::int64_t lifetime_s =
      std::min<std::int64_t>(SSL_SESSION_get_timeout(session.get()), lifetime_max_s_);
  if (lifetime_s <= 0) return;
  auto found = entries_.find(key_view{profile, peer});
  if (found == entries_.end()) {
    if (entries_.size() >= keys_max_) forget(entries_.find(*by_use_.back().name));
    found = entries_.emplace(key{profile, std::string(peer)}, std::make_unique<entry>()).first;
    found->second->name = &found->first;
    by_use_.push_front(*found->second);
  }
  auto& ring = found->second->newest_first;
  std::rotate(ring.begin(), ring.end() - 1, ring.end());
  ring.front() = {std::move(session), now_s + lifetime_s};
}

boringssl_ptr<ssl_session_st> session_cache::take(std::uint32_t profile, std::string_view peer,
                                                  std::int64_t now_s) {
  const auto found = entries_.find(key_view{profile, peer});
  if (found == entries_.end()) return nullptr;
  auto& ring = found->second->newest_first;
  boringssl_ptr<ssl_session_st> taken;
  for (kept& one : ring) {
    if (one.session && one.ends_s <= now_s) one.session.reset();
    if (!one.session || taken) continue;
    if (SSL_SESSION_should_be_single_use(one.session.get()) != 0) {
      taken = std::move(one.session);
    } else {
      SSL_SESSION_up_ref(one.session.get());
      taken.reset(one.session.get());
    }
  }
  const bool some_left =
      std::ranges::any_of(ring, [](const kept& one) { return one.session != nullptr; });
  if (!some_left) {
    forget(found);
  } else {
    by_use_.remove(*found->second);
    by_use_.push_front(*found->second);
  }
  return taken;
}

void session_cache::purge(std::uint32_t profile, std::string_view peer) noexcept {
  const auto found = entries_.find(key_view{profile, peer});
  if (found != entries_.end()) forget(found);
}

void session_cache::purge(std::uint32_t profile) noexcept {
  for (auto at = entries_.begin(); at != entries_.end();) {
    const auto which = at++;
    if (which->first.profile == profile) forget(which);
  }
}

std::size_t session_cache::count(std::uint32_t profile, std::string_view peer) const noexcept {
  const auto found = entries_.find(key_view{profile, peer});
  if (found == entries_.end()) return 0;
  return static_cast<std::size_t>(std::ranges::count_if(
      found->second->newest_first, [](const kept& one) { return one.session != nullptr; }));
}

}  // namespace conpool::tls

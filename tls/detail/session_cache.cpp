#include <algorithm>
#include <new>
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

// A clock that was set back ends a pause, too.
bool session_cache::entry::paused(std::int64_t now_s) const noexcept {
  if (failures == 0) return false;
  constexpr std::uint32_t doublings_max = 16;  // far above pause_max_s
  const std::int64_t length_s =
      std::min(pause_min_s << std::min(failures - 1, doublings_max), pause_max_s);
  return now_s >= paused_at_s && now_s < paused_at_s + length_s;
}

bool session_cache::entry::has_session() const noexcept {
  return std::ranges::any_of(newest_first, [](const kept& one) { return one.session != nullptr; });
}

session_cache::map::iterator session_cache::find_or_make(std::uint32_t profile,
                                                         std::string_view peer) {
  const auto found = entries_.find(key_view{profile, peer});
  if (found != entries_.end()) return found;
  if (entries_.size() >= keys_max_) forget(entries_.find(*by_use_.back().name));
  const auto made =
      entries_.emplace(key{profile, std::string(peer)}, std::make_unique<entry>()).first;
  made->second->name = &made->first;
  by_use_.push_front(*made->second);
  return made;
}

void session_cache::put(std::uint32_t profile, std::string_view peer,
                        boringssl_ptr<ssl_session_st> session, std::int64_t now_s,
                        std::int64_t ends_s) {
  const std::int64_t lifetime_s =
      std::min<std::int64_t>(SSL_SESSION_get_timeout(session.get()), lifetime_max_s_);
  if (lifetime_s <= 0 || ends_s <= now_s) return;
  auto& ring = find_or_make(profile, peer)->second->newest_first;
  std::rotate(ring.begin(), ring.end() - 1, ring.end());
  ring.front() = {std::move(session), std::min(now_s + lifetime_s, ends_s)};
}

boringssl_ptr<ssl_session_st> session_cache::take(std::uint32_t profile, std::string_view peer,
                                                  std::int64_t now_s) {
  const auto found = entries_.find(key_view{profile, peer});
  if (found == entries_.end()) return nullptr;
  if (found->second->paused(now_s)) return nullptr;
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
  if (!found->second->has_session() && found->second->failures == 0) {
    forget(found);
  } else {
    by_use_.remove(*found->second);
    by_use_.push_front(*found->second);
  }
  return taken;
}

void session_cache::failed(std::uint32_t profile, std::string_view peer,
                           std::int64_t now_s) noexcept {
  try {
    entry& one = *find_or_make(profile, peer)->second;
    for (kept& session : one.newest_first) session.session.reset();
    // Several connects may have offered theirs at once.
    if (one.paused(now_s)) return;
    ++one.failures;
    one.paused_at_s = now_s;
  } catch (const std::bad_alloc&) {
    purge(profile, peer);  // there is nothing then, and no pause
  }
}

void session_cache::resumed(std::uint32_t profile, std::string_view peer) noexcept {
  const auto found = entries_.find(key_view{profile, peer});
  if (found != entries_.end()) found->second->failures = 0;
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

// The addresses of names that were asked for lately: at most `names_max` names, each until it
// expires.
//
// A resolver owns it and uses it on its shard's thread. A look-up costs one hash; storing
// allocates. When the cache is full, the name that was stored longest ago goes. It reads no clock:
// the caller passes the time in.
#pragma once

#include <cstddef>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <conpool/runtime/address.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/intrusive_list.h>

namespace conpool::detail {

class resolver_cache {
 public:
  static constexpr std::size_t names_max = 1024;

  resolver_cache() = default;
  ~resolver_cache() { clear(); }

  // Returns the addresses of `name`, valid until the next change; null if the name is not known or
  // has expired.
  const std::vector<socket_address>* find(const std::string& name, time_point now) {
    const auto at = names_.find(name);
    if (at == names_.end()) return nullptr;
    if (at->second.expires > now) return &at->second.addresses;
    by_age_.remove(at->second);
    names_.erase(at);
    return nullptr;
  }

  void store(const std::string& name, std::vector<socket_address> addresses, time_point expires) {
    const auto [at, is_new] = names_.try_emplace(name);
    entry& stored = at->second;
    if (!is_new) by_age_.remove(stored);
    stored.name = &at->first;
    stored.addresses = std::move(addresses);
    stored.expires = expires;
    by_age_.push_back(stored);
    if (names_.size() > names_max) names_.erase(*by_age_.pop_front().name);
  }

  std::size_t size() const noexcept { return names_.size(); }

  void clear() noexcept {
    while (!by_age_.empty()) by_age_.pop_front();
    names_.clear();
  }

 private:
  struct entry : list_hook<resolver_cache> {
    const std::string* name = nullptr;  // the key in names_, which stays in place
    std::vector<socket_address> addresses;
    time_point expires;
  };

  std::unordered_map<std::string, entry> names_;
  intrusive_list<entry, list_hook<resolver_cache>> by_age_;  // oldest first
};

}  // namespace conpool::detail

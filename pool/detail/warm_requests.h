// Those who wait until so many connections of an endpoint stand (pool::warm()).
//
// Each request lives in its caller's frame and is in the list until its number stands, a connect
// has failed for it, or its caller gives up. Used on its shard only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/runtime/detail/intrusive_list.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/event.h>

namespace conpool {

struct warm_request : list_hook<warm_request> {
  warm_request(shard& home, std::uint32_t count) noexcept : wanted(count), done(home) {}
  std::uint32_t wanted;
  std::optional<error> failure;
  event done;
};

class warm_requests {
 public:
  explicit warm_requests(const endpoint_facts& facts) noexcept : facts_(&facts) {}

  bool empty() const noexcept { return list_.empty(); }
  void join(warm_request& request) noexcept { list_.push_back(request); }
  void leave(warm_request& request) noexcept {
    if (request.is_linked()) list_.remove(request);
  }

  // How many of `wanted` connections do not stand and may.
  std::uint32_t missing(std::uint32_t wanted) const noexcept {
    const std::uint32_t most = facts_->counts.active + facts_->config().idle_limit();
    const std::uint32_t standing = facts_->counts.active + facts_->counts.idle;
    return std::max(std::min(wanted, most), standing) - standing;
  }
  // What the largest request misses; 0 without one.
  std::uint32_t missing() const noexcept {
    std::uint32_t most = 0;
    for (const warm_request& one : list_) most = std::max(most, missing(one.wanted));
    return most;
  }

  // Tells those whose connections stand.
  void end_satisfied() noexcept {
    for (auto it = list_.begin(); it != list_.end();) {
      warm_request& one = *it++;
      if (missing(one.wanted) > 0) continue;
      list_.remove(one);
      one.done.set();
    }
  }
  // A connect has failed: the first of them hears why.
  void fail_first(const error& why) noexcept {
    if (list_.empty()) return;
    warm_request& first = list_.pop_front();
    first.failure = why;
    first.done.set();
  }
  // There will be no more connects. They leave by themselves.
  void fail_all(const error& why) noexcept {
    for (warm_request& one : list_) {
      one.failure = why;
      one.done.set();
    }
  }

 private:
  const endpoint_facts* facts_;
  intrusive_list<warm_request, list_hook<warm_request>> list_;
};

}  // namespace conpool

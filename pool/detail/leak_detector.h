// Who has which connection: tells the observer of lends and returns, and suspects leaks.
//
// With leak_threshold set it lists what is leased, in the order of lending, and reports each lease
// that is held longer once, with the place of its acquire. Shared connections are not listed.
// Used on its shard only.
#pragma once

#include <optional>
#include <source_location>

#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/runtime/clock.h>

namespace conpool {

class leak_detector {
 public:
  explicit leak_detector(endpoint_facts& facts) noexcept : facts_(&facts) {}

  // `listed`: the detector is on, and the connection is not shared. True if it is the one that
  // will be due first.
  bool lent(pooled_connection& taken, const std::source_location& where, bool listed) noexcept;
  // `may_be_listed`: it is not shared; a shared connection stays in the list where it is.
  void returned(pooled_connection& back, bool may_be_listed) noexcept;
  // It was switched off: nothing is known of what is leased.
  void forget_all() noexcept;

  // When the longest lease becomes suspect.
  std::optional<time_point> next_due() noexcept;
  void report(time_point now) noexcept;

 private:
  connection_list leased_;  // those not reported, longest lent first
  endpoint_facts* facts_;
};

}  // namespace conpool

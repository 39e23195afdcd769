// What a lend and a return look at, computed when something changes so that the hit path need not.
//
// What not every pool needs costs nothing on a hit: a pool that has to look closer at each lend
// (protocol hooks, probes, pings, an observer, leak detection, a pause) says `closely`, and one
// that has to look at each return marks its connections `supervised`.
#pragma once

#include <cstdint>

#include <conpool/pool/detail/connection_cap.h>
#include <conpool/pool/detail/endpoint_facts.h>

namespace conpool {

struct lend_rules {
  enum class look : std::uint8_t { not_at_all, at_completions, closely };

  // Computes all of it anew. After a change of the configuration, the pause, the observer, the
  // shortage at the cap, or of what stands.
  void refresh(const endpoint_facts& facts) noexcept;
  // From now on and while anybody waits, nobody passes: there are callers whom what is idle is kept
  // for. The first refresh after that ends it.
  void let_nobody_pass() noexcept {
    nobody_passes = true;
    lends = look::closely;
  }
  void close() noexcept {
    lends = look::closely;
    idle_room = 0;
  }

  std::uint32_t idle_room = 0;  // idle connections that a return may add to without a closer look
  std::uint32_t floor = 0;      // so few idle connections that a lend looks whether to refill them
  std::uint32_t dirty = ~0U;    // the conditions that keep a connection from being lent again
  look lends = look::closely;
  bool watch = true;            // completions are reaped before a lend
  bool shares = false;          // the protocol may share connections
  bool detects_leaks = false;   // leases are listed
  bool supervised = false;      // each return is looked at
  bool nobody_passes = false;   // see let_nobody_pass()
  cap_member* whose = nullptr;  // is told when its returns are quick
};

}  // namespace conpool

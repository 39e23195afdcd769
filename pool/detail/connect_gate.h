// When an endpoint may be dialed, how many connects at once, and when callers are refused: decided
// from facts alone.
//
// Failed connects are counted by rounds, in rows. A dial that began before the last counted failure
// tells nothing new, so it does not count again: of 32 that fail in one moment one counts. After
// the k-th failure in a row the next connect waits a random time between 0 and connect_backoff_min
// * 2^(k-1), at most connect_backoff_max ("full jitter": Brooker, "Exponential Backoff and Jitter",
// AWS Architecture Blog, 2015), so that many clients of one broken server spread out. A row ends
// when a new connection is lent for the first time; that it stood is not enough, since a server
// that accepts and closes at once is failing, too.
//
// There are three rows, by whose business a failure is:
//   callers    a connect for somebody who waits; it puts off all connects
//   spare      a refill of min_idle_per_endpoint, or for warm(); also a connection that was closed
//              before anybody needed it. It puts off other spare ones, and no caller
//   ourselves  this process is out of descriptors, memory or ports; it puts off all connects, and
//              says nothing of the server
//
// The breaker opens when breaker_failures rounds of callers' connects have failed in a row while
// nothing stood, or at once if the server's refusal is permanent. Then callers are refused. While
// something stands, failed connects limit growth and nobody is refused; such failures say what the
// server admits beside what it has, so they are no part of the row that counts once nothing stands.
// The breaker closes as soon as something stands.
//
// After a failure one connect at a time goes on, until one stands. Before one has stood, after the
// start or after connections were lost to the server, there are at most `untried_most` at once.
//
// Owned by an endpoint's pool. It holds no timer: next_attempt() says when to look again.
#pragma once

#include <algorithm>
#include <cstdint>

#include <conpool/pool/config.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/random.h>

namespace conpool {

class connect_gate {
 public:
  // Most connects at once to a server of which nothing is known.
  static constexpr std::uint32_t untried_most = 8;

  enum class row : std::uint8_t { callers, spare, ourselves };

  // What the gate reads of its endpoint.
  struct facts {
    time_point now{};
    bool stands = false;            // something that can serve callers
    std::uint64_t first_lends = 0;  // of connections, ever
    std::uint64_t lost = 0;         // connections that ended unexpectedly, ever
  };

  // What a dial remembers from its beginning, and its connection after it.
  struct beginning {
    std::uint32_t callers_round = 0;
    std::uint32_t spare_round = 0;
    std::uint32_t our_round = 0;
    bool for_callers = false;
  };
  beginning begin(bool for_callers) const noexcept {
    return {callers_.round, spare_.round, ours_.round, for_callers};
  }

  // --- What happens.
  // A connect failed, or its connection ended before it was used.
  struct failure {
    row whose = row::callers;
    bool permanent = false;  // the server will not change its mind by itself
    bool had_stood = false;
  };
  // True if this opened the breaker.
  bool failed(const failure& what, const beginning& begun, const facts& at,
              const pool_config& config, random_source& random) noexcept;
  // A connect stands. One that began before the last counted failure says nothing newer than that:
  // the next ones still wait. True if this closed the breaker.
  bool stood(const beginning& begun, const facts& at) noexcept;
  // Something stands that was not dialed. True if this closed the breaker.
  bool adopted() noexcept;
  // The last connection that stood and was used is gone. What failed beside it says nothing of now.
  void nothing_stands(const facts& at) noexcept;

  // --- What follows.
  bool open() const noexcept { return open_; }
  // The breaker is open, and will be after a while, too, unless somebody changes something.
  bool permanent() const noexcept { return permanent_; }
  // Callers' failures in a row, by rounds.
  std::uint32_t failures(std::uint64_t first_lends) const noexcept {
    return callers_.failures(first_lends);
  }
  // Failed connects hold back growth.
  bool holds_back(const facts& at) const noexcept {
    return at.now < next_attempt() || (failing_ && failures(at.first_lends) > 0);
  }
  std::uint32_t at_once(const facts& at, std::uint32_t most) const noexcept;
  bool may_dial(time_point now) const noexcept { return now >= next_attempt(); }
  time_point next_attempt() const noexcept {
    return std::max(callers_.not_before, ours_.not_before);
  }
  // For what nobody waits for.
  bool may_dial_spare(time_point now) const noexcept { return now >= next_spare_attempt(); }
  time_point next_spare_attempt() const noexcept {
    return std::max(next_attempt(), spare_.not_before);
  }

 private:
  struct failure_row {
    std::uint32_t failures(std::uint64_t first_lends) const noexcept {
      return first_lends == lends_before ? count : 0;
    }
    void add(const facts& at, bool permanent, const pool_config& config,
             random_source& random) noexcept;

    time_point not_before = time_point::min();
    std::uint64_t lends_before = 0;  // first lends at the last counted failure
    std::uint32_t count = 0;
    std::uint32_t round = 0;
  };

  bool closed_in_vain(const failure& what, const facts& at, const pool_config& config) noexcept;
  bool open_if_down(const facts& at, const pool_config& config) noexcept;

  failure_row callers_;
  failure_row spare_;
  failure_row ours_;
  std::uint64_t lost_before_ = UINT64_MAX;  // connections lost when one stood last
  bool beside_ = false;                     // the callers' row was counted while something stood
  bool failing_ = false;                    // the last that was heard of a connect
  bool open_ = false;
  bool permanent_ = false;
};

}  // namespace conpool

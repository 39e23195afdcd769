// Protocols that do what they like: refuse, hang, throw, clean, share, retire, all from the seed.
#pragma once

#include <array>
#include <memory>

#include <conpool/pool/pool.h>
#include <conpool/runtime/detail/random.h>

#include <tests/sim/fuzz/oracle.h>

namespace conpool::sim::fuzz {

// What the protocol of one pool knows of the run it is in.
struct ground {
  ground(world& where, oracle& tells, std::uint64_t seed, bool is_calm)
      : here(where), checks(tells), dice(seed), calm(is_calm) {
    newest = this;
  }
  ~ground() {
    if (newest == this) newest = nullptr;
  }
  ground(const ground&) = delete;
  ground& operator=(const ground&) = delete;

  // Something unpleasant, in one of so many cases.
  bool one_in(std::uint64_t many) { return !calm && dice.below(many) == 0; }
  bool agrees();
  // The same, by a hook that may also do something to its connection.
  bool agrees_on(connection& one, bool lends);
  void gone(std::uint64_t id, close_reason why) const {
    if (owner != nullptr) checks.hears_of_end(*owner, id, why);
  }
  void pinged(const connection& one) const {
    if (owner != nullptr) checks.sees_ping(*owner, one);
  }
  void rests(const connection& one) const {
    if (owner != nullptr) checks.sees_rest(*owner, one.id());
  }
  // One byte and its echo.
  task<result<void>> round_trip(connection& over, char what);

  world& here;
  oracle& checks;
  random_source dice;
  bool calm;
  const pool* owner = nullptr;
  // Whose states are being made.
  static thread_local ground* newest;
};

// What a protocol keeps for a connection. Its constructor may throw.
struct fragile_state {
  fragile_state();
};

class talkative {
 public:
  struct state : fragile_state {
    unsigned pushes = 0;
  };
  explicit talkative(std::shared_ptr<ground> on) : on_(std::move(on)) {}

  task<result<void>> on_connect(connection& to, state&) { return on_->round_trip(to, 'h'); }
  bool on_acquire(connection& one, state&) { return on_->agrees_on(one, true); }
  bool is_healthy(const connection&, const state&) { return on_->agrees(); }
  bool on_release(connection& one, state&) { return on_->agrees_on(one, false); }
  task<result<void>> ping(connection& to, state&) {
    on_->pinged(to);
    return on_->round_trip(to, 'p');
  }
  idle_data on_idle_data(connection&, state& own, std::span<const std::byte>) {
    ++own.pushes;
    return on_->agrees() ? idle_data::keep : idle_data::dirt;
  }
  void on_close(connection& gone, state&, close_reason why) noexcept { on_->gone(gone.id(), why); }

 private:
  std::shared_ptr<ground> on_;
};

class careful {
 public:
  struct state : fragile_state {};
  explicit careful(std::shared_ptr<ground> on) : on_(std::move(on)) {}

  bool needs_cleaning(const connection&, const state&) { return on_->dice.below(4) != 0; }
  task<bool> on_release(connection& from, state&);
  task<bool> recover(connection& left, state&, close_reason why);
  task<void> farewell(connection& leaving, state&);
  task<result<void>> ping(connection& to, state&) {
    on_->pinged(to);
    return on_->round_trip(to, 'p');
  }
  // Never looks at the connection; ends now and then by itself.
  task<void> run(connection& over, state&);
  void on_close(connection& gone, state&, close_reason why) noexcept { on_->gone(gone.id(), why); }

 private:
  std::shared_ptr<ground> on_;
};

// Its run() reads all that comes.
class shared {
 public:
  static constexpr std::uint32_t expected_leases = 3;
  struct state : fragile_state {
    std::array<std::byte, 256> bytes;
  };
  explicit shared(std::shared_ptr<ground> on) : on_(std::move(on)) {}

  access access_mode(const connection&, const state&) {
    return access::shared(1 + static_cast<std::uint32_t>(on_->dice.below(4)));
  }
  bool on_release(connection& one, state&) { return on_->agrees_on(one, false); }
  bool is_healthy(const connection&, const state&) { return on_->agrees(); }
  task<void> run(connection& over, state& own);
  void on_close(connection& gone, state&, close_reason why) noexcept { on_->gone(gone.id(), why); }

 private:
  std::shared_ptr<ground> on_;
};

class shared_or_alone {
 public:
  struct state : fragile_state {};
  explicit shared_or_alone(std::shared_ptr<ground> on) : on_(std::move(on)) {}

  access access_mode(const connection&, const state&) {
    if (on_->dice.below(2) == 0) return access::exclusive();
    return access::shared(1 + static_cast<std::uint32_t>(on_->dice.below(8)));
  }
  task<result<void>> on_connect(connection& to, state&) { return on_->round_trip(to, 'h'); }
  task<result<void>> ping(connection& to, state&) {
    on_->pinged(to);
    return on_->round_trip(to, 'p');
  }
  idle_data on_idle_data(connection&, state&, std::span<const std::byte>) {
    return on_->agrees() ? idle_data::keep : idle_data::dirt;
  }
  void on_close(connection& gone, state&, close_reason why) noexcept { on_->gone(gone.id(), why); }

 private:
  std::shared_ptr<ground> on_;
};

// A pool of the plan's kind.
std::shared_ptr<pool> make_pool(world& here, oracle& checks, const plan& drawn,
                                const pool_config& config, std::uint64_t seed);

}  // namespace conpool::sim::fuzz

// An endpoint's pool as the cap over all endpoints sees it, with answers that a test has set.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <conpool/pool/detail/connection_cap.h>

namespace conpool::test {

class fake_member final : public cap_member {
 public:
  explicit fake_member(connection_cap& cap) : cap_(&cap) { cap.join(*this); }
  ~fake_member() { cap_->leave(*this); }

  // What it answers.
  std::optional<std::uint64_t> ticket;  // of its first caller that nothing is under way for
  bool fresh = false;
  bool holds = false;  // connections, idle or not
  time_point clock = time_point(std::chrono::hours(2));
  std::vector<time_point> idle;  // when each idle connection was used last, coldest first

  // What it was told.
  unsigned looks = 0;
  unsigned told_to_look_at_returns = 0;
  std::optional<time_point> looks_at{};
  std::vector<close_reason> closed;

  // These are idle, and it has been looked at how they came back.
  void has(std::vector<time_point> used) {
    idle = std::move(used);
    cap_->has_idle(*this);
  }
  // A caller waits for whom it needs a connect. True if it may be begun.
  bool asks() { return cap_->may_open(*this, true); }
  // It misses a connection that nobody waits for.
  bool asks_for_its_floor() { return cap_->may_open(*this, false); }
  // It has begun a connect for its caller, and looked at what else it needs.
  void opens() {
    cap_->opened();
    ticket.reset();
    cap_->demand_looked_at(*this);
  }
  // One that was being closed is gone.
  void one_is_gone() {
    cap_->closing_ended();
    cap_->slot_freed();
  }

 private:
  std::optional<std::uint64_t> first_unserved() const noexcept override { return ticket; }
  bool wants_fresh() const noexcept override { return fresh; }
  void look_at_demand() noexcept override { ++looks; }
  void look_at_demand_at(time_point when) noexcept override { looks_at = when; }
  void look_at_returns() noexcept override { ++told_to_look_at_returns; }
  time_point now() const noexcept override { return clock; }
  bool holds_any() const noexcept override { return holds; }
  std::optional<time_point> coldest() noexcept override {
    if (idle.empty()) return std::nullopt;
    return idle.front();
  }
  void close_coldest(close_reason why) noexcept override {
    idle.erase(idle.begin());
    closed.push_back(why);
    cap_->closing_began();
  }

  connection_cap* cap_;
};

}  // namespace conpool::test

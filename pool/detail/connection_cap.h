// The cap over all endpoints of a pool (max_connections): who may open a connection next.
//
// At the cap an endpoint whose callers need a connect stands in line with the others. Each slot
// that becomes free goes to the endpoint whose first caller came first; one that cannot use it (its
// own limit, its backoff) holds up nobody. For each that stands in line the coldest idle connection
// of another endpoint is closed. If there is none, that is a shortage: then connections that come
// back are closed instead of kept if a caller elsewhere came before.
//
// A connection costs a connect, so two endpoints that are both busy must not take each other's all
// the time. What has been idle for `patience` is anybody's. What was in use a moment ago is only
// taken for an endpoint that has no connection at all, or has stood in line for `patience`, in the
// order in which the callers came: so nobody starves, and each takes at most one in that time.
//
// A miss costs the same however many endpoints there are. The hit path tells nothing to the cap, so
// the cap keeps what it knows as a lower bound and corrects it when it looks: `givers_` is a heap
// of all endpoints that may have idle connections, by a time before which none of these was used
// last. An endpoint whose returns are quick may have one at any time. One that is found without
// leaves the heap, and its next return is looked at, by which it comes back.
//
// It knows endpoints only as cap_members. Owned by the pool's core; used on its shard only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <conpool/pool/config.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/intrusive_list.h>

namespace conpool {

struct quick_tag {};
struct line_tag {};
struct floor_tag {};

// An endpoint's pool, as the cap sees it.
class cap_member : public list_hook<quick_tag>,
                   public list_hook<line_tag>,
                   public list_hook<floor_tag> {
 public:
  cap_member() noexcept = default;
  cap_member(const cap_member&) = delete;
  cap_member& operator=(const cap_member&) = delete;

  // The ticket of its first caller for whom nothing is under way and a connect may be begun;
  // nullopt if there is none, or if its own limits or backoff allow no connect.
  virtual std::optional<std::uint64_t> first_unserved() const noexcept = 0;
  virtual bool wants_fresh() const noexcept = 0;
  // Looks again in this turn whether it can begin a connect.
  virtual void look_at_demand() noexcept = 0;
  // The same at a later time.
  virtual void look_at_demand_at(time_point when) noexcept = 0;
  // From now on its returns are looked at: they come to claim_slot_of() and has_idle().
  virtual void look_at_returns() noexcept = 0;
  virtual time_point now() const noexcept = 0;
  // It has connections, or is opening one.
  virtual bool holds_any() const noexcept = 0;
  // When its coldest idle connection was used last; nullopt if none is idle.
  virtual std::optional<time_point> coldest() noexcept = 0;
  virtual void close_coldest(close_reason why) noexcept = 0;

  bool in_line() const noexcept { return list_hook<line_tag>::is_linked(); }

 protected:
  ~cap_member() = default;

 private:
  friend class connection_cap;
  static constexpr std::size_t in_no_heap = SIZE_MAX;

  std::size_t heap_at_ = in_no_heap;
  time_point waits_since_{};  // when it came into line, or got a slot last
};

class connection_cap {
 public:
  // See above. As long as a connect takes on a bad day, and some hundred requests on a good one.
  static constexpr duration patience = std::chrono::milliseconds(250);

  explicit connection_cap(const pool_config& config) noexcept : config_(&config) {}

  // An endpoint's pool joins when it is made and leaves when it is forgotten.
  void join(cap_member& one);
  void leave(cap_member& one) noexcept;
  // No more connects: the lines are dissolved.
  void shut_down() noexcept;

  // Whether `asking` may open one more. If not and `for_callers`, it stands in line from now on,
  // and the coldest idle connection of another endpoint is closed if it may be taken. If not, and
  // only its floor or a warm() asks, it is told when there is a slot and nobody stands in line any
  // more.
  bool may_open(cap_member& asking, bool for_callers) noexcept;
  void opened() noexcept { ++connections_; }
  // A connection is gone, or a connect has failed.
  void slot_freed() noexcept;
  void closing_began() noexcept { ++closing_; }
  void closing_ended() noexcept { --closing_; }
  // An endpoint has looked at its demand: if it can use no slot now, the next in line may.
  void demand_looked_at(cap_member& looked) noexcept;

  // Its returns are not looked at any more, until look_at_returns().
  void returns_are_quick(cap_member& one) noexcept;
  // A return that was looked at has become idle.
  void has_idle(cap_member& one) noexcept;

  // Somebody stands in line for whom nothing is being closed.
  bool in_shortage() const noexcept { return shortage_; }
  // Whether `giver` should close a connection because another endpoint stands in line for its slot
  // with a caller who came before ticket `own_next`; if so, it is counted as on its way.
  bool claim_slot_of(const cap_member& giver, std::uint64_t own_next) noexcept;
  // An endpoint closes a connection for a caller of its own: it is counted as on its way, too.
  void frees_slot_for_itself() noexcept {
    if (!has_slot()) ++evicting_;
  }
  // More are open than a lowered limit allows.
  bool over_limit() const noexcept {
    return config_->max_connections != 0 && connections_ - closing_ > config_->max_connections;
  }
  // Closes the idle connection that was unused longest; false if there is none.
  bool evict_coldest(const cap_member* but_of, close_reason why = close_reason::evicted) noexcept;
  // Connecting, idle, active and closing, over all endpoints.
  std::size_t connections() const noexcept { return connections_; }
  // Of these, how many are on their way out.
  std::size_t closing() const noexcept { return closing_; }

 private:
  using line = intrusive_list<cap_member, list_hook<line_tag>>;
  struct giver {
    time_point not_before;  // its coldest idle connection was not used last before this
    cap_member* who;
  };

  bool has_slot() const noexcept {
    return config_->max_connections == 0 || connections_ < config_->max_connections;
  }
  void give_memory_back() noexcept;
  cap_member* next_in_line() noexcept;
  std::size_t line_length() const noexcept;
  void leave_line(cap_member& one) noexcept;
  void offer_slot() noexcept;
  void begin_shortage() noexcept;
  bool may_take_warm(const cap_member& one, time_point now) const noexcept;
  bool evict_for(cap_member& asking) noexcept;
  cap_member* coldest_owner(const cap_member* but_of) noexcept;
  void add_giver(cap_member& one, time_point not_before) noexcept;
  void remove_giver(std::size_t at) noexcept;
  void sift_up(std::size_t at) noexcept;
  void sift_down(std::size_t at) noexcept;
  void put_giver(std::size_t at, const giver& one) noexcept;

  const pool_config* config_;
  std::size_t members_ = 0;
  std::vector<giver> givers_;  // has room for all members
  // Whose returns are not looked at; each of them is among the givers.
  intrusive_list<cap_member, list_hook<quick_tag>> quick_;
  line in_line_;
  // For a floor or a warm(): they get the slots that nobody in line needs.
  intrusive_list<cap_member, list_hook<floor_tag>> below_floor_;
  std::size_t connections_ = 0;
  std::size_t closing_ = 0;   // of these
  std::size_t evicting_ = 0;  // closed for somebody in line, and not gone yet
  bool shortage_ = false;
};

}  // namespace conpool

// The streams of a shard whose descriptors are open, so that all are closed when the shard stops;
// and how many of them may be closed in one turn.
//
// A stream adds itself when it is made and takes itself off when its descriptor is closed; both
// only set links. Once per shard, as its extension; used on the shard's thread only.
#pragma once

#include <cstdint>

#include <conpool/runtime/detail/intrusive_list.h>
#include <conpool/runtime/detail/ready_queue.h>
#include <conpool/runtime/detail/shard_extension.h>

namespace conpool {

class shard;
class stream;

class open_streams final : public shard_extension, private ready_node {
 public:
  // Closing so many connections takes half a millisecond, a quarter of a turn's time.
  static constexpr unsigned closes_max = 256;

  explicit open_streams(shard& home) noexcept
      : ready_node(&open_streams::close_waiting), home_(&home) {}
  // Allocates at the first call for a shard.
  static open_streams& of(shard& home);

  void add(stream& opened) noexcept;
  static void remove(stream& closed) noexcept;
  // Whether a stream with nothing in flight may close its descriptor now. If not, this turn has
  // closed closes_max already, and its close_descriptor() is called in one of the next.
  static bool may_close_now(stream& ended) noexcept;

  // Begins to close every stream. Each leaves the list when the kernel has let go of it.
  void close_all() noexcept override;
  bool all_closed() const noexcept override { return open_.empty() && waiting_.empty(); }

 private:
  using stream_list = intrusive_list<stream, list_hook<open_streams>>;

  static void close_waiting(ready_node& node) noexcept;
  bool spend_close() noexcept;
  void wait_for_next_turn() noexcept;

  shard* home_;
  stream_list open_;
  stream_list waiting_;  // to be closed, oldest first
  bool queued_ = false;  // for the next turn, as something waits
  std::uint64_t turn_ = 0;
  unsigned closes_left_ = closes_max;  // in turn_
};

}  // namespace conpool

// The streams of a shard whose descriptors are open, so that all are closed when the shard stops.
//
// A stream adds itself when it is made and takes itself off when its descriptor is closed; both
// only set links. Once per shard, as its extension; used on the shard's thread only.
#pragma once

#include <conpool/runtime/detail/intrusive_list.h>
#include <conpool/runtime/detail/shard_extension.h>

namespace conpool {

class shard;
class stream;

class open_streams final : public shard_extension {
 public:
  explicit open_streams(shard&) noexcept {}
  // Allocates at the first call for a shard.
  static open_streams& of(shard& home);

  void add(stream& opened) noexcept;
  static void remove(stream& closed) noexcept;

  // Begins to close every stream. Each leaves the list when the kernel has let go of it.
  void close_all() noexcept override;
  bool all_closed() const noexcept override { return open_.empty(); }

 private:
  intrusive_list<stream, list_hook<open_streams>> open_;
};

}  // namespace conpool

// Something on a shard that has to let go of the kernel when the shard stops.
//
// A pool shuts down in its hook, the resolver cancels its questions. shard::stop() runs every hook
// once, in the order in which they were added, and only then closes the streams that are left.
//
//   class pool_core : private stop_hook {};
//   home.add_stop_hook(*this);         // in the constructor
//   home.remove_stop_hook(*this);      // before the owner dies, as long as the shard lives
//
// Its owner owns it; the shard only links it, and takes it off its list before it is called. So a
// hook may end whatever it likes, its own owner and those of other hooks among it. It is used on
// the shard's thread only.
#pragma once

#include <conpool/runtime/detail/intrusive_list.h>

namespace conpool {

class stop_hook : public list_hook<stop_hook> {
 public:
  using stop_fn = void (*)(stop_hook&) noexcept;
  explicit stop_hook(stop_fn function) noexcept : on_stop(function) {}
  stop_fn on_stop;
};

}  // namespace conpool

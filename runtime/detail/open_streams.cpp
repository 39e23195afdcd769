#include <conpool/runtime/detail/open_streams.h>

#include <conpool/runtime/shard.h>
#include <conpool/runtime/stream.h>

namespace conpool {

open_streams& open_streams::of(shard& home) {
  home.assert_owner();
  return home.extension<open_streams>();
}

void open_streams::add(stream& opened) noexcept {
  open_.push_back(opened);
}

void open_streams::remove(stream& closed) noexcept {
  intrusive_list<stream, list_hook<open_streams>>::unlink(closed);
}

void open_streams::close_all() noexcept {
  for (auto it = open_.begin(); it != open_.end();) {
    stream& open = *it++;
    open.begin_close();
  }
}

}  // namespace conpool

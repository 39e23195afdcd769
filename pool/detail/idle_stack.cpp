#include <conpool/pool/detail/idle_stack.h>

#include <iterator>

namespace conpool {

void idle_stack::watch_pushed(pooled_connection& pushed) noexcept {
  watch_->begin(pushed);
  // A connection that was only checked is as cold as before.
  auto below = std::next(list_.begin());
  if (below == list_.end() || below->last_used <= pushed.last_used) return;
  list_.remove(pushed);
  while (below != list_.end() && below->last_used > pushed.last_used) ++below;
  list_.insert(below, pushed);
}

}  // namespace conpool

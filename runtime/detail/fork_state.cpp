#include <conpool/runtime/detail/fork_state.h>

namespace conpool::detail {

std::atomic<bool> forked_child = false;
std::atomic<bool> forked_parent = false;

}  // namespace conpool::detail

// Counts how often the calling thread has allocated. To do so, conpool-micro replaces operator new.
//
// Each thread has a counter of its own, so that what a peer's thread allocates does not show in the
// client's figure. Calls of malloc() itself, which C libraries make, are not counted.
#pragma once

#include <cstdint>

namespace conpool::micro {

// Calls of any operator new on this thread since it started.
std::uint64_t thread_allocations() noexcept;

}  // namespace conpool::micro

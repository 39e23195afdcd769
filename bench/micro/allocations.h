// How often the calling thread allocated: conpool-micro replaces operator new to count.
//
// The counter is the thread's own, so that what a peer's thread allocates does not show in the
// client's figure. malloc() itself, which C libraries call, is not counted.
#pragma once

#include <cstdint>

namespace conpool::micro {

// Calls of any operator new on this thread since it started.
std::uint64_t thread_allocations() noexcept;

}  // namespace conpool::micro

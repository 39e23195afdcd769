// An operator new for the whole program that can be told to fail.
#pragma once

#include <cstddef>

namespace conpool::test {

// Which allocation throws std::bad_alloc: 1 is the next one, and 0 is none. It is 0 again once one
// has thrown.
extern std::size_t failing_allocation;

}  // namespace conpool::test

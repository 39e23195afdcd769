// operator new that can be told to fail, in the whole program.
#pragma once

#include <cstddef>

namespace conpool::test {

// Which allocation throws std::bad_alloc: 1 is the next one; 0, also once it has, none.
extern std::size_t failing_allocation;

}  // namespace conpool::test

// An operator new for the whole program that can be told to fail, and an operator delete that looks
// at what it frees.
#pragma once

#include <cstddef>
#include <string_view>

namespace conpool::test {

// Which allocation throws std::bad_alloc: 1 is the next one, and 0 is none. It is 0 again once one
// has thrown.
extern std::size_t failing_allocation;

// How many blocks were freed with this text in them; empty looks for none.
extern std::string_view text_looked_for;
extern std::size_t freed_with_text;

}  // namespace conpool::test

// The mark of what a shared libconpool shows to programs.
//
// The library is compiled with -fvisibility=hidden. A class or function that has code in the
// library and that programs reach, by a public header or by an inline function in one, carries the
// mark; all else stays inside. Templates and classes that are all inline need none. In a static
// library the mark changes nothing.
//
//   class CONPOOL_API lease { ... };
//   CONPOOL_API const char* to_string(phase value) noexcept;
//
// tests/install/symbols.txt lists what is marked, and tests/install_test.py compares.
#pragma once

#include <conpool/runtime/detail/requirements.h>

#define CONPOOL_API [[gnu::visibility("default")]]

// What a program must be compiled with, checked before the first template of conpool is read.
//
// Every header of conpool includes this one before its own code. #error alone would not do: the
// compiler goes on behind it, and what it says of the templates buries the reason. A file that does
// not exist ends the compilation.
#pragma once

#include <version>

#if __cplusplus <= 202002L
#error conpool needs C++23: compile with -std=c++23, or later
#include <conpool-needs-c++23>
#elif !defined(__cpp_exceptions)
#error conpool needs exceptions: compile without -fno-exceptions
#include <conpool-needs-exceptions>
#elif !defined(__cpp_lib_expected)
#error conpool needs std::expected: compile with g++ 12 or clang++ 19, or later
#include <conpool-needs-std-expected>
#endif

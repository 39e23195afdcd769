// Assertions for programmers' errors: a wrong thread, a broken invariant, a misuse of the API.
//
// They are on in builds without NDEBUG and compiled out otherwise. What a peer or a user can cause
// never reaches one; it gives an error value instead. A failed assertion prints where and why it
// failed, and aborts.
//
//   CONPOOL_ASSERT(in_flight_ == 0, "a socket was freed while the kernel still used it");
#pragma once

#include <conpool/runtime/detail/export.h>

namespace conpool::detail {

[[noreturn]] CONPOOL_API void assertion_failed(const char* condition, const char* message,
                                               const char* file, int line) noexcept;

// For what leaves no way on, whoever caused it: in all builds it prints `what` and `why`, and
// aborts.
[[noreturn]] CONPOOL_API void give_up(const char* what, const char* why) noexcept;

}  // namespace conpool::detail

#ifdef NDEBUG
#define CONPOOL_ASSERT(condition, message) static_cast<void>(sizeof((condition) ? 1 : 0))
#else
#define CONPOOL_ASSERT(condition, message) \
  ((condition) ? static_cast<void>(0)      \
               : ::conpool::detail::assertion_failed(#condition, message, __FILE__, __LINE__))
#endif

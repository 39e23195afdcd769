#include <conpool/runtime/detail/assert.h>

#include <cstdio>
#include <cstdlib>

namespace conpool::detail {

void assertion_failed(const char* condition, const char* message, const char* file,
                      int line) noexcept {
  std::fprintf(stderr, "%s:%d: conpool assertion failed: %s: %s\n", file, line, condition, message);
  std::abort();
}

void give_up(const char* what, const char* why) noexcept {
  std::fprintf(stderr, "conpool cannot go on: %s: %s\n", what, why);
  std::abort();
}

}  // namespace conpool::detail

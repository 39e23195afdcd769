#include <cstdlib>
#include <new>

#include <tests/support/failing_new.h>

namespace conpool::test {
std::size_t failing_allocation = 0;
}  // namespace conpool::test

namespace {

void* given(void* block) {
  using conpool::test::failing_allocation;
  if (block == nullptr || (failing_allocation > 0 && --failing_allocation == 0)) {
    std::free(block);
    throw std::bad_alloc();
  }
  return block;
}

}  // namespace

void* operator new(std::size_t bytes) {
  return given(std::malloc(bytes));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  const auto step = static_cast<std::size_t>(alignment);
  return given(std::aligned_alloc(step, (bytes + step - 1) / step * step));
}
void operator delete(void* block) noexcept {
  std::free(block);
}
void operator delete(void* block, std::size_t /*bytes*/) noexcept {
  std::free(block);
}
void operator delete(void* block, std::align_val_t /*alignment*/) noexcept {
  std::free(block);
}
void operator delete(void* block, std::size_t /*bytes*/, std::align_val_t /*alignment*/) noexcept {
  std::free(block);
}

#include <cstdlib>
#include <cstring>
#include <new>

#include <malloc.h>

#include <tests/support/failing_new.h>

namespace conpool::test {
std::size_t failing_allocation = 0;
std::string_view text_looked_for;
std::size_t freed_with_text = 0;
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

void take(void* block) {
  using namespace conpool::test;
  if (block != nullptr && !text_looked_for.empty() &&
      ::memmem(block, ::malloc_usable_size(block), text_looked_for.data(),
               text_looked_for.size()) != nullptr) {
    ++freed_with_text;
  }
  std::free(block);
}

}  // namespace

void* operator new(std::size_t bytes) {
  return given(std::malloc(bytes));
}
void* operator new(std::size_t bytes, const std::nothrow_t& /*tag*/) noexcept {
  try {
    return given(std::malloc(bytes));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  const auto step = static_cast<std::size_t>(alignment);
  return given(std::aligned_alloc(step, (bytes + step - 1) / step * step));
}
void operator delete(void* block) noexcept {
  take(block);
}
void operator delete(void* block, std::size_t /*bytes*/) noexcept {
  take(block);
}
void operator delete(void* block, std::align_val_t /*alignment*/) noexcept {
  take(block);
}
void operator delete(void* block, std::size_t /*bytes*/, std::align_val_t /*alignment*/) noexcept {
  take(block);
}

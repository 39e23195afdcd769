// Memory that bytes are written from and read into: what streams take as arguments.
//
// Both are made of whatever holds bytes in a row: a std::string, a std::vector<char>, an array, a
// span of char or std::byte; a const_buffer also of a std::string_view or a literal, without its
// terminating zero. They own nothing, so what they refer to must outlive them.
//
//   std::string body = ...;
//   const conpool::const_buffer parts[] = {"PUT 1\r\n", body};
//   auto sent = co_await peer->write(parts);               // several, one behind the other
//
//   std::string chunk(4096, '\0');
//   auto count = co_await peer->read(chunk);               // result<size_t>
//
// They are two words, trivial, and safe to write in a statement that awaits.
#pragma once

#include <concepts>
#include <cstddef>
#include <iterator>
#include <span>
#include <string_view>
#include <type_traits>

#include <conpool/runtime/detail/requirements.h>

namespace conpool {

namespace detail {

template <typename T>
concept byte_like = std::same_as<std::remove_const_t<T>, char> ||
                    std::same_as<std::remove_const_t<T>, unsigned char> ||
                    std::same_as<std::remove_const_t<T>, std::byte>;

template <typename Memory>
concept byte_memory = requires(Memory& memory) {
  { std::size(memory) } -> std::convertible_to<std::size_t>;
  requires byte_like<std::remove_pointer_t<decltype(std::data(memory))>>;
};

// What is not destroyed at the end of the expression that names it, or does not own its bytes.
template <typename Memory>
concept lasting_memory =
    std::is_lvalue_reference_v<Memory> || std::ranges::enable_borrowed_range<Memory>;

}  // namespace detail

class const_buffer {
 public:
  constexpr const_buffer() noexcept = default;
  constexpr const_buffer(const void* data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <typename Text>
    requires std::convertible_to<const Text&, std::string_view>
  constexpr const_buffer(const Text& text) noexcept
      : const_buffer(std::string_view(text).data(), std::string_view(text).size()) {}
  template <typename Memory>
    requires(detail::byte_memory<const Memory> &&
             !std::convertible_to<const Memory&, std::string_view>)
  constexpr const_buffer(const Memory& memory) noexcept
      : const_buffer(std::data(memory), std::size(memory)) {}

  constexpr const void* data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr bool empty() const noexcept { return size_ == 0; }
  std::span<const std::byte> bytes() const noexcept {
    return {static_cast<const std::byte*>(data_), size_};
  }

 private:
  // In this order: the kernel takes an array of them as iovec(3) has it.
  const void* data_ = nullptr;
  std::size_t size_ = 0;
};

class mutable_buffer {
 public:
  constexpr mutable_buffer() noexcept = default;
  constexpr mutable_buffer(void* data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <typename Memory>
    requires(detail::byte_memory<Memory> && detail::lasting_memory<Memory> &&
             !std::is_const_v<std::remove_pointer_t<
                 decltype(std::data(std::declval<std::remove_reference_t<Memory>&>()))>>)
  constexpr mutable_buffer(Memory&& memory) noexcept
      : mutable_buffer(std::data(memory), std::size(memory)) {}

  constexpr void* data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr bool empty() const noexcept { return size_ == 0; }
  std::span<std::byte> bytes() const noexcept { return {static_cast<std::byte*>(data_), size_}; }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace conpool

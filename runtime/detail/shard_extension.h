// What a part of the library keeps once for each shard, without the shard knowing the part.
//
// The open streams, the resolver and what TLS shares among connections are extensions: each is made
// when something on the shard first asks for it, and lives until the shard is destroyed.
//
//   class open_streams final : public shard_extension {
//    public:
//     explicit open_streams(shard& home) noexcept;
//     static open_streams& of(shard& home) { return home.extension<open_streams>(); }
//   };
//
// Owned by the shard and used on its thread. Finding one compares a few addresses: look it up when
// something is set up, not for each operation. Extensions are destroyed after the shard's last task
// and last stream, those that were made last first, so that one may use those that it asked for in
// its constructor.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace conpool {

class shard;

class shard_extension {
 public:
  shard_extension() = default;
  shard_extension(const shard_extension&) = delete;
  shard_extension& operator=(const shard_extension&) = delete;
  virtual ~shard_extension() = default;

  // The shard stops: close what is open. This is called after the stop hooks have run, and then in
  // every turn until the shard has stopped, because tasks that end may open more.
  virtual void close_all() noexcept {}
  // Whether nothing is open any more. The shard has not stopped before every extension says so.
  virtual bool all_closed() const noexcept { return true; }
};

// The extensions of one shard: at most one of each type.
class extension_table {
 public:
  extension_table() = default;
  extension_table(const extension_table&) = delete;
  extension_table& operator=(const extension_table&) = delete;
  ~extension_table() { clear(); }

  // The extension of type T; null if it was not made yet.
  template <typename T>
  T* find() const noexcept {
    const auto found = std::ranges::find(slots_, &key<T>, &slot::type);
    return found == slots_.end() ? nullptr : static_cast<T*>(found->made.get());
  }

  // Makes the extension of type T as T(home, arguments...). Precondition: there is none.
  template <typename T, typename... Args>
  T& make(shard& home, Args&&... arguments) {
    auto made = std::make_unique<T>(home, std::forward<Args>(arguments)...);
    T& reference = *made;
    slots_.push_back({&key<T>, std::move(made)});
    return reference;
  }

  void close_all() noexcept {
    // By number: closing may make an extension.
    for (std::size_t i = 0; i < slots_.size(); ++i) slots_[i].made->close_all();
  }
  bool all_closed() const noexcept {
    return std::ranges::all_of(slots_, [](const slot& one) { return one.made->all_closed(); });
  }
  void clear() noexcept {
    while (!slots_.empty()) slots_.pop_back();
  }

 private:
  // Its address tells one type from the others.
  template <typename T>
  static inline constexpr char key = 0;
  struct slot {
    const void* type;
    std::unique_ptr<shard_extension> made;
  };

  std::vector<slot> slots_;
};

}  // namespace conpool

// An object on one shard that lives as long as somebody holds a reference: a count without atomics.
//
//   class pool_core : public reference_counted { ... };
//   counted_pointer<pool_core> keep(core);      // the core lives at least as long as `keep`
//
// Everything that counts runs on one shard, or after the shard's end on whichever thread drops the
// last reference; so the count is a plain integer. std::shared_ptr would pay for atomics.
#pragma once

#include <cstddef>
#include <utility>

namespace conpool {

class reference_counted {
 public:
  reference_counted() noexcept = default;
  reference_counted(const reference_counted&) = delete;
  reference_counted& operator=(const reference_counted&) = delete;

  void add_reference() noexcept { ++references_; }
  // The last one deletes the object.
  void drop_reference() noexcept {
    if (--references_ == 0) delete this;
  }

 protected:
  virtual ~reference_counted() = default;

 private:
  std::size_t references_ = 0;
};

template <typename T>
class counted_pointer {
 public:
  counted_pointer() noexcept = default;
  explicit counted_pointer(T& object) noexcept : object_(&object) { object.add_reference(); }
  counted_pointer(const counted_pointer& other) noexcept : object_(other.object_) {
    if (object_ != nullptr) object_->add_reference();
  }
  counted_pointer(counted_pointer&& other) noexcept
      : object_(std::exchange(other.object_, nullptr)) {}
  counted_pointer& operator=(counted_pointer other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~counted_pointer() {
    if (object_ != nullptr) object_->drop_reference();
  }

  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
};

}  // namespace conpool

// Intrusive containers: a doubly linked list and a singly linked queue.
//
// The links live in the element, as a base class, so linking allocates nothing and removing from
// the middle takes O(1) without a search. A container owns nothing. Whoever owns an element must
// remove it before it dies, and must empty a container before that dies; both are asserted. There
// is no size counter: count where the count means something. A container is used on one thread at a
// time.
//
// An element that is in several lists at once has a base for each, told apart by a tag:
//
//   struct by_age;
//   struct by_use;
//   struct connection : list_hook<by_age>, list_hook<by_use> {};
//   intrusive_list<connection, list_hook<by_use>> idle;
//   idle.push_back(c);
//   idle.remove(c);
//
// A list is circular around a sentinel, so no operation has a special case for the ends. Its
// elements know the sentinel's address, hence a list cannot move. A queue is a circle known by its
// last element: it is one pointer, can be joined to another in O(1), and can move.
#pragma once

#include <cstddef>
#include <iterator>
#include <type_traits>
#include <utility>

#include <conpool/runtime/detail/assert.h>
#include <conpool/runtime/detail/fork_state.h>

namespace conpool {

// The links of an element of an intrusive_list: one base class for each list it may be in.
template <typename Tag = void>
class list_hook {
 public:
  list_hook() noexcept = default;
  list_hook(const list_hook&) = delete;
  list_hook& operator=(const list_hook&) = delete;
  ~list_hook() { CONPOOL_ASSERT_ENDED(!is_linked(), "an element died while still in its list"); }

  // Whether the element is in a list, whichever that is.
  bool is_linked() const noexcept { return next_ != nullptr; }

 private:
  template <typename T, typename Hook>
  friend class intrusive_list;

  list_hook* next_ = nullptr;
  list_hook* prev_ = nullptr;
};

// A list of T, which has Hook (some list_hook<Tag>) as an accessible, not virtual, base.
template <typename T, typename Hook = list_hook<>>
class intrusive_list {
  template <bool Const>
  class basic_iterator;

 public:
  using value_type = T;
  using iterator = basic_iterator<false>;
  using const_iterator = basic_iterator<true>;

  intrusive_list() noexcept { reset(); }
  intrusive_list(const intrusive_list&) = delete;
  intrusive_list& operator=(const intrusive_list&) = delete;
  ~intrusive_list() {
    CONPOOL_ASSERT_ENDED(empty(), "a list died before its elements were removed");
    root_.next_ = nullptr;
  }

  bool empty() const noexcept { return root_.next_ == &root_; }

  // Precondition for both ends: the list is not empty.
  T& front() noexcept {
    CONPOOL_ASSERT(!empty(), "front() of an empty list");
    return element(root_.next_);
  }
  T& back() noexcept {
    CONPOOL_ASSERT(!empty(), "back() of an empty list");
    return element(root_.prev_);
  }

  // Links an element that is in no list of this hook.
  void push_front(T& item) noexcept { link(item, root_.next_); }
  void push_back(T& item) noexcept { link(item, &root_); }

  // Links an element before `position`, an iterator of this list.
  void insert(iterator position, T& item) noexcept { link(item, position.hook_); }

  // Unlinks and returns an end of a list that is not empty.
  T& pop_front() noexcept {
    T& item = front();
    unlink(item);
    return item;
  }
  T& pop_back() noexcept {
    T& item = back();
    unlink(item);
    return item;
  }

  // Unlinks an element of this list. Iterators to it become invalid, others stay.
  void remove(T& item) noexcept {
    CONPOOL_ASSERT(!empty(), "remove() from a list that the element is not in");
    unlink(item);
  }

  // Unlinks an element from the list that it is in, for callers that do not know which that is.
  static void unlink(T& item) noexcept {
    Hook& hook = item;
    CONPOOL_ASSERT(hook.is_linked(), "an element is in no list");
    hook.prev_->next_ = hook.next_;
    hook.next_->prev_ = hook.prev_;
    hook.next_ = hook.prev_ = nullptr;
  }

  // Moves all elements of `other` to the back in their order, in O(1). `other` is empty then.
  void splice_back(intrusive_list& other) noexcept {
    CONPOOL_ASSERT(this != &other, "a list spliced into itself");
    if (other.empty()) return;
    Hook* first = other.root_.next_;
    Hook* last = other.root_.prev_;
    first->prev_ = root_.prev_;
    root_.prev_->next_ = first;
    last->next_ = &root_;
    root_.prev_ = last;
    other.reset();
  }

  iterator begin() noexcept { return iterator(root_.next_); }
  iterator end() noexcept { return iterator(&root_); }
  const_iterator begin() const noexcept { return const_iterator(root_.next_); }
  const_iterator end() const noexcept { return const_iterator(&root_); }

 private:
  static T& element(Hook* hook) noexcept { return static_cast<T&>(*hook); }

  void reset() noexcept { root_.next_ = root_.prev_ = &root_; }

  static void link(T& item, Hook* before) noexcept {
    Hook& hook = item;
    CONPOOL_ASSERT(!hook.is_linked(), "an element is already in a list");
    Hook* after = before->prev_;
    hook.next_ = before;
    hook.prev_ = after;
    after->next_ = &hook;
    before->prev_ = &hook;
  }

  // Bidirectional. To remove while walking, step first: `T& item = *it++; list.remove(item);`.
  template <bool Const>
  class basic_iterator {
    using hook_pointer = std::conditional_t<Const, const Hook*, Hook*>;

   public:
    using iterator_category = std::bidirectional_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using reference = std::conditional_t<Const, const T&, T&>;
    using pointer = std::conditional_t<Const, const T*, T*>;

    basic_iterator() noexcept = default;
    explicit basic_iterator(hook_pointer hook) noexcept : hook_(hook) {}

    reference operator*() const noexcept { return static_cast<reference>(*hook_); }
    pointer operator->() const noexcept { return &**this; }
    basic_iterator& operator++() noexcept {
      hook_ = intrusive_list::next_of(hook_);
      return *this;
    }
    basic_iterator operator++(int) noexcept {
      basic_iterator before = *this;
      ++*this;
      return before;
    }
    basic_iterator& operator--() noexcept {
      hook_ = intrusive_list::prev_of(hook_);
      return *this;
    }
    basic_iterator operator--(int) noexcept {
      basic_iterator before = *this;
      --*this;
      return before;
    }
    friend bool operator==(basic_iterator, basic_iterator) noexcept = default;

   private:
    friend class intrusive_list;
    hook_pointer hook_ = nullptr;
  };

  // Only the list is a friend of the hook; its iterators ask it.
  static Hook* next_of(const Hook* hook) noexcept { return hook->next_; }
  static Hook* prev_of(const Hook* hook) noexcept { return hook->prev_; }

  Hook root_;
};

// The link of an element of an intrusive_queue: one base class for each queue it may be in.
template <typename Tag = void>
class queue_hook {
 public:
  queue_hook() noexcept = default;
  queue_hook(const queue_hook&) = delete;
  queue_hook& operator=(const queue_hook&) = delete;
  ~queue_hook() { CONPOOL_ASSERT_ENDED(!is_linked(), "an element died while still in its queue"); }

  // Whether the element is in a queue, whichever that is.
  bool is_linked() const noexcept { return next_ != nullptr; }

 private:
  template <typename T, typename Hook>
  friend class intrusive_queue;

  queue_hook* next_ = nullptr;
};

// A first-in first-out queue of T, which has Hook (some queue_hook<Tag>) as an accessible base.
// An element leaves only at the front: what must be removed from the middle belongs in a list.
template <typename T, typename Hook = queue_hook<>>
class intrusive_queue {
 public:
  using value_type = T;

  intrusive_queue() noexcept = default;
  intrusive_queue(intrusive_queue&& other) noexcept : last_(std::exchange(other.last_, nullptr)) {}
  intrusive_queue& operator=(intrusive_queue&& other) noexcept {
    CONPOOL_ASSERT(empty(), "a queue assigned to before its elements were removed");
    last_ = std::exchange(other.last_, nullptr);
    return *this;
  }
  ~intrusive_queue() {
    CONPOOL_ASSERT_ENDED(empty(), "a queue died before its elements were removed");
  }

  bool empty() const noexcept { return last_ == nullptr; }

  // The oldest element of a queue that is not empty.
  T& front() noexcept {
    CONPOOL_ASSERT(!empty(), "front() of an empty queue");
    return static_cast<T&>(*last_->next_);
  }

  // Links an element that is in no queue of this hook.
  void push_back(T& item) noexcept {
    push_front(item);
    last_ = &static_cast<Hook&>(item);
  }
  void push_front(T& item) noexcept {
    Hook& hook = item;
    CONPOOL_ASSERT(!hook.is_linked(), "an element is already in a queue");
    if (last_ == nullptr) last_ = hook.next_ = &hook;
    hook.next_ = last_->next_;
    last_->next_ = &hook;
  }

  // Unlinks and returns the oldest element of a queue that is not empty.
  T& pop_front() noexcept {
    T& item = front();
    Hook& hook = item;
    if (last_ == &hook) last_ = nullptr;
    if (last_ != nullptr) last_->next_ = hook.next_;
    hook.next_ = nullptr;
    return item;
  }

  // Moves all elements of `other` to the back, in their order; `other` is empty then. O(1).
  void splice_back(intrusive_queue& other) noexcept {
    CONPOOL_ASSERT(this != &other, "a queue spliced into itself");
    if (other.empty()) return;
    if (!empty()) std::swap(last_->next_, other.last_->next_);
    last_ = std::exchange(other.last_, nullptr);
  }

 private:
  Hook* last_ = nullptr;
};

}  // namespace conpool

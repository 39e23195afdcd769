// A shard's inbox: any thread puts mail in, and the shard's thread takes it out.
//
// The shard owns it. push() may be called on any thread, everything else on the owner's only. Mail
// is intrusive. It belongs to the sender until push(), to the mailbox until its deliver function is
// called, and to that function from then on, which may free the mail or push it again (here, or
// into another mailbox as an answer). There is no allocation and no lock; a push is one
// compare-and-swap.
//
//   struct stop_request : mail {
//     stop_request() noexcept : mail(&stop_request::run) {}
//     static void run(mail& item) noexcept { static_cast<stop_request&>(item).stop(); }
//   };
//   if (box.push(request)) wake_the_owner();           // on any thread
//
//   while (running) {                                  // the owner's loop
//     box.drain(64);
//     if (box.prepare_to_sleep()) wait_for_wake();
//     box.awake();
//   }
//
// Order: mail is delivered in the order of the pushes, and that of one sender in its sending order.
//
// Happens-before: everything that a thread did before push(item) happens before item is delivered.
// Everything that the owner did before a prepare_to_sleep() that returned true happens before the
// return of the push() that is told to wake it.
//
// Waking: of the pushes after a prepare_to_sleep() that returned true, exactly the first returns
// true, and its caller must wake the owner. Lost and double wakes are impossible by construction:
// "asleep" is not a flag beside the list but a value of the list's head, so falling asleep on an
// empty list and pushing into it are read-modify-writes of one word, and the one that comes second
// sees the first. (With a flag and a list apart, both sides would need a store and a load that must
// not be reordered: Dekker's pattern, sequentially consistent on all four.)
//
// Hazard: mail that is undelivered when the mailbox dies leaks whatever it carries, which is
// asserted. Stop the senders first, then drain.
//
// The list is that of Treiber, "Systems Programming: Coping with Parallelism", 1986. It is taken
// whole and reversed, so there is no ABA problem.
#pragma once

#include <atomic>
#include <cstddef>

#include <conpool/runtime/detail/assert.h>
#include <conpool/runtime/detail/fork_state.h>

namespace conpool {

// A message, the base class of what is sent.
class mail {
 public:
  using callback = void (*)(mail&) noexcept;

  // `deliver` is called once for each push, on the thread of the mailbox's owner.
  explicit mail(callback deliver) noexcept : deliver_(deliver) {
    CONPOOL_ASSERT(deliver != nullptr, "mail needs a deliver function");
  }
  mail(const mail&) = delete;
  mail& operator=(const mail&) = delete;
  ~mail() { CONPOOL_ASSERT_ENDED(next_ == this, "mail died while still in a mailbox"); }

 private:
  friend class mailbox;

  callback deliver_;
  // Points to itself while the mail is in no mailbox.
  mail* next_ = this;
};

class mailbox {
 public:
  mailbox() noexcept = default;
  mailbox(const mailbox&) = delete;
  mailbox& operator=(const mailbox&) = delete;
  ~mailbox();

  // Any thread may call it: puts `item` in, which must be in no mailbox. Returns whether the caller
  // must wake the owner, which is true once for each time that the owner went to sleep.
  [[nodiscard]] bool push(mail& item) noexcept;

  // The owner delivers what is there now, but no more than `max`, and gets the number delivered.
  // The rest, and what is pushed meanwhile, waits for the next call.
  std::size_t drain(std::size_t max) noexcept;

  // The owner announces that it is about to wait. Returns false when there is mail, also mail that
  // drain() left over; then the owner must not wait.
  [[nodiscard]] bool prepare_to_sleep() noexcept;

  // The owner takes the announcement back; from here on pushes ask for no wake. This is needed
  // after each prepare_to_sleep() that returned true, whatever ended the wait, and harmless
  // otherwise.
  void awake() noexcept;

 private:
  // The head's value while the owner sleeps and nothing has come yet. It is never dereferenced.
  mail* asleep() noexcept { return &asleep_mark_; }

  void collect() noexcept;

  static void ignore(mail&) noexcept {}

  // The newest mail that was not collected yet, null, or asleep(). It is on a cache line of its own
  // so that the senders, who write it, do not slow down the owner's fields below.
  alignas(64) std::atomic<mail*> head_ = nullptr;
  // Collected mail, oldest first. Only the owner uses it.
  alignas(64) mail* first_ = nullptr;
  mail* last_ = nullptr;
  mail asleep_mark_{&ignore};
};

}  // namespace conpool

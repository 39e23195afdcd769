// A shard's inbox: any thread puts mail in, the shard's thread takes it out.
//
// Owned by the shard. push() may be called on any thread, all else on the owner's only. Mail is
// intrusive: it belongs to the sender until push(), to the mailbox until its `deliver` is called,
// and to the deliver function from then on, which may free it or push it again (here or into
// another mailbox, to answer). No allocation, no locks; a push is one compare-and-swap.
//
//   struct stop_request : mail {
//     stop_request() noexcept : mail(&run) {}
//     static void run(mail& m) noexcept { ... static_cast<stop_request&>(m) ... }
//   };
//   if (box.push(*request)) wake(shard);               // on any thread
//
//   while (running) {                                  // the owner's loop
//     box.drain(64);
//     if (box.prepare_to_sleep()) wait_for_wake();
//     box.awake();
//   }
//
// Order: mail is delivered in the order of the pushes; that of one sender in its sending order.
//
// Happens-before: all that a thread did before push(m) happens before m's delivery.
//
// Waking: of the pushes after a prepare_to_sleep() that returned true, exactly the first returns
// true, and it must wake the owner. Lost and double wakes are impossible by construction: "asleep"
// is not a flag beside the list but a value of the list's head, so falling asleep on an empty list
// and pushing into it are read-modify-writes of one word, and the one that comes second sees the
// first. (With a flag and a list apart, both sides would need a store and a load that must not be
// reordered: Dekker's pattern, sequentially consistent on all four.)
//
// Hazard: undelivered mail when the mailbox dies is a leak of whatever it carried (asserted):
// stop the senders, then drain.
//
// List: Treiber, "Systems Programming: Coping with Parallelism", 1986; taken whole and reversed,
// so there is no ABA problem.
#pragma once

#include <atomic>
#include <cstddef>

#include <conpool/runtime/detail/assert.h>

namespace conpool {

// A message: the base class of what is sent.
class mail {
 public:
  using callback = void (*)(mail&) noexcept;

  // `deliver` is called once for each push, on the thread of the mailbox's owner.
  explicit mail(callback deliver) noexcept : deliver_(deliver) {
    CONPOOL_ASSERT(deliver != nullptr, "mail needs a deliver function");
  }
  mail(const mail&) = delete;
  mail& operator=(const mail&) = delete;
  ~mail() { CONPOOL_ASSERT(next_ == this, "mail died while still in a mailbox"); }

 private:
  friend class mailbox;

  callback deliver_;
  // Itself when it is in no mailbox.
  mail* next_ = this;
};

class mailbox {
 public:
  mailbox() noexcept = default;
  mailbox(const mailbox&) = delete;
  mailbox& operator=(const mailbox&) = delete;
  ~mailbox();

  // Any thread: puts `item` in, which is in no mailbox. Returns whether the caller must wake the
  // owner: true once for each time it went to sleep.
  [[nodiscard]] bool push(mail& item) noexcept;

  // Owner: delivers what is there now, at most `max`, and returns how much that was. The rest, and
  // what is pushed meanwhile, is for the next call.
  std::size_t drain(std::size_t max) noexcept;

  // Owner: announces that it is about to wait. Returns false, and it must not wait, when there is
  // mail (also mail left over by drain()).
  [[nodiscard]] bool prepare_to_sleep() noexcept;

  // Owner: takes the announcement back; from here on pushes ask for no wake. Needed after each
  // prepare_to_sleep() that returned true, whatever ended the wait; harmless otherwise.
  void awake() noexcept;

 private:
  // The head's value while the owner sleeps and nothing came yet. Never dereferenced.
  mail* asleep() noexcept { return &asleep_mark_; }

  void collect() noexcept;

  static void ignore(mail&) noexcept {}

  // The newest mail that was not collected yet, null, or asleep(). On a cache line of its own:
  // senders write it, the owner's fields below must not suffer.
  alignas(64) std::atomic<mail*> head_ = nullptr;
  // Collected mail, oldest first: the owner's alone.
  alignas(64) mail* first_ = nullptr;
  mail* last_ = nullptr;
  mail asleep_mark_{&ignore};
};

}  // namespace conpool

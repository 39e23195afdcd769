#include <conpool/runtime/detail/fork_state.h>
#include <conpool/runtime/detail/mailbox.h>

namespace conpool {

mailbox::~mailbox() {
  // relaxed: by contract no sender is left, and whoever saw to that also ordered their pushes
  // before this.
  [[maybe_unused]] const mail* head = head_.load(std::memory_order_relaxed);
  CONPOOL_ASSERT_ENDED(head == nullptr || head == asleep(), "a mailbox died with mail in it");
  CONPOOL_ASSERT_ENDED(first_ == nullptr, "a mailbox died with collected mail in it");
}

bool mailbox::push(mail& item) noexcept {
  CONPOOL_ASSERT(item.next_ == &item, "mail is already in a mailbox");
  // relaxed: only a guess, which the exchange below checks.
  mail* head = head_.load(std::memory_order_relaxed);
  do {
    item.next_ = head == asleep() ? nullptr : head;
    // release: the mail's content and next_ are written before the owner can find it. Pushes on
    // top of this one continue the release sequence (they are read-modify-writes), so the owner's
    // one acquire in collect() meets the release of every mail in the list.
    // acquire: whoever finds the owner asleep wakes it by what the owner wrote before it fell
    // asleep (the descriptor that a foreign loop watches); it pairs with prepare_to_sleep(). Mail
    // is never read through `head`, so a failure needs no acquire.
  } while (!head_.compare_exchange_weak(head, &item, std::memory_order_acq_rel,
                                        std::memory_order_relaxed));
  return head == asleep();
}

std::size_t mailbox::drain(std::size_t max) noexcept {
  // Once, before anything is delivered: mail that answers itself cannot keep the owner here.
  collect();
  std::size_t delivered = 0;
  while (delivered < max && first_ != nullptr) {
    mail& item = *first_;
    first_ = item.next_;
    item.next_ = &item;
    ++delivered;
    item.deliver_(item);  // it may be gone, or pushed again, after this
  }
  return delivered;
}

bool mailbox::prepare_to_sleep() noexcept {
  if (first_ != nullptr) return false;
  mail* expected = nullptr;
  // release: what the owner wrote before is there for the push that has to wake it. No wake is lost
  // for the order of modifications of the one word: a push that came before makes this fail, one
  // that comes after finds asleep().
  if (head_.compare_exchange_strong(expected, asleep(), std::memory_order_release,
                                    std::memory_order_relaxed)) {
    return true;
  }
  CONPOOL_ASSERT(expected != asleep(), "prepare_to_sleep() twice without awake() between");
  return false;
}

void mailbox::awake() noexcept {
  mail* expected = asleep();
  // relaxed: nothing is handed over here. If mail came, it stays, and this changes nothing.
  head_.compare_exchange_strong(expected, nullptr, std::memory_order_relaxed);
}

// Moves all pushed mail behind the collected, oldest first.
void mailbox::collect() noexcept {
  // relaxed: a cheap look that spares the exchange when there is nothing; a push it misses is
  // found by the next drain(), or keeps the owner from falling asleep.
  const mail* head = head_.load(std::memory_order_relaxed);
  if (head == nullptr || head == asleep()) return;

  // acquire: pairs with the release of each push; see there.
  mail* newest = head_.exchange(nullptr, std::memory_order_acquire);
  CONPOOL_ASSERT(newest != nullptr, "only the owner takes mail out");
  CONPOOL_ASSERT(newest != asleep(), "only the owner falls asleep");
  mail* oldest = nullptr;
  for (mail* item = newest; item != nullptr;) {
    mail* older = item->next_;
    item->next_ = oldest;
    oldest = item;
    item = older;
  }
  if (first_ == nullptr) {
    first_ = oldest;
  } else {
    last_->next_ = oldest;
  }
  last_ = newest;
}

}  // namespace conpool

// The queue of an endpoint's callers, with callers that only note how they were served: lanes,
// tickets, the way back, and the end.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <vector>

#include <conpool/pool/detail/waiter_queue.h>

#include <tests/support/shard_fixture.h>

namespace conpool::test {
namespace {

// Stands in the queue, and writes its name down when the shard's turn runs it.
class caller final : public waiter {
 public:
  caller(shard& home, std::string& ran, char name, acquire_priority lane, bool wants_fresh)
      : waiter(home, &caller::note, &caller::ignore, lane, wants_fresh,
               std::source_location::current()),
        ran_(&ran),
        name_(name) {}

  char name() const { return name_; }
  errc failure() const { return failure_ ? failure_->kind() : errc{}; }

 private:
  static void note(ready_node& node) noexcept {
    auto& self = static_cast<caller&>(node);
    *self.ran_ += self.name_;
  }
  static void ignore(wait_point&, errc) noexcept {}

  std::string* ran_;
  char name_;
};

class waiter_queue : public shard_fixture {
 protected:
  static constexpr auto high = acquire_priority::high;
  static constexpr auto normal = acquire_priority::normal;

  conpool::waiter_queue& queue() { return queue_; }
  const pool_counts& counts() const { return counts_; }
  const std::string& ran() const { return ran_; }

  caller make(char name, acquire_priority lane = acquire_priority::normal, bool fresh = false) {
    return caller(home(), ran_, name, lane, fresh);
  }
  // Empties the queue in the order in which connections that were lent before would be.
  std::string served() {
    std::string names;
    while (waiter* const next = queue_.first_for(false)) {
      queue_.leave(*next);
      names += static_cast<caller*>(next)->name();
    }
    return names;
  }

  std::string ran_;

 private:
  pool_counts counts_;
  conpool::waiter_queue queue_{counts_};
};

TEST_F(waiter_queue, callers_are_served_in_the_order_of_their_arrival) {
  caller a = make('a');
  caller b = make('b');
  caller c = make('c');
  EXPECT_EQ(queue().first_for(true), nullptr);
  queue().join(a, 1);
  queue().join(b, 2);
  queue().join(c, 3);
  EXPECT_EQ(queue().first_for(true), &a);
  EXPECT_EQ(served(), "abc");
}

TEST_F(waiter_queue, high_priority_is_served_before_all_others) {
  caller a = make('a');
  caller b = make('b', high);
  caller c = make('c');
  caller d = make('d', high);
  queue().join(a, 1);
  queue().join(b, 2);
  queue().join(c, 3);
  queue().join(d, 4);
  EXPECT_EQ(queue().first_for(true), &b);
  EXPECT_EQ(queue().longest_waiting(), &a) << "in both lanes";
  EXPECT_EQ(served(), "bdac");
}

TEST_F(waiter_queue, counts_those_who_want_a_fresh_connection_and_those_who_take_any) {
  caller a = make('a');
  caller b = make('b', normal, true);
  caller c = make('c', high, true);
  EXPECT_TRUE(queue().empty());
  queue().join(a, 1);
  queue().join(b, 2);
  queue().join(c, 3);
  EXPECT_FALSE(queue().empty());
  EXPECT_EQ(queue().size(), 3U);
  EXPECT_EQ(counts().waiting, 3U);
  EXPECT_EQ(queue().fresh(), 2U);
  EXPECT_EQ(queue().patient(), 1U);
  queue().leave(b);
  EXPECT_EQ(queue().fresh(), 1U);
  EXPECT_EQ(queue().patient(), 1U);
  queue().leave(a);
  EXPECT_EQ(queue().fresh(), 1U);
  EXPECT_EQ(queue().patient(), 0U);
  queue().put_back(b);
  EXPECT_EQ(queue().fresh(), 2U);
  EXPECT_EQ(counts().waiting, 2U);
  queue().leave(b);
  queue().leave(c);
  EXPECT_TRUE(queue().empty());
  EXPECT_EQ(queue().fresh(), 0U);
}

TEST_F(waiter_queue, a_connection_that_was_lent_before_passes_those_who_want_a_fresh_one) {
  caller a = make('a', high, true);
  caller b = make('b', normal, true);
  caller c = make('c');
  queue().join(a, 1);
  queue().join(b, 2);
  EXPECT_EQ(queue().first_for(false), nullptr);
  queue().join(c, 3);
  EXPECT_EQ(queue().first_for(false), &c);
  EXPECT_EQ(queue().first_for(true), &a);
  queue().leave(a);
  EXPECT_EQ(queue().first_for(true), &b);
  queue().leave(b);
  EXPECT_EQ(queue().first_for(true), &c) << "who takes any takes a fresh one, too";
  queue().leave(c);
}

TEST_F(waiter_queue, one_that_lost_its_connection_takes_its_old_place_again) {
  for (const char lost : {'a', 'b', 'c'}) {
    caller a = make('a');
    caller b = make('b');
    caller c = make('c');
    caller first = make('h', high);
    caller later = make('l');
    queue().join(first, 1);
    queue().join(a, 2);
    queue().join(b, 3);
    queue().join(c, 4);
    caller& one = lost == 'a' ? a : lost == 'b' ? b : c;
    queue().leave(one);
    queue().join(later, 5);
    queue().put_back(one);
    EXPECT_EQ(counts().waiting, 5U);
    EXPECT_EQ(served(), "habcl") << "after " << lost << " was put back";
  }
}

TEST_F(waiter_queue, one_that_is_put_back_stays_in_its_lane) {
  caller a = make('a');
  caller b = make('b', high);
  queue().join(a, 1);
  queue().join(b, 2);
  queue().leave(b);
  queue().put_back(b);
  EXPECT_EQ(served(), "ba");
}

TEST_F(waiter_queue, tells_the_ticket_of_who_is_served_after_so_many_others) {
  caller a = make('a');
  caller b = make('b', high);
  caller c = make('c');
  EXPECT_EQ(queue().ticket_after(0), std::nullopt);
  queue().join(a, 10);
  queue().join(b, 20);
  queue().join(c, 30);
  EXPECT_EQ(queue().ticket_after(0), 20U);
  EXPECT_EQ(queue().ticket_after(1), 10U);
  EXPECT_EQ(queue().ticket_after(2), 30U);
  EXPECT_EQ(queue().ticket_after(3), std::nullopt);
  EXPECT_EQ(queue().ticket_after(UINT64_MAX), std::nullopt);
  EXPECT_EQ(served(), "bac");
}

TEST_F(waiter_queue, after_so_many_of_high_priority_one_of_normal_is_served) {
  constexpr std::uint32_t most = conpool::waiter_queue::passed_most;
  std::vector<std::unique_ptr<caller>> all;
  const auto join = [&](char name, acquire_priority lane) {
    all.push_back(std::make_unique<caller>(home(), ran_, name, lane, false));
    queue().join(*all.back(), all.size());
  };
  join('n', normal);
  join('m', normal);
  for (std::uint32_t i = 0; i < 3 * most; ++i) join('h', high);
  EXPECT_EQ(queue().ticket_after(most), 1U);
  EXPECT_EQ(queue().ticket_after(2 * most + 1), 2U);
  std::string names;
  while (waiter* const next = queue().first_for(false)) {
    queue().serve(*next);
    names += static_cast<caller*>(next)->name();
  }
  const std::string run(most, 'h');
  EXPECT_EQ(names, run + "n" + run + "m" + run);
}

TEST_F(waiter_queue, those_of_high_priority_who_pass_nobody_are_not_counted) {
  std::vector<std::unique_ptr<caller>> all;
  for (std::uint64_t i = 1; i <= 20; ++i) {
    all.push_back(std::make_unique<caller>(home(), ran_, 'h', high, false));
    queue().join(*all.back(), i);
    queue().serve(*all.back());
  }
  caller a = make('a');
  caller b = make('b', high);
  queue().join(a, 21);
  queue().join(b, 22);
  EXPECT_EQ(served(), "ba");
}

TEST_F(waiter_queue, knows_whose_turn_it_is_to_have_a_fresh_connection) {
  caller a = make('a', normal, true);
  caller b = make('b');
  caller c = make('c', normal, true);
  EXPECT_FALSE(queue().fresh_is_next(0));
  queue().join(a, 1);
  EXPECT_TRUE(queue().fresh_is_next(0));
  EXPECT_FALSE(queue().fresh_is_next(1)) << "it is provided for";
  queue().join(b, 2);
  queue().join(c, 3);
  EXPECT_TRUE(queue().fresh_is_next(0));
  EXPECT_FALSE(queue().fresh_is_next(1)) << "who takes any comes before the second";
  queue().leave(b);
  EXPECT_TRUE(queue().fresh_is_next(1));
  queue().leave(a);
  queue().leave(c);
}

TEST_F(waiter_queue, all_of_them_fail_in_the_order_in_which_they_would_have_been_served) {
  caller a = make('a');
  caller b = make('b', high);
  caller c = make('c', normal, true);
  queue().join(a, 1);
  queue().join(b, 2);
  queue().join(c, 3);
  queue().fail_all(error(errc::pool_closed, phase::acquire));
  EXPECT_TRUE(queue().empty());
  EXPECT_EQ(queue().fresh(), 0U);
  EXPECT_EQ(ran(), "") << "nobody is resumed from within";
  settle();
  EXPECT_EQ(ran(), "bac");
  for (const caller* one : {&a, &b, &c}) EXPECT_EQ(one->failure(), errc::pool_closed);
}

}  // namespace
}  // namespace conpool::test

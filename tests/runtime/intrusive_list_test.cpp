#include <conpool/runtime/detail/intrusive_list.h>

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <iterator>
#include <random>
#include <utility>
#include <vector>

namespace conpool {
namespace {

struct by_age;
struct by_use;

struct item : list_hook<by_age>, list_hook<by_use> {
  explicit item(int n) noexcept : number(n) {}
  int number;
};

using age_list = intrusive_list<item, list_hook<by_age>>;
using use_list = intrusive_list<item, list_hook<by_use>>;

static_assert(std::bidirectional_iterator<age_list::iterator>);
static_assert(std::bidirectional_iterator<age_list::const_iterator>);
static_assert(sizeof(list_hook<>) == 2 * sizeof(void*));

template <typename List>
std::vector<int> numbers(const List& list) {
  std::vector<int> out;
  for (const item& i : list) out.push_back(i.number);
  return out;
}

template <typename List>
void clear(List& list) {
  while (!list.empty()) list.pop_front();
}

bool in_age_list(const item& i) {
  return static_cast<const list_hook<by_age>&>(i).is_linked();
}

TEST(intrusive_list, starts_empty) {
  age_list list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.begin(), list.end());
}

TEST(intrusive_list, keeps_the_order_of_pushes_at_both_ends) {
  item a(1), b(2), c(3);
  age_list list;
  list.push_back(b);
  list.push_back(c);
  list.push_front(a);
  EXPECT_EQ(numbers(list), (std::vector{1, 2, 3}));
  EXPECT_EQ(&list.front(), &a);
  EXPECT_EQ(&list.back(), &c);
  EXPECT_EQ(&list.pop_front(), &a);
  EXPECT_EQ(&list.pop_back(), &c);
  EXPECT_EQ(&list.pop_back(), &b);
  EXPECT_TRUE(list.empty());
}

TEST(intrusive_list, removes_from_front_middle_and_back) {
  item a(1), b(2), c(3), d(4);
  age_list list;
  for (item* i : {&a, &b, &c, &d}) list.push_back(*i);
  list.remove(b);
  EXPECT_EQ(numbers(list), (std::vector{1, 3, 4}));
  list.remove(a);
  EXPECT_EQ(numbers(list), (std::vector{3, 4}));
  list.remove(d);
  EXPECT_EQ(numbers(list), (std::vector{3}));
  age_list::unlink(c);
  EXPECT_TRUE(list.empty());
}

TEST(intrusive_list, a_hook_knows_whether_it_is_linked) {
  item a(1);
  age_list list;
  EXPECT_FALSE(in_age_list(a));
  list.push_back(a);
  EXPECT_TRUE(in_age_list(a));
  list.remove(a);
  EXPECT_FALSE(in_age_list(a));
  list.push_front(a);
  EXPECT_TRUE(in_age_list(a));
  list.pop_back();
  EXPECT_FALSE(in_age_list(a));
}

TEST(intrusive_list, an_element_may_be_in_one_list_for_each_hook) {
  item a(1), b(2);
  age_list ages;
  use_list uses;
  ages.push_back(a);
  ages.push_back(b);
  uses.push_back(b);
  uses.push_back(a);
  EXPECT_EQ(numbers(ages), (std::vector{1, 2}));
  EXPECT_EQ(numbers(uses), (std::vector{2, 1}));
  ages.remove(a);
  EXPECT_EQ(numbers(ages), (std::vector{2}));
  EXPECT_EQ(numbers(uses), (std::vector{2, 1}));
  clear(ages);
  clear(uses);
}

TEST(intrusive_list, splicing_moves_all_to_the_back_in_order) {
  item a(1), b(2), c(3), d(4);
  age_list to, from;
  to.splice_back(from);
  EXPECT_TRUE(to.empty());
  from.push_back(a);
  from.push_back(b);
  to.splice_back(from);
  EXPECT_TRUE(from.empty());
  EXPECT_EQ(numbers(to), (std::vector{1, 2}));
  from.push_back(c);
  from.push_back(d);
  to.splice_back(from);
  EXPECT_EQ(numbers(to), (std::vector{1, 2, 3, 4}));
  EXPECT_EQ(&to.back(), &d);
  to.splice_back(from);
  EXPECT_EQ(numbers(to), (std::vector{1, 2, 3, 4}));
  clear(to);
}

TEST(intrusive_list, iterates_both_ways_and_allows_removal_behind_the_iterator) {
  item a(1), b(2), c(3);
  age_list list;
  for (item* i : {&a, &b, &c}) list.push_back(*i);
  std::vector<int> backwards;
  for (auto it = list.end(); it != list.begin();) backwards.push_back((--it)->number);
  EXPECT_EQ(backwards, (std::vector{3, 2, 1}));
  for (auto it = list.begin(); it != list.end();) {
    item& here = *it++;
    if (here.number != 2) list.remove(here);
  }
  EXPECT_EQ(numbers(list), (std::vector{2}));
  clear(list);
}

TEST(intrusive_list, agrees_with_a_deque_in_a_random_walk) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  std::deque<item> items;
  for (int n = 0; n < 32; ++n) items.emplace_back(n);
  age_list list;
  std::deque<int> reference;
  for (int step = 0; step < 20'000; ++step) {
    item& any = items[random() % items.size()];
    if (in_age_list(any)) {
      list.remove(any);
      std::erase(reference, any.number);
    } else if (random() % 2 == 0) {
      list.push_back(any);
      reference.push_back(any.number);
    } else {
      list.push_front(any);
      reference.push_front(any.number);
    }
    ASSERT_EQ(list.empty(), reference.empty());
    ASSERT_EQ(numbers(list), std::vector<int>(reference.begin(), reference.end()));
  }
  clear(list);
}

struct job : queue_hook<> {
  explicit job(int n) noexcept : number(n) {}
  int number;
};

using job_queue = intrusive_queue<job>;

static_assert(sizeof(job_queue) == sizeof(void*));

std::vector<int> take_all(job_queue& queue) {
  std::vector<int> out;
  while (!queue.empty()) {
    EXPECT_EQ(&queue.front(), &queue.front());
    out.push_back(queue.pop_front().number);
  }
  return out;
}

TEST(intrusive_queue, is_first_in_first_out) {
  job a(1), b(2), c(3);
  job_queue queue;
  EXPECT_TRUE(queue.empty());
  queue.push_back(a);
  EXPECT_EQ(&queue.front(), &a);
  queue.push_back(b);
  queue.push_back(c);
  EXPECT_EQ(&queue.front(), &a);
  EXPECT_EQ(take_all(queue), (std::vector{1, 2, 3}));
}

TEST(intrusive_queue, push_front_overtakes) {
  job a(1), b(2), c(3);
  job_queue queue;
  queue.push_front(b);
  queue.push_front(a);
  queue.push_back(c);
  EXPECT_EQ(take_all(queue), (std::vector{1, 2, 3}));
}

TEST(intrusive_queue, an_element_may_return_after_it_left) {
  job a(1), b(2);
  job_queue queue;
  queue.push_back(a);
  EXPECT_TRUE(a.is_linked());
  EXPECT_EQ(&queue.pop_front(), &a);
  EXPECT_FALSE(a.is_linked());
  queue.push_back(b);
  queue.push_back(a);
  EXPECT_EQ(take_all(queue), (std::vector{2, 1}));
}

TEST(intrusive_queue, splicing_moves_all_to_the_back_in_order) {
  job a(1), b(2), c(3), d(4), e(5);
  job_queue to, from;
  to.splice_back(from);
  EXPECT_TRUE(to.empty());
  from.push_back(a);
  from.push_back(b);
  to.splice_back(from);
  EXPECT_TRUE(from.empty());
  from.push_back(c);
  from.push_back(d);
  to.splice_back(from);
  EXPECT_TRUE(from.empty());
  to.splice_back(from);
  to.push_back(e);
  EXPECT_EQ(take_all(to), (std::vector{1, 2, 3, 4, 5}));
}

TEST(intrusive_queue, moves_with_its_elements) {
  job a(1), b(2);
  job_queue from;
  from.push_back(a);
  from.push_back(b);
  job_queue to = std::move(from);
  EXPECT_TRUE(from.empty());
  from = std::move(to);
  EXPECT_TRUE(to.empty());
  EXPECT_EQ(take_all(from), (std::vector{1, 2}));
}

#ifndef NDEBUG
TEST(intrusive_list, misuse_is_asserted) {
  EXPECT_DEATH(
      {
        age_list list;
        item a(1);
        list.push_back(a);
      },
      "element died while still in its list");
  item a(1);
  age_list list;
  EXPECT_DEATH(list.pop_front(), "empty list");
  EXPECT_DEATH(list.remove(a), "not in");
  EXPECT_DEATH(age_list::unlink(a), "in no list");
  list.push_back(a);
  EXPECT_DEATH(list.push_back(a), "already in a list");
  list.remove(a);
}

TEST(intrusive_queue, misuse_is_asserted) {
  job a(1);
  job_queue queue;
  EXPECT_DEATH(queue.pop_front(), "empty queue");
  queue.push_back(a);
  EXPECT_DEATH(queue.push_back(a), "already in a queue");
  EXPECT_DEATH(job_queue().splice_back(queue), "queue died");
  queue.pop_front();
}
#endif

}  // namespace
}  // namespace conpool

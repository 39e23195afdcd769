// An object that lives as long as somebody holds a reference: each way to get and to lose one.
#include <gtest/gtest.h>

#include <utility>

#include <conpool/pool/detail/counted.h>

namespace conpool::test {
namespace {

class counted_thing : public reference_counted {
 public:
  explicit counted_thing(unsigned& deaths) : deaths_(&deaths) {}
  int value = 7;

 private:
  ~counted_thing() override { ++*deaths_; }
  unsigned* deaths_;
};
using thing_pointer = counted_pointer<counted_thing>;

TEST(counted_pointer, the_last_of_them_deletes_the_object) {
  unsigned deaths = 0;
  {
    const thing_pointer first(*new counted_thing(deaths));
    {
      const thing_pointer copy = first;
      const thing_pointer of_the_object(*first);
      EXPECT_EQ(copy->value + (*of_the_object).value, 14);
    }
    EXPECT_EQ(deaths, 0U);
  }
  EXPECT_EQ(deaths, 1U);
}

TEST(counted_pointer, a_move_takes_the_reference_along) {
  unsigned deaths = 0;
  thing_pointer from(*new counted_thing(deaths));
  {
    const thing_pointer to = std::move(from);
    EXPECT_FALSE(from);  // NOLINT(bugprone-use-after-move): it is defined to be empty
    EXPECT_TRUE(to);
    EXPECT_EQ(deaths, 0U);
  }
  EXPECT_EQ(deaths, 1U);
}

TEST(counted_pointer, an_assignment_lets_go_of_what_was_there) {
  unsigned first_deaths = 0;
  unsigned second_deaths = 0;
  thing_pointer kept(*new counted_thing(first_deaths));
  const thing_pointer other(*new counted_thing(second_deaths));
  kept = other;
  EXPECT_EQ(first_deaths, 1U);
  EXPECT_EQ(&*kept, &*other);
  const thing_pointer& same = kept;
  kept = same;  // to itself
  kept = {};
  EXPECT_FALSE(kept);
  EXPECT_EQ(second_deaths, 0U);
}

TEST(counted_pointer, a_reference_without_a_pointer_counts_as_well) {
  unsigned deaths = 0;
  counted_thing* const thing = new counted_thing(deaths);
  thing->add_reference();
  {
    const thing_pointer another(*thing);
  }
  EXPECT_EQ(deaths, 0U);
  thing->drop_reference();
  EXPECT_EQ(deaths, 1U);
}

TEST(counted_pointer, copies_of_nothing_hold_nothing) {
  const thing_pointer nothing;
  thing_pointer copy = nothing;
  EXPECT_FALSE(copy);
  copy = thing_pointer();
  EXPECT_FALSE(copy);
}

}  // namespace
}  // namespace conpool::test

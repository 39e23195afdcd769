// A lease that is released twice, moved, or used when it is empty.
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using misuse = pool_fixture;

TEST_F(misuse, T46_a_second_release_does_nothing) {
  lease held = hold();
  held.release();
  EXPECT_FALSE(held);
  held.release();
  held.discard();
  EXPECT_EQ(totals().idle, 1U);
  EXPECT_EQ(totals().active, 0U);
  // If the connection were in the stack twice, two callers would get the same one.
  lease first = hold();
  lease second = hold();
  EXPECT_NE(first->id(), second->id());
}

TEST_F(misuse, T46_a_lease_that_was_moved_from_releases_nothing) {
  lease first = hold();
  const std::uint64_t id = first->id();
  lease second = std::move(first);
  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): what is left of it is tested
  EXPECT_EQ(second->id(), id);
  first.release();
  EXPECT_EQ(totals().active, 1U) << "the one that was moved from has nothing to give back";
  lease& same = second;
  second = std::move(same);
  ASSERT_TRUE(second) << "moved to itself";
  EXPECT_EQ(second->id(), id);

  lease other = hold();
  const std::uint64_t other_id = other->id();
  second = std::move(other);  // gives back what it had
  EXPECT_EQ(second->id(), other_id);
  EXPECT_EQ(totals().active, 1U);
  EXPECT_EQ(totals().idle, 1U);
  std::vector<lease> many;
  many.push_back(std::move(second));
  many.push_back(hold());
  many.reserve(100);
  many.clear();
  EXPECT_EQ(totals().idle, 2U);
}

#ifndef NDEBUG
TEST_F(misuse, T46_use_after_a_release_is_asserted) {
  lease held = hold();
  held.release();
  EXPECT_DEATH(static_cast<void>(held->id()), "an empty lease was used");
}

struct one_protocol {
  struct state {
    int number = 1;
  };
};
struct another_protocol {
  struct state {
    double number = 2;
  };
};

TEST_F(misuse, the_state_and_the_object_of_another_protocol_are_asserted) {
  configure({}, one_protocol());
  lease held = hold();
  EXPECT_EQ(held->state<one_protocol>().number, 1);
  EXPECT_DEATH(static_cast<void>(held->state<another_protocol>()), "another protocol");
  EXPECT_DEATH(static_cast<void>(backends().protocol_object<another_protocol>()),
               "another protocol");
  held.release();
  configure({});
  lease plain = hold();
  EXPECT_DEATH(static_cast<void>(plain->state<one_protocol>()), "another protocol");
}
#endif

}  // namespace
}  // namespace conpool::test

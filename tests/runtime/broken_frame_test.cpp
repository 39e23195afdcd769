// A task whose frame the compiler laid out wrongly does not run. It must say so in debug builds.
#include <gtest/gtest.h>

#include <conpool/conpool.h>

#include <tests/support/run.h>

namespace conpool::test {
namespace {

task<bool> yes() {
  co_return true;
}

// The condition declares nothing, and no local variable comes before it: see docs/COROUTINES.md.
task<void> awaits_in_a_condition(bool& ran) {
  if (co_await yes()) ran = true;  // tidy: allow co-await (it is what is tested)
}

void run_it() {
  auto home = shard::create().value();
  bool ran = false;
  EXPECT_TRUE(run_on(*home, awaits_in_a_condition(ran)));
  EXPECT_TRUE(ran);
}

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ <= 12
#ifndef NDEBUG
TEST(broken_frame, is_asserted_where_the_task_is_made) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(run_it(), "co_await in a condition");
}
#endif
#else
TEST(broken_frame, is_none_with_this_compiler) {
  run_it();
}
#endif

}  // namespace
}  // namespace conpool::test

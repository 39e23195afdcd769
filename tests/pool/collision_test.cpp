// Endpoints whose hashes are equal are told apart by what they are.
#include <gtest/gtest.h>

#include <string>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using hash_collision = pool_fixture;

// Two addresses with the same 64-bit hash, found by a search of some 2^32 steps: the hash is well
// mixed, but no secret goes into it, so whoever can choose endpoints can have such a pair.
const char* const one_name = "unix:@2sfercrwju7sg";
const char* const other_name = "unix:@cuwsjrwrzphdk";

TEST_F(hash_collision, T32_endpoints_of_equal_hash_share_no_connection) {
  const endpoint one = endpoint::parse(one_name).value();
  const endpoint other = endpoint::parse(other_name).value();
  ASSERT_EQ(one.hash(), other.hash()) << "the hash has changed: look for another pair";
  EXPECT_FALSE(one == other);
  echo_server& at_one = add_server(one);
  echo_server& at_other = add_server(other);

  hold(one).release();
  ASSERT_EQ(totals().idle, 1U);
  lease from_other = hold(other);
  EXPECT_FALSE(from_other.reused()) << "it was lent a connection to somebody else";
  EXPECT_EQ(from_other->peer().text(), other_name);
  EXPECT_TRUE(works(from_other));
  EXPECT_EQ(at_one.accepted(), 1U);
  EXPECT_EQ(at_other.accepted(), 1U);

  lease from_one = hold(one);
  EXPECT_TRUE(from_one.reused());
  EXPECT_EQ(from_one->peer().text(), one_name);
}

TEST_F(hash_collision, T32_endpoints_of_equal_hash_are_apart_in_handles_statistics_and_clear) {
  const endpoint one = endpoint::parse(one_name).value();
  const endpoint other = endpoint::parse(other_name).value();
  add_server(one);
  add_server(other);
  const endpoint_handle to_one = backends().handle(one);
  const endpoint_handle to_other = backends().handle(other);
  EXPECT_EQ(to_one.peer().text(), one_name);
  EXPECT_EQ(to_other.peer().text(), other_name);
  ASSERT_TRUE(run([&]() -> task<void> {
    auto first = co_await backends().acquire(to_one);
    CO_ASSERT_OK(first);
    first->release();
    auto second = co_await backends().acquire(to_other);
    CO_ASSERT_OK(second);
    EXPECT_FALSE(second->reused());
    EXPECT_EQ((*second)->peer().text(), other_name);
  }));
  EXPECT_EQ(backends().stats(one)->idle, 1U);
  EXPECT_EQ(backends().stats(other)->idle, 1U);
  backends().clear(one);
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(backends().stats(one)->idle, 0U);
  EXPECT_EQ(backends().stats(other)->idle, 1U);
}

}  // namespace
}  // namespace conpool::test

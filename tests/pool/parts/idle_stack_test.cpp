// The stack of idle connections alone: its order and its counts.
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <conpool/pool/detail/idle_stack.h>

#include <tests/pool/parts/parts_fixture.h>
#include <tests/support/toy_codec.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;
class idle_stack : public parts_fixture {
 protected:
  void TearDown() override {
    if (idle_) {
      while (!idle_->empty()) idle_->take(idle_->top());
    }
    parts_fixture::TearDown();
  }

  conpool::idle_stack& idle() {
    if (!idle_) {
      watch_.emplace(facts());
      idle_.emplace(facts(), *watch_);
    }
    return *idle_;
  }
  // From the top to the bottom.
  std::vector<const pooled_connection*> order() {
    std::vector<const pooled_connection*> listed;
    for (const pooled_connection& one : idle()) listed.push_back(&one);
    return listed;
  }
  using connections = std::vector<const pooled_connection*>;

 private:
  std::optional<conpool::connection_watch> watch_;
  std::optional<conpool::idle_stack> idle_;
};

// --- Order and counts

TEST_F(idle_stack, the_last_returned_is_on_top_and_the_first_returned_is_coldest) {
  pooled_connection& a = connect_used(1s);
  pooled_connection& b = connect_used(2s);
  pooled_connection& c = connect_used(3s);
  EXPECT_TRUE(idle().empty());
  for (pooled_connection* one : {&a, &b, &c}) idle().push(*one);
  EXPECT_FALSE(idle().empty());
  EXPECT_EQ(&idle().top(), &c);
  EXPECT_EQ(&idle().coldest(), &a);
  EXPECT_EQ(order(), (connections{&c, &b, &a}));
  idle().take(b);
  EXPECT_EQ(order(), (connections{&c, &a}));
  b.last_used = c.last_used;  // in the same turn: the later return is on top
  idle().push(b);
  EXPECT_EQ(order(), (connections{&b, &c, &a}));
}

TEST_F(idle_stack, one_that_was_only_checked_is_as_cold_as_before) {
  settings().validation = validation_policy::probe;  // a check leaves no receive posted
  pooled_connection& a = connect_used(1s);
  pooled_connection& b = connect_used(2s);
  pooled_connection& c = connect_used(3s);
  for (pooled_connection* one : {&a, &b, &c}) idle().push(*one);
  for (pooled_connection* checked : {&a, &b, &c}) {
    idle().take(*checked);
    idle().push(*checked);
    EXPECT_EQ(order(), (connections{&c, &b, &a}));
  }
  // All at once, as a batch comes back in whatever order.
  for (pooled_connection* checked : {&a, &b, &c}) idle().take(*checked);
  for (pooled_connection* checked : {&b, &c, &a}) idle().push(*checked);
  EXPECT_EQ(order(), (connections{&c, &b, &a}));
}

TEST_F(idle_stack, each_of_them_is_counted_as_idle_and_not_as_active) {
  pooled_connection& a = connect();
  pooled_connection& b = connect();
  EXPECT_EQ(counts().active, 2U);
  idle().push(a);
  EXPECT_EQ(counts().idle, 1U);
  EXPECT_EQ(counts().active, 1U);
  EXPECT_EQ(a.stage, connection_stage::idle);
  idle().push(b);
  EXPECT_EQ(counts().idle, 2U);
  EXPECT_EQ(counts().active, 0U);
  idle().take(a);
  EXPECT_EQ(counts().idle, 1U);
  EXPECT_EQ(counts().active, 1U);
}

TEST_F(idle_stack, a_push_notes_when_it_was_used) {
  pooled_connection& one = connect_used(1s);
  const time_point used = one.last_used + 4s;
  idle().push(one, used, counts());
  EXPECT_EQ(one.last_used, used);
  idle().take(one);
  idle().push(one);
  EXPECT_EQ(one.last_used, used) << "unless it was only checked";
}

}  // namespace
}  // namespace conpool::test

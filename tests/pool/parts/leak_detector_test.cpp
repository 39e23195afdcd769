// The list of who has which connection, alone: what is due next, what is reported, and that it is
// reported once.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <ostream>
#include <source_location>
#include <utility>
#include <vector>

#include <conpool/pool/detail/leak_detector.h>

#include <tests/pool/parts/parts_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;
using kind = pool_event_kind;

struct lease_event {
  kind what;
  std::uint64_t connection;
  duration held;
  unsigned line;
  bool operator==(const lease_event&) const = default;
};

std::ostream& operator<<(std::ostream& out, const lease_event& one) {
  return out << to_string(one.what) << " of " << one.connection << ", " << one.held.count()
             << " ns, line " << one.line;
}

class leak_detector : public parts_fixture {
 protected:
  static constexpr duration threshold = 10s;

  void SetUp() override {
    parts_fixture::SetUp();
    settings().leak_threshold = std::chrono::duration_cast<std::chrono::milliseconds>(threshold);
    detector_.emplace(facts());
    pool().observe([this](const pool_event& event) {
      events_.push_back({event.kind, event.connection, event.held, event.where.line()});
    });
  }
  void TearDown() override {
    detector_->forget_all();
    detector_.reset();
    parts_fixture::TearDown();
  }

  conpool::leak_detector& detector() { return *detector_; }
  // True if it will be due first.
  bool lend(pooled_connection& one, bool listed = true) {
    return detector().lent(one, here, listed);
  }
  std::vector<lease_event> heard() {
    settle();
    return std::exchange(events_, {});
  }
  void report() { detector().report(home().now()); }

  const std::source_location here = std::source_location::current();
  const unsigned line = here.line();

 private:
  std::optional<conpool::leak_detector> detector_;
  std::vector<lease_event> events_;
};

TEST_F(leak_detector, the_longest_lease_is_due_first) {
  pooled_connection& a = connect();
  pooled_connection& b = connect();
  EXPECT_EQ(detector().next_due(), std::nullopt);
  const time_point began = home().now();
  EXPECT_TRUE(lend(a));
  pass(1s);
  EXPECT_FALSE(lend(b));
  EXPECT_EQ(detector().next_due(), began + threshold);
  detector().returned(a, true);
  EXPECT_EQ(detector().next_due(), began + 1s + threshold);
  EXPECT_FALSE(lend(a)) << "its new lease is the last";
  detector().returned(b, true);
  detector().returned(a, true);
  EXPECT_EQ(detector().next_due(), std::nullopt);
}

TEST_F(leak_detector, a_lease_is_reported_once_and_not_before_it_is_due) {
  pooled_connection& a = connect();
  pooled_connection& b = connect();
  lend(a);
  pass(1s);
  lend(b);
  pass(threshold - 1s - 1ns);
  heard();
  report();
  EXPECT_EQ(heard(), std::vector<lease_event>{});
  pass(1ns);
  report();
  EXPECT_EQ(heard(), (std::vector<lease_event>{{kind::leak_suspected, a.serial, threshold, line}}));
  EXPECT_EQ(counts().leaks, 1U);
  EXPECT_TRUE(a.leak_reported);
  report();
  EXPECT_EQ(heard(), std::vector<lease_event>{});
  pass(1h);
  report();
  EXPECT_EQ(
      heard(),
      (std::vector<lease_event>{{kind::leak_suspected, b.serial, threshold - 1s + 1h, line}}));
  EXPECT_EQ(counts().leaks, 2U);
  EXPECT_EQ(detector().next_due(), std::nullopt);
}

TEST_F(leak_detector, all_that_are_due_are_reported_at_once) {
  pooled_connection& a = connect();
  pooled_connection& b = connect();
  pooled_connection& c = connect();
  for (pooled_connection* one : {&a, &b}) lend(*one);
  pass(1s);
  lend(c);
  pass(threshold - 1s);
  heard();
  report();
  EXPECT_EQ(heard(), (std::vector<lease_event>{{kind::leak_suspected, a.serial, threshold, line},
                                               {kind::leak_suspected, b.serial, threshold, line}}));
  EXPECT_EQ(counts().leaks, 2U);
}

TEST_F(leak_detector, a_lease_that_came_back_is_not_suspected) {
  pooled_connection& one = connect();
  lend(one);
  pass(3s);
  heard();
  detector().returned(one, true);
  EXPECT_EQ(heard(), (std::vector<lease_event>{{kind::returned, one.serial, 3s, line}}));
  pass(threshold);
  report();
  EXPECT_EQ(heard(), std::vector<lease_event>{});
  EXPECT_EQ(counts().leaks, 0U);
}

TEST_F(leak_detector, a_suspect_that_comes_back_is_told_and_suspected_anew_in_its_next_lease) {
  pooled_connection& one = connect();
  lend(one);
  pass(threshold);
  report();
  heard();
  pass(1s);
  detector().returned(one, true);
  EXPECT_EQ(heard(),
            (std::vector<lease_event>{{kind::leak_returned, one.serial, threshold + 1s, line},
                                      {kind::returned, one.serial, threshold + 1s, line}}));
  lend(one);
  EXPECT_FALSE(one.leak_reported);
  pass(threshold);
  report();
  EXPECT_EQ(heard(),
            (std::vector<lease_event>{{kind::lent, one.serial, 0s, line},
                                      {kind::leak_suspected, one.serial, threshold, line}}));
}

TEST_F(leak_detector, what_is_not_listed_is_told_and_never_suspected) {
  pooled_connection& one = connect();
  EXPECT_FALSE(lend(one, false));
  EXPECT_EQ(heard(), (std::vector<lease_event>{{kind::lent, one.serial, 0s, line}}));
  EXPECT_EQ(detector().next_due(), std::nullopt);
  pass(threshold);
  report();
  detector().returned(one, false);
  EXPECT_EQ(heard(), (std::vector<lease_event>{{kind::returned, one.serial, 0s, 0U}}))
      << "nobody knows since when, and from where";
  EXPECT_EQ(counts().leaks, 0U);
}

TEST_F(leak_detector, without_an_observer_suspects_are_counted_all_the_same) {
  pool().observe({});
  pooled_connection& one = connect();
  EXPECT_TRUE(lend(one));
  pass(threshold);
  report();
  EXPECT_EQ(counts().leaks, 1U);
  detector().returned(one, true);
  EXPECT_FALSE(one.leak_reported);
  EXPECT_EQ(one.lent_from.line(), 0U);
}

TEST_F(leak_detector, nothing_is_known_of_what_was_lent_before_it_was_switched_off) {
  pooled_connection& suspect = connect();
  pooled_connection& lease = connect();
  lend(suspect);
  pass(threshold);
  report();
  lend(lease);
  detector().forget_all();
  heard();
  EXPECT_EQ(detector().next_due(), std::nullopt);
  detector().returned(suspect, true);
  detector().returned(lease, true);
  EXPECT_EQ(heard(), (std::vector<lease_event>{{kind::returned, suspect.serial, 0s, 0U},
                                               {kind::returned, lease.serial, 0s, 0U}}));
}

}  // namespace
}  // namespace conpool::test

// Connections that several leases share: which are listed, which one is lent, and how many callers
// wait for one connect.
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>

#include <conpool/pool/detail/shared_leases.h>

#include <tests/pool/parts/parts_fixture.h>

namespace conpool::test {
namespace {

struct shared_by_many {
  struct state {};
  static constexpr std::uint32_t expected_leases = 10;
  access access_mode(const connection&, const state&) { return access::shared(10); }
};

class shared_leases : public parts_fixture {
 protected:
  void SetUp() override {
    parts_fixture::SetUp();
    speak(shared_by_many{});
    shared_.emplace(facts());
  }
  void TearDown() override {
    for (pooled_connection& one : facts().members) conpool::shared_leases::unlist(one);
    shared_.reset();
    parts_fixture::TearDown();
  }

  conpool::shared_leases& shared() { return *shared_; }
  managed_connection& connect_shared(std::uint32_t limit) {
    managed_connection& made = as_managed(connect());
    made.shared = true;
    made.lease_limit = limit;
    return made;
  }
  // With so many leases, and in the list if it belongs there.
  managed_connection& connect_with(std::uint32_t leases, std::uint32_t limit) {
    managed_connection& made = connect_shared(limit);
    for (std::uint32_t i = 0; i < leases; ++i) shared().add_lease(made);
    shared().list_if_open(made);
    return made;
  }

 private:
  std::optional<conpool::shared_leases> shared_;
};

TEST_F(shared_leases, the_least_loaded_connection_is_lent) {
  EXPECT_EQ(shared().least_loaded(), nullptr);
  managed_connection& two = connect_with(2, 10);
  managed_connection& one = connect_with(1, 10);
  connect_with(3, 10);
  EXPECT_EQ(shared().least_loaded(), &one);
  shared().add_lease(one);
  EXPECT_EQ(shared().least_loaded(), &two) << "of two with the same load the one that was first";
  shared().add_lease(one);
  shared().add_lease(two);
  shared().drop_lease(one);
  EXPECT_EQ(shared().least_loaded(), &one);
}

TEST_F(shared_leases, a_connection_is_listed_while_it_has_leases_and_room_for_more) {
  managed_connection& one = connect_shared(2);
  EXPECT_FALSE(shared().list_if_open(one)) << "without leases it is idle like any other";
  EXPECT_EQ(shared().least_loaded(), nullptr);
  shared().add_lease(one);
  EXPECT_TRUE(shared().list_if_open(one));
  EXPECT_EQ(shared().least_loaded(), &one);
  shared().add_lease(one);
  EXPECT_FALSE(shared().list_if_open(one)) << "it is full";
  EXPECT_EQ(shared().least_loaded(), nullptr);
  shared().drop_lease(one);
  EXPECT_TRUE(shared().list_if_open(one));
  EXPECT_TRUE(shared().list_if_open(one)) << "it is listed once";
  shared().drop_lease(one);
  EXPECT_FALSE(shared().list_if_open(one));
  EXPECT_EQ(shared().least_loaded(), nullptr);
}

TEST_F(shared_leases, a_lowered_limit_takes_a_connection_out_and_a_raised_one_brings_it_back) {
  managed_connection& one = connect_with(3, 4);
  one.lease_limit = 2;
  EXPECT_FALSE(conpool::shared_leases::has_room(one));
  EXPECT_FALSE(shared().list_if_open(one));
  EXPECT_EQ(shared().least_loaded(), nullptr);
  EXPECT_EQ(one.lease_count, 3U) << "it takes none of them away";
  one.lease_limit = 4;
  EXPECT_TRUE(conpool::shared_leases::has_room(one));
  EXPECT_TRUE(shared().list_if_open(one));
  EXPECT_EQ(shared().least_loaded(), &one);
}

TEST_F(shared_leases, what_retires_or_is_broken_has_no_room) {
  managed_connection& one = connect_with(1, 10);
  one.mark(stream::ended);
  EXPECT_EQ(shared().least_loaded(), nullptr) << "before anybody has taken it out";
  EXPECT_FALSE(conpool::shared_leases::has_room(one));
  EXPECT_FALSE(shared().list_if_open(one));
  one.clear(stream::ended);
  EXPECT_TRUE(shared().list_if_open(one));
  one.retiring = true;
  EXPECT_FALSE(shared().list_if_open(one));
  EXPECT_EQ(shared().least_loaded(), nullptr);
}

TEST_F(shared_leases, only_what_is_leased_is_listed) {
  managed_connection& one = connect_with(1, 10);
  conpool::shared_leases::unlist(one);
  for (const connection_stage other :
       {connection_stage::idle, connection_stage::held_by_pool, connection_stage::closing}) {
    one.stage = other;
    EXPECT_FALSE(shared().list_if_open(one));
    EXPECT_EQ(shared().least_loaded(), nullptr);
  }
  one.stage = connection_stage::leased;
  EXPECT_TRUE(shared().list_if_open(one));
  conpool::shared_leases::unlist(one);
  conpool::shared_leases::unlist(one);  // also one that is in no list
  EXPECT_EQ(shared().least_loaded(), nullptr);
}

TEST_F(shared_leases, leases_are_counted_over_all_connections) {
  managed_connection& one = connect_shared(5);
  managed_connection& other = connect_shared(5);
  one.stage = connection_stage::held_by_pool;
  shared().add_lease(one);
  shared().add_lease(one);
  shared().add_lease(other);
  EXPECT_EQ(one.stage, connection_stage::leased);
  EXPECT_EQ(one.lease_count, 2U);
  EXPECT_EQ(counts().leases, 3U);
  shared().drop_lease(one);
  shared().drop_lease(other);
  EXPECT_EQ(one.lease_count, 1U);
  EXPECT_EQ(counts().leases, 1U);
}

TEST_F(shared_leases, so_many_callers_wait_for_one_connect_as_it_will_likely_serve) {
  EXPECT_EQ(shared().expected(), 10U) << "as the protocol says";
  EXPECT_EQ(shared().connections_for(0), 0U);
  EXPECT_EQ(shared().connections_for(1), 1U);
  EXPECT_EQ(shared().connections_for(10), 1U);
  EXPECT_EQ(shared().connections_for(11), 2U);
  shared().expect(3);  // learned from one that stands
  EXPECT_EQ(shared().connections_for(10), 4U);
  shared().expect(0);
  EXPECT_EQ(shared().expected(), 1U);
  EXPECT_EQ(shared().connections_for(10), 10U);
}

}  // namespace
}  // namespace conpool::test

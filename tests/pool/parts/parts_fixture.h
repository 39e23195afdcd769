// What a part of an endpoint's pool stands on, and nothing above it: the facts of an endpoint, and
// connections whose other end the test holds.
//
// A test makes the part it is about from facts() and calls it as the parts above would. A
// connection is leased and listed from the beginning, and is closed by the fixture; a test that
// puts it into a list takes it out again. Each connection also has a real endpoint's pool that
// owns it, which hears of nothing while the connection is leased or held: so whatever arrives on an
// idle one must be left in the socket, or come while the stage says that it is leased.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/endpoint_pool.h>
#include <conpool/pool/detail/pool_facts.h>
#include <conpool/pool/protocol.h>

#include <tests/support/raw_sockets.h>
#include <tests/support/shard_fixture.h>

namespace conpool::test {

// The facts of a pool that has no core: a test changes them as it likes.
class bare_pool final : public pool_facts {
 public:
  bare_pool(shard& home, const protocol_hooks* hooks, std::shared_ptr<void> speaks)
      : pool_facts(home, pool_config(), hooks, std::move(speaks)) {}

  pool_config& settings() noexcept { return config_; }
  void set_paused(bool paused) noexcept { paused_ = paused; }
  void observe(pool_observer observer) { events_.set(std::move(observer)); }

 private:
  ~bare_pool() override = default;
  void look_if_quiet() noexcept override {}
  void forget(const endpoint&) noexcept override {}
};

class parts_fixture : public shard_fixture {
 protected:
  void SetUp() override {
    shard_fixture::SetUp();
    begin(nullptr, nullptr);
  }
  void TearDown() override {
    finish();
    shard_fixture::TearDown();
  }

  // Begins anew with connections that speak a protocol. Not after facts() was used.
  template <protocol P>
  void speak(P protocol) {
    finish();
    begin(&conpool::detail::hooks_of<P>, std::make_shared<P>(std::move(protocol)));
  }

  bare_pool& pool() { return *pool_; }
  pool_config& settings() { return pool_->settings(); }
  endpoint_facts& facts() { return *facts_; }
  pool_counts& counts() { return facts_->counts; }

  // A new connection that was never lent, with this socket.
  pooled_connection& connect(socket_pair sockets) {
    pooled_connection& made = *facts_->make_connection(sockets.near.release());
    made.stage = connection_stage::leased;
    made.stood_at = made.last_used = home().now();
    ++counts().active;
    facts_->members.push_back(made);
    made_.push_back({&made, std::move(sockets.far)});
    return made;
  }
  pooled_connection& connect() { return connect(unix_pair()); }
  // Used so long after the beginning of the test.
  pooled_connection& connect_used(duration after) {
    pooled_connection& made = connect();
    made.last_used = started_ + after;
    return made;
  }
  unique_fd& far_end_of(const pooled_connection& one) {
    for (connected& each : made_) {
      if (each.near == &one) return each.far;
    }
    ADD_FAILURE() << "not a connection of this test";
    return made_.at(0).far;
  }

 private:
  struct connected {
    pooled_connection* near;
    unique_fd far;
  };

  void begin(const protocol_hooks* hooks, std::shared_ptr<void> speaks) {
    const endpoint to = endpoint::parse("tcp://127.0.0.1:1").value();
    pool_ = counted_pointer(*new bare_pool(home(), hooks, std::move(speaks)));
    owner_ = std::make_unique<endpoint_pool>(*pool_, to);
    facts_ = std::make_unique<endpoint_facts>(*pool_, *owner_, to);
    started_ = home().now();
    settle();  // its owner looks once what there is to do
  }

  void finish() {
    pool_->observe({});
    for (connected& each : made_) {
      each.near->stage = connection_stage::leased;  // so that its owner leaves it alone
      each.near->begin_close();
    }
    settle();
    for (connected& each : made_) {
      ASSERT_TRUE(each.near->closed());
      facts_->members.remove(*each.near);
      facts_->free_connection(*each.near);
    }
    made_.clear();
    facts_.reset();
    owner_.reset();
    pool_ = {};
    settle();
  }

  counted_pointer<bare_pool> pool_;
  std::unique_ptr<endpoint_pool> owner_;
  std::unique_ptr<endpoint_facts> facts_;
  std::vector<connected> made_;
  time_point started_{};
};

}  // namespace conpool::test

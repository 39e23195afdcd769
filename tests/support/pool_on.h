// A pool on a shard fixture, be it on this machine's kernel or on a simulated one, and callers who
// wait for its connections beside the test.
//
//   class pool_fixture : public pool_on<shard_fixture> { ... };
//
// Of the shard fixture it needs home(), run(), until() and settle().
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <conpool/pool/pool.h>
#include <conpool/runtime/scope.h>

#include <tests/support/expect.h>

namespace conpool::test {

// created = connecting + idle + active + closing + closed
inline ::testing::AssertionResult add_up(const pool_stats& sum) {
  const std::uint64_t there = sum.connecting + sum.idle + sum.active + sum.closing + sum.closed();
  if (sum.created == there) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "created " << sum.created << ", but connecting " << sum.connecting << " + idle "
         << sum.idle << " + active " << sum.active << " + closing " << sum.closing << " + closed "
         << sum.closed();
}

template <typename Shard>
class pool_on : public Shard {
 protected:
  // Replaces the pool by one with this configuration.
  pool& configure(const pool_config& config) {
    backends_.reset();
    return take(pool::create(this->home(), config));
  }
  // The same, with what the connections speak.
  template <protocol P>
  pool& configure(const pool_config& config, P speaks) {
    backends_.reset();
    return take(pool::create(this->home(), config, std::move(speaks)));
  }
  // Closes the pool and frees it, if there is one: the counts must add up, and of what it has
  // itself nothing may be left.
  void close_pool() {
    if (!backends_) return;
    EXPECT_TRUE(add_up(totals()));
    ASSERT_TRUE(this->run([this]() -> task<void> {
      auto closed = co_await backends_->close();
      EXPECT_TRUE(closed);
    }));
    const pool_stats sum = totals();
    EXPECT_TRUE(add_up(sum));
    EXPECT_EQ(sum.idle + sum.connecting + sum.closing + sum.waiting, 0U);
  }
  void free_pool() { backends_.reset(); }

  pool& backends() { return *backends_; }
  bool has_pool() const { return backends_ != nullptr; }
  pool_stats totals() { return backends_->totals(); }
  std::uint64_t closed(close_reason why) { return totals().closed(why); }

  // One who acquires beside the test, and keeps what it got.
  struct caller {
    result<lease> got = fail(error(errc::invalid_argument));
    bool ended = false;
    time_point when{};  // it ended
    bool served() const { return ended && got.has_value(); }
    errc failure() const { return ended && !got ? got.error().kind() : errc{}; }
  };
  // Valid until the end of the test.
  caller& call_in(scope* where, const endpoint& to, const acquire_options& options = {}) {
    callers_.push_back(std::make_shared<caller>());
    const auto& made = callers_.back();
    const auto body = [](pool_on* self, endpoint peer, acquire_options how,
                         std::shared_ptr<caller> into) -> task<void> {
      auto got = co_await self->backends().acquire(peer, how);
      into->got = std::move(got);
      into->ended = true;
      into->when = self->home().now();
    };
    if (where != nullptr) {
      where->spawn(body, this, to, options, made);
    } else {
      this->home().spawn(body, this, to, options, made);
    }
    return *made;
  }
  caller& call(const endpoint& to, const acquire_options& options = {}) {
    return call_in(nullptr, to, options);
  }
  // How an acquire ends: with an error, or with a lease, which is given back.
  std::optional<error> failure_of(const endpoint& to, const acquire_options& options = {}) {
    std::optional<error> why;
    EXPECT_TRUE(this->run([&]() -> task<void> {
      auto one = co_await backends_->acquire(to, options);
      if (!one) why = std::move(one.error());
    }));
    return why;
  }
  // What the callers have goes back to the pool.
  void release_all() { callers_.clear(); }

 private:
  pool& take(result<pool> made) {
    EXPECT_OK(made);
    backends_ = std::make_unique<pool>(std::move(made).value());
    return *backends_;
  }

  std::unique_ptr<pool> backends_;
  std::vector<std::shared_ptr<caller>> callers_;
};

}  // namespace conpool::test

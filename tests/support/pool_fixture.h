// A pool on a shard of the test's thread, an echo server that it talks to, and what tests do with
// it: leases that the test holds, callers that wait beside it, further servers.
//
// After each test the pool is closed, the shard stopped, and three things are checked: the counts
// add up, every descriptor is back, and the kernel has nothing in flight.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/echo_server.h>
#include <tests/support/pool_on.h>
#include <tests/support/shard_fixture.h>

namespace conpool::test {

class pool_fixture : public pool_on<shard_fixture> {
 protected:
  void SetUp() override {
    shard_fixture::SetUp();
    server_ = std::make_unique<echo_server>(home());
    configure({});
  }

  void TearDown() override {
    held_.clear();
    release_all();
    for (const auto& one : more_) one->stop();
    EXPECT_TRUE(until([this] {
      for (const auto& one : more_) {
        if (!one->stopped()) return false;
      }
      return true;
    }));
    more_.clear();
    close_pool();
    free_pool();
    server_->stop();
    stop();
    server_.reset();
    shard_fixture::TearDown();
  }

  echo_server& server() { return *server_; }
  echo_server& add_server() {
    more_.push_back(std::make_unique<echo_server>(home()));
    return *more_.back();
  }
  echo_server& add_server(const endpoint& at) {
    more_.push_back(std::make_unique<echo_server>(home(), at));
    return *more_.back();
  }

  // A pool of at most so many connections to an endpoint, and so many callers who wait for them.
  void cap(std::uint32_t connections, std::uint32_t waiters = 0) {
    pool_config config;
    config.max_connections_per_endpoint = connections;
    config.max_waiters_per_endpoint = waiters;
    configure(config);
  }

  // A lease that the test itself has.
  lease hold(const endpoint& to, const acquire_options& options = {}) {
    lease held;
    EXPECT_TRUE(run([&]() -> task<void> {
      auto one = co_await backends().acquire(to, options);
      CO_ASSERT_OK(one);
      held = std::move(*one);
    }));
    return held;
  }
  lease hold() { return hold(server().at()); }
  // `count` leases more, kept in held_ until the end of the test.
  void hold(unsigned count) { hold(count, server().at()); }
  void hold(unsigned count, const endpoint& to) {
    ASSERT_TRUE(run([this, count, &to]() -> task<void> {
      for (unsigned i = 0; i < count; ++i) {
        auto one = co_await backends().acquire(to);
        CO_ASSERT_OK(one);
        held_.push_back(std::move(*one));
      }
    }));
  }
  // `count` idle connections that were lent once; the first of them will be lent first.
  void make_idle(unsigned count) {
    hold(count);
    while (!held_.empty()) held_.pop_back();
    ASSERT_TRUE(until([&] { return totals().idle == count && server().open() == count; }));
    settle();
  }
  // What an acquire that is expected to fail comes back with.
  error refused(const endpoint& to, const acquire_options& options = {}) {
    auto why = failure_of(to, options);
    if (why) return *why;
    ADD_FAILURE() << "it was served";
    return error(errc::invalid_argument);
  }

  using pool_on::call;
  caller& call() { return call(server().at()); }

  // Sends and reads the same back.
  task<result<std::string>> exchange(connection& over, std::string text) {
    auto sent = co_await over.write(text);
    if (!sent) co_return fail(std::move(sent.error()));
    std::string got(text.size(), '\0');
    auto read = co_await over.read_exactly(std::span<char>(got));
    if (!read) co_return fail(std::move(read.error()));
    co_return got;
  }
  bool works(lease& held) {
    bool well = false;
    EXPECT_TRUE(run([&]() -> task<void> {
      auto talk = exchange(*held, "hello");
      auto got = co_await talk;
      well = got.has_value() && *got == "hello";
    }));
    return well;
  }

  bool nothing_closing() {
    return until([this] { return totals().closing == 0; });
  }

  std::vector<lease> held_;

 private:
  std::unique_ptr<echo_server> server_;
  std::vector<std::unique_ptr<echo_server>> more_;
};

}  // namespace conpool::test

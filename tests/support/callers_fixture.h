// pool_fixture with callers that wait beside the test, leases that the test holds, and further
// servers.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {

class callers_fixture : public pool_fixture {
 protected:
  void TearDown() override {
    callers_.clear();
    for (const auto& one : more_) one->stop();
    EXPECT_TRUE(until([this] {
      for (const auto& one : more_) {
        if (!one->stopped()) return false;
      }
      return true;
    }));
    more_.clear();
    pool_fixture::TearDown();
  }

  echo_server& add_server() {
    more_.push_back(std::make_unique<echo_server>(home()));
    return *more_.back();
  }
  echo_server& add_server(const endpoint& at) {
    more_.push_back(std::make_unique<echo_server>(home(), at));
    return *more_.back();
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
  // What an acquire that is expected to fail comes back with.
  error refused(const endpoint& to, const acquire_options& options = {}) {
    error why(errc::invalid_argument);
    EXPECT_TRUE(run([&]() -> task<void> {
      auto one = co_await backends().acquire(to, options);
      if (one) {
        ADD_FAILURE() << "it was served";
      } else {
        why = std::move(one.error());
      }
    }));
    return why;
  }

  // One who acquires beside the test, and keeps what it got.
  struct caller {
    result<lease> got = fail(error(errc::invalid_argument));
    bool ended = false;
    bool served() const { return ended && got.has_value(); }
    errc failure() const { return ended && !got ? got.error().kind() : errc{}; }
  };
  // Valid until the end of the test.
  caller& call(const endpoint& to, const acquire_options& options = {}) {
    callers_.push_back(std::make_shared<caller>());
    const auto& made = callers_.back();
    home().spawn(
        [](callers_fixture* self, endpoint where, acquire_options how,
           std::shared_ptr<caller> into) -> task<void> {
          auto got = co_await self->backends().acquire(where, how);
          into->got = std::move(got);
          into->ended = true;
        },
        this, to, options, made);
    return *made;
  }
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

  std::uint64_t closed(close_reason why) { return totals().closed(why); }
  bool nothing_closing() {
    return until([this] { return totals().closing == 0; });
  }

 private:
  std::vector<std::unique_ptr<echo_server>> more_;
  std::vector<std::shared_ptr<caller>> callers_;
};

inline bool says(const error& what, const std::string& part) {
  return what.message().find(part) != std::string::npos;
}

}  // namespace conpool::test

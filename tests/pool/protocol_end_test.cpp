// Whatever ends a connection while a coroutine of its protocol is suspended: the coroutine ends,
// the caller is told, and nothing is freed too early or left behind.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <conpool/conpool.h>

#include <tests/pool/scripted.h>
#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

enum class hook : std::uint8_t { on_connect, ping, on_release, run };
enum class ending : std::uint8_t { close, drain, destroy, stop, clear, break_off, server_closes };

using combination = std::tuple<hook, act, ending>;

class protocol_ends : public pool_fixture, public ::testing::WithParamInterface<combination> {
 protected:
  void TearDown() override {
    pool_fixture::TearDown();
    EXPECT_EQ(says_.ended, says_.begun) << "a hook is still suspended";
  }

  void begin_acquire() {
    start(
        [this]() -> task<void> {
          auto one = co_await backends().acquire(server().at());
          if (one) held_.push_back(std::move(*one));
        },
        caller_done_);
  }
  // Leaves the hook suspended.
  void suspend_in(hook which, act how) {
    switch (which) {
      case hook::on_connect:
        says_.does = how;
        configure(config_, logging_in{{&says_}});
        begin_acquire();
        break;
      case hook::ping:
        config_.validation = validation_policy::ping;
        configure(config_, pinging{{&says_}});
        hold(1);
        held_.clear();
        pass(1s);
        says_.does = how;
        begin_acquire();
        break;
      case hook::on_release:
        says_.does = how;
        configure(config_, cleaning{{&says_}});
        hold(1);
        held_.clear();
        break;
      case hook::run:
        says_.does = how;
        configure(config_, running{{&says_}});
        hold(1);
        break;
    }
    ASSERT_TRUE(until([this] { return says_.begun == 1; }));
    settle();
    ASSERT_EQ(says_.ended, 0U);
  }
  void end_by(ending how) {
    switch (how) {
      case ending::close:
        start(
            [this]() -> task<void> {
              auto closed = co_await backends().close();
              EXPECT_TRUE(closed);
            },
            ending_done_);
        break;
      case ending::drain:
        start(
            [this]() -> task<void> {
              auto draining = backends().drain(500ms);
              auto drained = co_await draining;
              EXPECT_TRUE(drained);
            },
            ending_done_);
        break;
      case ending::destroy:
        backends() = pool::create(home(), config_of_its_heir()).value();
        break;
      case ending::stop:
        home().stop();
        break;
      case ending::clear:
        backends().clear_all();
        break;
      case ending::break_off:
        backends().clear_all(leased::break_off);
        break;
      case ending::server_closes:
        server().close_all();
        break;
    }
  }
  static pool_config config_of_its_heir() { return {}; }

  script says_;
  pool_config config_;
  bool caller_done_ = true;
  bool ending_done_ = true;
};

TEST_P(protocol_ends, everything_may_end_while_a_hook_is_suspended) {
  const auto [which, how, end] = GetParam();
  suspend_in(which, how);
  end_by(end);
  settle();
  // Hooks that begin from here on succeed.
  says_.does = act::talks;
  // A hook that still waits has until its deadline.
  for (int i = 0; i < 70 && end != ending::stop; ++i) pass(100ms);
  ASSERT_TRUE(until([this] { return caller_done_ && ending_done_; }));
  held_.clear();
  ASSERT_TRUE(until([this] { return says_.ended == says_.begun; }));
  EXPECT_TRUE(add_up(totals()));
  if (end == ending::stop) {
    EXPECT_TRUE(until([this] { return home().stopped(); }));
  } else {
    ASSERT_TRUE(until([this] { return totals().closing + totals().connecting == 0; }));
  }
  EXPECT_EQ(totals().active, 0U);
  EXPECT_EQ(totals().waiting, 0U);
}

std::string name_of(const ::testing::TestParamInfo<combination>& info) {
  static constexpr const char* hooks[] = {"on_connect", "ping", "on_release", "run"};
  static constexpr const char* endings[] = {"close", "drain",     "destroy",      "stop",
                                            "clear", "break_off", "server_closes"};
  const auto [which, how, end] = info.param;
  return std::string(hooks[static_cast<std::size_t>(which)]) +
         (how == act::hangs ? "_reads_" : "_sleeps_") + endings[static_cast<std::size_t>(end)];
}

INSTANTIATE_TEST_SUITE_P(
    all, protocol_ends,
    ::testing::Combine(::testing::Values(hook::on_connect, hook::ping, hook::on_release, hook::run),
                       ::testing::Values(act::hangs, act::sleeps),
                       ::testing::Values(ending::close, ending::drain, ending::destroy,
                                         ending::stop, ending::clear, ending::break_off,
                                         ending::server_closes)),
    name_of);

}  // namespace
}  // namespace conpool::test

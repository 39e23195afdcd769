// The kernel may set the TASKRUN flag just after the work it announces was run. No later enter
// clears it then, and a shard that trusted it would never sleep again.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/echo_server.h>
#include <tests/support/run.h>

namespace conpool::test {
namespace {

task<void> ping(socket& to) {
  for (int round = 0; round < 20; ++round) {
    auto sent = co_await to->write("ping");
    EXPECT_TRUE(sent);
    std::array<char, 4> got{};
    auto read = co_await to->read_exactly(std::span<char>(got));
    EXPECT_TRUE(read);
  }
}

TEST(ring_stale_flag, an_idle_shard_finds_nothing_pending_after_any_burst) {
  // The race needs a peer on another core that answers while this thread takes completions.
  runtime_options options;
  options.shards = 1;
  auto threads = runtime::create(options).value();
  std::unique_ptr<echo_server> server;
  threads->run([&]() -> task<void> {
    server = std::make_unique<echo_server>(threads->at(0));
    co_return;
  });
  const endpoint at = server->at();
  {
    auto home = shard::create().value();
    std::vector<socket> peers;
    const auto connect = [&]() -> task<void> {
      const socket_address to = socket_address::ip(at.host(), at.port()).value();
      for (int i = 0; i < 16; ++i) {
        auto one = co_await connect_socket(*home, to, socket_options(), std::chrono::seconds(5));
        if (one) peers.push_back(std::move(*one));
      }
    };
    ASSERT_TRUE(run_on(*home, connect()));
    ASSERT_EQ(peers.size(), 16U);
    for (int burst = 0; burst < 500; ++burst) {
      std::size_t ended = 0;
      for (socket& one : peers) {
        home->spawn(
            [](socket& to, std::size_t& count) -> task<void> {
              auto work = ping(to);
              co_await work;
              ++count;
            },
            std::ref(one), std::ref(ended));
      }
      ASSERT_TRUE(run_until(*home, [&] { return ended == peers.size(); }));
      // Late, the flag may still come; it must go again.
      for (int turn = 0; turn < 1000 && home->ring().completions_pending(); ++turn) {
        home->run_once(duration::zero());
      }
      ASSERT_FALSE(home->ring().completions_pending()) << "burst " << burst;
    }
    peers.clear();
  }
  threads->stop();
  server.reset();
}

}  // namespace
}  // namespace conpool::test

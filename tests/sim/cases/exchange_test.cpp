// Exchanges and writes of several pieces on the simulated network, whose kernel completes the two
// parts in any order, sends in parts, fails, and loses cancels.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <conpool/runtime/deadline.h>
#include <conpool/runtime/detail/random.h>
#include <conpool/runtime/socket.h>

#include <tests/sim/sim_fixture.h>
#include <tests/support/expect.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

using sim_exchange = sim_fixture;

TEST_F(sim_exchange, pieces_reach_the_server_as_one_request) {
  server& peer = net().add_server("10.0.0.1", 1000, {.in_pieces = 0});
  net().faults() = {.punted = 0, .short_receive = 0, .partial_send = 0, .split_segment = 0};
  ASSERT_TRUE(run([&]() -> task<void> {
    const socket_options options;
    auto made = co_await connect_socket(home(), peer.address(), options, 3s);
    CO_ASSERT_OK(made);
    const std::string body = "body";
    const std::array<const_buffer, 3> request{"head ", body, " tail"};
    std::string got(14, '\0');
    auto count = co_await (*made)->exchange(request, got, 14);
    CO_ASSERT_OK(count);
    EXPECT_EQ(got, "head body tail");
  }));
  EXPECT_EQ(peer.counts().requests, 1U);
}

// The memory of one exchange, gone as soon as that returns: the kernel must be done with it.
task<result<std::size_t>> exchange_once(conpool::socket& peer, random_source& draws) {
  const std::size_t bytes = 1 + draws.below(draws.below(4) == 0 ? 200'000 : 2000);
  std::string text(bytes, '\0');
  for (char& each : text) each = static_cast<char>('a' + draws.below(26));
  std::vector<const_buffer> pieces;
  for (std::size_t at = 0; at < bytes;) {
    const std::size_t size = draws.below(4) == 0 ? 0 : 1 + draws.below(bytes - at);
    pieces.emplace_back(text.data() + at, size);
    at += size;
  }
  const std::size_t minimum = 1 + draws.below(bytes);
  std::string got(bytes, '\0');
  auto count = co_await peer->exchange(pieces, got, minimum, 1s);
  if (!count) co_return fail(std::move(count.error()));
  EXPECT_GE(*count, minimum);
  EXPECT_TRUE(std::string_view(text).starts_with(std::string_view(got).substr(0, *count)));
  // The rest of the echo.
  if (*count < bytes) {
    const std::span<char> rest = std::span(got).subspan(*count);
    auto more = co_await peer->read_exactly(rest, 1s);
    if (!more) co_return fail(std::move(more.error()));
    EXPECT_TRUE(got == text);
  }
  co_return bytes;
}

// How the exchanges of a run ended, by kind; the whole ones as errc{}.
std::map<errc, unsigned> play(std::uint64_t seed) {
  world here(seed);
  fault_plan& faults = here.net().faults();
  faults.call_most = 5us;
  faults.partial_send = 0.3;
  faults.no_buffer = 0.1;
  faults.submits_less = 0.2;
  faults.ended_by_itself = 0.01;
  faults.send_fails = 0.02;
  faults.cancel_loses = 0.5;
  server& peer = here.net().add_server("10.0.0.1", 1000,
                                       {.window = 8'000,
                                        .think_most = 3ms,
                                        .in_pieces = 0.5,
                                        .swallow = 0.01,
                                        .cut_off = 0.01,
                                        .close_after_reply = 0.02,
                                        .reset_after_reply = 0.02});
  std::map<errc, unsigned> ends;
  random_source draws(seed);
  const auto talk = [&]() -> task<void> {
    const socket_options options;
    auto made = co_await connect_socket(here.home(), peer.address(), options, 100ms);
    if (!made) co_return;
    for (unsigned i = 0; i < 10; ++i) {
      const duration most = std::chrono::milliseconds(1 + draws.below(2000));
      auto work = exchange_once(*made, draws);
      auto done = co_await with_timeout(here.home(), most, std::move(work));
      ++ends[done ? errc{} : done.error().kind()];
      if (!done) co_return;
    }
  };
  for (unsigned i = 0; i < 10; ++i) here.start(talk);
  here.pass(1min);
  here.end();
  return ends;
}

TEST(sim_exchanges, whatever_the_kernel_does_the_memory_is_the_callers_when_one_returns) {
  std::map<errc, unsigned> ends;
  const seed_range seeds(60);
  for (std::uint64_t seed = seeds.first; seed < seeds.end; ++seed) {
    SCOPED_TRACE(seed);
    for (const auto& [how, count] : play(seed)) ends[how] += count;
  }
  // A run that never fails, or always does, would show little.
  for (const errc how : {errc{}, errc::connection_reset, errc::connection_closed,
                         errc::deadline_exceeded, errc::read_timeout}) {
    EXPECT_GT(ends[how], 5U) << make_error_code(how).message();
  }
}

}  // namespace
}  // namespace conpool::sim

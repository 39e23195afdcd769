// T72: the kernel may answer something other than success at each point of a connection's life.
// The pool then tries again where that is right, or whoever asked gets an error; and a connection
// that was hit is never lent again.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <conpool/pool/pool.h>

#include <tests/sim/world.h>
#include <tests/support/expect.h>

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

enum class point : std::uint8_t { connect, write, read, idle };

struct injection {
  const char* name;
  double fault_plan::* knob;
  point when;
  std::optional<errc> outcome;  // of the exchange it happens in; none: it succeeds
  std::uint64_t closed;         // connections that it costs
};

// What fails an idle connection costs no exchange: the next one opens another.
const injection injections[] = {
    {"a send takes less", &fault_plan::partial_send, point::write, std::nullopt, 0},
    {"a receive brings less", &fault_plan::short_receive, point::read, std::nullopt, 0},
    {"ENOBUFS for the first receive", &fault_plan::no_buffer, point::read, std::nullopt, 0},
    {"ENOBUFS while idle", &fault_plan::no_buffer, point::idle, std::nullopt, 0},
    {"EINTR of a connect", &fault_plan::interrupted, point::connect, errc::connect_failed, 1},
    {"EINTR of a send", &fault_plan::interrupted, point::write, errc::io_failed, 1},
    {"EINTR of a receive", &fault_plan::interrupted, point::read, errc::io_failed, 1},
    {"ECANCELED of a connect", &fault_plan::ended_by_itself, point::connect, errc::connect_failed,
     1},
    {"ECANCELED of a send", &fault_plan::ended_by_itself, point::write, errc::connection_closed, 1},
    {"ECANCELED of a receive", &fault_plan::ended_by_itself, point::read, errc::connection_closed,
     1},
    {"ECONNRESET of a send", &fault_plan::send_fails, point::write, errc::connection_reset, 1},
    {"EMFILE of a socket", &fault_plan::no_descriptor, point::connect, errc::too_many_files, 1},
};

class sim_errors : public ::testing::Test {
 protected:
  // One exchange, with the knob turned at its point.
  static task<std::optional<errc>> exchange(pool& from, endpoint to, fault_plan& faults,
                                            const injection& what) {
    const double normal = faults.*(what.knob);
    const auto turn = [&](point now, double value) {
      if (what.when == now) faults.*(what.knob) = value;
    };
    std::string request(10'000, 'q');
    turn(point::connect, 1);
    auto lent = co_await from.acquire(to);
    turn(point::connect, normal);
    if (!lent) co_return lent.error().kind();
    turn(point::write, 1);
    auto sent = co_await (*lent)->write(request);
    turn(point::write, normal);
    if (!sent) co_return sent.error().kind();
    std::string answer(request.size(), '\0');
    turn(point::read, 1);
    auto read = co_await (*lent)->read_exactly(std::span<char>(answer));
    turn(point::read, normal);
    if (!read) co_return read.error().kind();
    EXPECT_EQ(answer, request);
    co_return std::nullopt;
  }
};

TEST_F(sim_errors, T72_what_the_kernel_answers_at_any_point_is_retried_or_fails_rightly) {
  for (const injection& one : injections) {
    SCOPED_TRACE(one.name);
    world here(72);
    here.net().faults() = {.punted = 0, .short_receive = 0, .partial_send = 0};
    // Far away and with little room: what the kernel ends early has not ended by itself before.
    const server& peer = here.net().add_server(
        "10.0.0.1", 1000, {.latency_least = 50ms, .latency_most = 50ms, .window = 4'000});
    const endpoint to = endpoint::parse("tcp://" + peer.address().to_string()).value();
    pool backends = pool::create(here.home()).value();
    const injection nothing{"", one.knob, point::idle, std::nullopt, 0};
    EXPECT_TRUE(here.run([&]() -> task<void> {
      fault_plan& faults = here.net().faults();
      auto hit = co_await exchange(backends, to, faults, one);
      EXPECT_EQ(hit, one.outcome);
      if (one.when == point::idle) faults.*(one.knob) = 1;
      auto rested = co_await here.home().sleep_for(500ms);
      CO_ASSERT_OK(rested);
      if (one.when == point::idle) faults.*(one.knob) = 0;
      EXPECT_EQ(backends.totals().closed(), one.closed);
      auto next = co_await exchange(backends, to, faults, nothing);
      EXPECT_EQ(next, std::nullopt);
    }));
    EXPECT_EQ(backends.totals().created, one.closed + 1);
    here.end();
  }
}

TEST_F(sim_errors, T72_out_of_descriptors_an_idle_connection_goes) {
  world here(72);
  here.net().add_server("10.0.0.1", 1000);
  here.net().add_server("10.0.0.2", 1000);
  const endpoint one = endpoint::parse("tcp://10.0.0.1:1000").value();
  const endpoint other = endpoint::parse("tcp://10.0.0.2:1000").value();
  pool backends = pool::create(here.home()).value();
  EXPECT_TRUE(here.run([&]() -> task<void> {
    auto first = co_await backends.acquire(one);
    CO_ASSERT_OK(first);
    first->release();
    here.net().faults().descriptors_max = here.net().open_descriptors();
    auto second = co_await backends.acquire(other);
    CO_ASSERT_OK(second);
    EXPECT_EQ(backends.totals().closed(close_reason::evicted), 1U);
    // Nothing is idle any more: now it is the caller's error.
    auto third = co_await backends.acquire(one);
    EXPECT_FALSE(third);
    if (!third) {
      EXPECT_EQ(third.error(), errc::too_many_files);
    }
  }));
  here.end();
}

}  // namespace
}  // namespace conpool::sim

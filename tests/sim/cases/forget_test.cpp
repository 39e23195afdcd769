// An endpoint that nobody uses any more gives back everything it had.
#include <gtest/gtest.h>

#include <malloc.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include <conpool/runtime/detail/frame_pool.h>

#include <tests/sim/pool_fixture.h>

// Counts what operator new has handed out, in the whole program.
namespace {
std::size_t live_bytes = 0;
std::size_t live_blocks = 0;

void* counted(void* block) {
  if (block == nullptr) throw std::bad_alloc();
  live_bytes += malloc_usable_size(block);
  ++live_blocks;
  return block;
}
void uncounted(void* block) noexcept {
  if (block == nullptr) return;
  live_bytes -= malloc_usable_size(block);
  --live_blocks;
  std::free(block);
}
}  // namespace

void* operator new(std::size_t bytes) {
  return counted(std::malloc(bytes));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  const auto step = static_cast<std::size_t>(alignment);
  return counted(std::aligned_alloc(step, (bytes + step - 1) / step * step));
}
void operator delete(void* block) noexcept {
  uncounted(block);
}
void operator delete(void* block, std::size_t /*bytes*/) noexcept {
  uncounted(block);
}
void operator delete(void* block, std::align_val_t /*alignment*/) noexcept {
  uncounted(block);
}
void operator delete(void* block, std::size_t /*bytes*/, std::align_val_t /*alignment*/) noexcept {
  uncounted(block);
}

namespace conpool::sim {
namespace {

using namespace std::chrono_literals;

constexpr unsigned endpoints = 10'000;
// Not more: a broken endpoint is tried again and again until it is forgotten.
constexpr unsigned broken = endpoints / 500;
bool is_broken(unsigned number) {
  return number % 500 == 0;
}

class sim_forget : public pool_fixture {
 protected:
  // Every endpoint is used once: most of them answer, some refuse, and are broken.
  void use_each_once(const std::vector<endpoint>& all) {
    ASSERT_TRUE(here().run([&]() -> task<void> {
      for (const endpoint& one : all) {
        auto lent = co_await backends().acquire(one);
        if (!lent) {
          EXPECT_EQ(lent.error(), errc::connect_failed);
        }
      }
    }));
  }
};

TEST_F(sim_forget, T55_endpoints_used_once_leave_nothing_behind) {
  std::vector<endpoint> all;
  for (unsigned i = 0; i < endpoints; ++i) {
    const std::string host = "10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1);
    server& made = net().add_server(host, 1000, takes(1ms));
    if (is_broken(i)) made.go_down();
    all.push_back(at(made));
  }
  configure({.breaker_failures = 1});
  // Once for what the shard and the network keep for themselves.
  use_each_once({all[0], all[1]});
  here().pass(10min);
  ASSERT_EQ(totals().endpoints, 0U);
  const pool_stats before = totals();
  release_cached_frames();
  const std::size_t bytes_before = live_bytes;
  const std::size_t blocks_before = live_blocks;
  use_each_once(all);
  EXPECT_GT(totals().endpoints, endpoints / 2);
  EXPECT_GT(live_bytes, bytes_before + endpoints / 2 * std::size_t{500});
  here().pass(10min);
  release_cached_frames();
  EXPECT_EQ(totals().endpoints, 0U);
  EXPECT_LE(live_blocks, blocks_before + 4);
  EXPECT_LE(live_bytes, bytes_before + std::size_t{16} * 1024) << "the memory of none";
  const pool_stats after = totals();
  EXPECT_EQ(after.misses - before.misses, endpoints - broken);
  EXPECT_EQ(after.breaker_opened - before.breaker_opened, broken);
  EXPECT_EQ(after.created, after.closed());
  EXPECT_EQ(after.closed(close_reason::idle_timeout), endpoints - broken + 1);
}

TEST_F(sim_forget, what_is_used_held_or_kept_ready_is_not_forgotten) {
  const server& used = net().add_server("10.0.0.1", 1000, takes(1ms));
  const server& held = net().add_server("10.0.0.2", 1000, takes(1ms));
  const server& named = net().add_server("10.0.0.3", 1000, takes(1ms));
  configure({.max_idle_time = 1s, .max_endpoint_idle_time = 10s});
  caller& lease = hold(held);
  {
    const endpoint_handle handle = backends().handle(at(named));
    for (unsigned i = 0; i < 20; ++i) {
      EXPECT_EQ(failure_of(used), std::nullopt);
      here().pass(5s);
    }
    EXPECT_EQ(totals().endpoints, 3U);
  }
  lease.got->release();
  here().pass(15s);
  EXPECT_EQ(totals().endpoints, 0U);
}

}  // namespace
}  // namespace conpool::sim

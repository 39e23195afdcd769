// The pool against a real Redis server: many requests on two shards, and a server that is killed.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/expect.h>
#include <tests/support/pool_fixture.h>
#include <tests/support/redis_client.h>
#include <tests/support/redis_server.h>

namespace conpool::test {
namespace {

constexpr unsigned shards = 2;
constexpr unsigned clients_per_shard = 10;

class redis : public ::testing::Test {
 protected:
  void SetUp() override {
    runtime_options options;
    options.shards = shards;
    auto made = runtime::create(options);
    ASSERT_OK(made);
    runtime_ = std::move(*made);
    pool_config config;
    config.max_connections_per_endpoint = 5;
    auto pools = sharded<pool>::create(*runtime_, config);
    ASSERT_OK(pools);
    pools_.emplace(std::move(*pools));
  }

  redis_server server_;
  std::unique_ptr<runtime> runtime_;
  std::optional<sharded<pool>> pools_;
};

// --- correct answers

constexpr unsigned pairs_per_client = 500;  // 2 shards, 10 clients: 10,000 SET and 10,000 GET

task<void> set_and_get(pool& backends, endpoint to, std::string key, unsigned& correct) {
  for (unsigned number = 0; number < pairs_per_client; ++number) {
    const std::string value = key + "=" + std::to_string(number);
    auto stored = co_await redis_command(backends, to, words("SET", key, value));
    CO_ASSERT_OK(stored);
    EXPECT_EQ(*stored, redis_reply("OK"));
    auto found = co_await redis_command(backends, to, words("GET", key));
    CO_ASSERT_OK(found);
    EXPECT_EQ(*found, redis_reply(value));
    if (*found == redis_reply(value)) ++correct;
  }
}

TEST_F(redis, every_get_returns_what_was_set_and_nearly_every_acquire_is_a_hit) {
  const endpoint to = server_.at();
  std::array<unsigned, shards> correct{};
  runtime_->run_on_all([&](shard& home) -> task<void> {
    scope clients(home);
    for (unsigned number = 0; number < clients_per_shard; ++number) {
      const std::string key = std::to_string(home.id()) + ":" + std::to_string(number);
      clients.spawn(&set_and_get, std::ref(pools_->local()), to, key, std::ref(correct[home.id()]));
    }
    co_await clients.join();
  });
  for (const unsigned each : correct) EXPECT_EQ(each, clients_per_shard * pairs_per_client);

  const pool_stats sum = pools_->totals();
  const std::uint64_t requests = 2 * shards * clients_per_shard * pairs_per_client;
  EXPECT_EQ(sum.hits + sum.misses, requests);
  EXPECT_GT(sum.hit_ratio(), 0.99);
  EXPECT_LE(sum.created, shards * 5U);
  EXPECT_EQ(sum.idle, sum.created) << "a good server's connections are all kept";
  EXPECT_EQ(sum.closed(), 0U);
  EXPECT_TRUE(add_up(sum));
}

// --- a server that dies

constexpr unsigned requests_before_the_kill = 500;            // on each shard, at least
constexpr unsigned requests_after_the_recovery = 2'000;       // on each shard, at least
constexpr std::uint64_t requests_on_a_shard_max = 1'000'000;  // then the test gives up

// What the clients of one shard saw. Only that shard writes it; the test reads it at the end.
struct shard_record {
  std::uint64_t begun = 0;
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
  std::uint64_t failed_after_recovery = 0;
  std::uint64_t succeeded_after_recovery = 0;
  bool recovered = false;
  std::string first_bad_message;  // of an error that is not clear
};

// Shared by the test's thread and both shards.
struct load {
  explicit load(const endpoint& server) : to(server) {}
  endpoint to;
  std::counting_semaphore<shards> warm{0};  // each shard: enough has succeeded
  std::atomic<bool> restarted = false;
  std::array<shard_record, shards> records{};
};

// What a user may be told when the server has died, and that it says which server.
bool is_clear(const error& why, const endpoint& to) {
  const bool known = why == errc::connection_reset || why == errc::connection_closed ||
                     why == errc::connect_failed || why == errc::breaker_open;
  // On a machine so busy that the server takes seconds to come back, a caller may have waited its
  // time; then it hears what it waited for.
  const bool waited = why == errc::acquire_timeout &&
                      why.message().find("last failed connect") != std::string::npos;
  return (known || waited) && why.message().find(to.text()) != std::string::npos;
}

void note_failure(shard_record& seen, const error& why, const endpoint& to, bool after_recovery) {
  ++seen.failed;
  if (after_recovery) ++seen.failed_after_recovery;
  if ((after_recovery || !is_clear(why, to)) && seen.first_bad_message.empty()) {
    seen.first_bad_message = why.message();
  }
}

task<void> keep_asking(shard& home, pool& backends, load& all, std::string key) {
  shard_record& seen = all.records[home.id()];
  while (seen.succeeded_after_recovery < requests_after_the_recovery &&
         seen.begun < requests_on_a_shard_max) {
    const std::string value = std::to_string(++seen.begun);
    const bool restarted = all.restarted.load();
    const bool recovered = seen.recovered;
    auto stored = co_await redis_command(backends, all.to, words("SET", key, value));
    if (!stored) {
      note_failure(seen, stored.error(), all.to, recovered);
      // An open breaker refuses at once, so wait a moment, as a service would.
      auto paused = co_await home.sleep_for(std::chrono::milliseconds(1));
      if (!paused) co_return;
      continue;
    }
    if (++seen.succeeded == requests_before_the_kill) all.warm.release();
    if (recovered) ++seen.succeeded_after_recovery;
    if (restarted) seen.recovered = true;
  }
}

// A request that the server holds until it dies. It is the pool's first, sent before the load.
task<void> wait_for_ever(pool& backends, endpoint to, std::optional<error>& ended_by) {
  auto popped = co_await redis_command(backends, to, words("BLPOP", "nothing-there", "0"));
  if (popped) {
    ADD_FAILURE() << "BLPOP was answered";
  } else {
    ended_by.emplace(std::move(popped.error()));
  }
}

task<void> run_load(shard& home, sharded<pool>& pools, load& all,
                    std::array<std::optional<error>, shards>& held) {
  scope clients(home);
  clients.spawn(&wait_for_ever, std::ref(pools.local()), all.to, std::ref(held[home.id()]));
  for (unsigned number = 0; number < clients_per_shard; ++number) {
    const std::string key = std::to_string(home.id()) + ":" + std::to_string(number);
    clients.spawn(&keep_asking, std::ref(home), std::ref(pools.local()), std::ref(all), key);
  }
  co_await clients.join();
}

TEST_F(redis, requests_fail_clearly_when_the_server_is_killed_and_the_pool_recovers_by_itself) {
  load all(server_.at());
  std::array<std::optional<error>, shards> held;
  std::thread clients([&] {
    runtime_->run_on_all([&](shard& home) { return run_load(home, *pools_, all, held); });
  });
  for (unsigned each = 0; each < shards; ++each) all.warm.acquire();
  server_.kill();
  server_.restart();
  all.restarted.store(true);
  clients.join();

  for (unsigned index = 0; index < shards; ++index) {
    const shard_record& seen = all.records[index];
    EXPECT_EQ(seen.first_bad_message, "") << "shard " << index;
    EXPECT_TRUE(seen.recovered);
    EXPECT_GE(seen.succeeded_after_recovery, requests_after_the_recovery);
    EXPECT_EQ(seen.failed_after_recovery, 0U);
    EXPECT_GT(seen.failed, 0U) << "nobody noticed that the server had died";
    ASSERT_TRUE(held[index]) << "a request in flight outlived its server";
    EXPECT_TRUE(*held[index] == errc::connection_closed || *held[index] == errc::connection_reset)
        << held[index]->message();
    EXPECT_EQ(held[index]->where(), phase::read);
    EXPECT_NE(held[index]->message().find(all.to.text()), std::string::npos);
  }
  const pool_stats sum = pools_->totals();
  EXPECT_TRUE(add_up(sum));
  EXPECT_EQ(sum.active + sum.connecting + sum.waiting, 0U);
  EXPECT_GT(sum.connect_failures, 0U) << "no connect met the dead server";
}

}  // namespace
}  // namespace conpool::test

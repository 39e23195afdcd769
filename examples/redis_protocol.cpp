// The Redis server invalidates a cached value while the connection that read it is idle.
//
//   redis_protocol [ENDPOINT]      default tcp://127.0.0.1:6379
//
// The protocol itself, for use in your own program, is in redis_protocol.h.
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include <conpool/conpool.h>
#include "redis_protocol.h"

namespace {

constexpr const char* key = "conpool:cached";

int report(const conpool::error& why) {
  std::fprintf(stderr, "%s\n", why.message().c_str());
  return 1;
}

// Sends one command and prints its reply.
conpool::task<conpool::result<std::string>> ask(conpool::lease& over,
                                                std::vector<std::string> words) {
  auto asked = redis_command(*over, std::move(words));
  auto reply = co_await asked;
  if (reply) std::printf("-> %s", reply->c_str());
  co_return reply;
}

conpool::task<conpool::result<void>> wait_for(conpool::event& what) {
  auto woken = co_await what.wait();
  co_return std::move(woken);
}

conpool::task<int> run_example(conpool::endpoint to) {
  conpool::shard& home = *conpool::shard::current();
  conpool::event taken_back(home);
  redis_protocol speaks;
  speaks.invalidated = [&](std::string_view which) {
    if (which != key) return;
    std::printf("the server says: %s has changed\n", key);
    taken_back.set();
  };
  conpool::pool_config config;
  config.validation_interval = std::chrono::seconds(10);  // PING connections idle this long
  auto backends = conpool::pool::create(home, config, std::move(speaks));
  if (!backends) co_return report(backends.error());

  auto reader = co_await backends->acquire(to);
  if (!reader) co_return report(reader.error());
  auto writer = co_await backends->acquire(to);
  if (!writer) co_return report(writer.error());
  auto read = ask(*reader, redis_protocol::words("GET", key));
  auto cached = co_await read;
  if (!cached) co_return report(cached.error());
  reader->release();  // idle from now on
  auto write = ask(*writer, redis_protocol::words("SET", key, "new"));
  auto written = co_await write;
  if (!written) co_return report(written.error());
  writer->release();

  auto wait = wait_for(taken_back);
  auto told = co_await conpool::with_timeout(home, std::chrono::seconds(5), std::move(wait));
  if (!told) co_return report(told.error());
  std::printf("%u connections idle\n", backends->totals().idle);
  auto closed = co_await backends->close();
  if (!closed) co_return report(closed.error());
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  auto to = conpool::endpoint::parse(argc > 1 ? argv[1] : "tcp://127.0.0.1:6379");
  if (!to) return report(to.error());
  auto runtime = conpool::runtime::create({.shards = 1});
  if (!runtime) return report(runtime.error());
  return (*runtime)->run(run_example, *to);
}

// The forms of co_await that are safe with g++ 12, each in a function that could be yours.
//
//   coroutine_rules
//
// docs/COROUTINES.md explains each rule, shows what goes wrong without it, and takes its good
// examples from here. The program brings its own server, so it needs nothing but a kernel with
// io_uring.
#include <cstdio>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <conpool/conpool.h>

#include "echo_peer.h"

namespace {

using conpool::connection;
using conpool::endpoint;
using conpool::fail;
using conpool::pool;
using conpool::result;
using conpool::scope;
using conpool::shard;
using conpool::task;

struct record {
  std::string key;
  std::string value;
};

void use(const std::string& answer) {
  std::printf("%s\n", answer.c_str());
}

int report(const conpool::error& why) {
  std::fprintf(stderr, "%s\n", why.message().c_str());
  return 1;
}

// Sends a message and reads the echo server's answer, which has as many bytes.
task<result<std::string>> exchange(connection& peer, std::string message) {
  auto sent = co_await peer.write(message);
  if (!sent) co_return fail(sent.error());
  std::string answer(message.size(), '\0');
  auto received = co_await peer.read_exactly(std::span<char>(answer));
  if (!received) co_return fail(received.error());
  co_return answer;
}

task<void> send_ping(connection& peer) {
  auto answer = co_await exchange(peer, "ping");
  if (answer) use(*answer);
}

task<result<std::string>> get(connection& peer, std::string key) {
  co_return co_await exchange(peer, key);
}

task<result<std::string>> store(pool& backends, endpoint to, const record& entry) {
  auto lease = co_await backends.acquire(to);
  if (!lease) co_return fail(lease.error());
  auto answer = co_await exchange(**lease, entry.key + "=" + entry.value);
  co_return answer;
}

task<result<std::string>> command(pool& backends, endpoint to,
                                  const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += word + ";";
  auto lease = co_await backends.acquire(to);
  if (!lease) co_return fail(lease.error());
  auto answer = co_await exchange(**lease, line);
  co_return answer;
}

task<result<std::string>> ask(pool& backends, endpoint to) {
  auto lease = co_await backends.acquire(to);
  if (!lease) co_return fail(lease.error());
  auto answer = co_await exchange(**lease, "asked");
  co_return answer;
}

// Rule 1: not in a condition.
task<void> ping(pool& backends, endpoint to) {
  auto lease = co_await backends.acquire(to);
  if (lease) {
    co_await send_ping(**lease);
  }
}

// Rule 2: not beside braces, an aggregate, or a lambda that owns something.
task<void> store_and_get(pool& backends, endpoint to, std::string key, std::string value) {
  record entry{.key = key, .value = value};
  auto stored = co_await store(backends, to, entry);
  if (!stored) co_return;
  auto found =
      co_await backends.with_connection(to, [&key](connection& peer) { return get(peer, key); });
  if (found) use(*found);
}

// Rule 3: not beside `?:`.
task<void> ask_the_right_one(pool& backends, bool is_write, endpoint primary, endpoint replica) {
  endpoint to = primary;
  if (!is_write) to = replica;
  auto answer = co_await ask(backends, to);
  if (answer) use(*answer);
}

// Rule 4: not with an initializer_list.
task<void> set(pool& backends, endpoint to) {
  const std::vector<std::string> words{"SET", "key", "value"};
  auto reply = co_await command(backends, to, words);
  if (reply) use(*reply);
}

// Rule 6: no large locals; the caller brings the memory.
task<result<std::size_t>> drain(connection& peer, std::string& chunk) {
  const std::span<char> room(chunk);
  co_return co_await peer.read(room);
}

task<void> fetch_one(pool& backends, endpoint to) {
  auto lease = co_await backends.acquire(to);
  if (!lease) co_return;
  auto sent = co_await (*lease)->write("one");
  if (!sent) co_return;
  std::string chunk(4096, '\0');
  auto count = co_await drain(**lease, chunk);
  if (count) use(chunk.substr(0, *count));
}

// With any compiler: a scope keeps what its tasks need until they have ended.
task<void> fetch_all(shard& home, pool& backends, endpoint to) {
  scope clients(home);
  clients.spawn(fetch_one, std::ref(backends), to);
  clients.spawn(fetch_one, std::ref(backends), to);
  co_await clients.join();
}

task<int> run_example() {
  shard& home = *shard::current();
  auto loopback = conpool::socket_address::ip("127.0.0.1", 0);
  if (!loopback) co_return report(loopback.error());
  auto door = conpool::listener::open(home, *loopback);
  if (!door) co_return report(door.error());
  auto to = endpoint::parse("tcp://" + door->address().to_string());
  if (!to) co_return report(to.error());
  auto backends = pool::create(home);
  if (!backends) co_return report(backends.error());

  scope server(home);
  server.spawn(serve_echo, std::ref(*door), std::ref(server));
  co_await ping(*backends, *to);
  co_await store_and_get(*backends, *to, "key", "value");
  co_await ask_the_right_one(*backends, false, *to, *to);
  co_await set(*backends, *to);
  co_await fetch_all(home, *backends, *to);
  auto closed = co_await backends->close();
  co_await server.close();
  if (!closed) co_return report(closed.error());
  co_return 0;
}

}  // namespace

int main() {
  auto runtime = conpool::runtime::create({.shards = 1});
  if (!runtime) return report(runtime.error());
  return (*runtime)->run(run_example);
}

// PING, SET and GET against a Redis server, each over a connection that the pool lends.
//
//   redis [ENDPOINT]      default tcp://127.0.0.1:6379; unix:/path works, too
//
// Redis accepts commands as plain lines as long as no argument contains a space. A real client
// sends arrays of bulk strings.
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

#include <conpool/conpool.h>

namespace {

int report(const conpool::error& why) {
  std::fprintf(stderr, "%s\n", why.message().c_str());
  return 1;
}

// Sends one line and returns the reply. A bulk string ("$5\r\nhello\r\n") says how long it is; any
// other simple reply is one line. What is left unread makes the pool close the connection.
conpool::task<conpool::result<std::string>> command(conpool::pool& backends, conpool::endpoint to,
                                                    std::string line) {
  auto lease = co_await backends.acquire(to);
  if (!lease) co_return conpool::fail(lease.error());
  const conpool::const_buffer request[] = {line, "\r\n"};
  auto sent = co_await (*lease)->write(request);
  if (!sent) co_return conpool::fail(sent.error());

  conpool::buffered_reader in(**lease);
  auto first = co_await in.read_until("\r\n");
  if (!first) co_return conpool::fail(first.error());
  std::string reply(*first);
  std::int64_t length = -1;
  if (reply.starts_with('$'))
    std::from_chars(reply.data() + 1, reply.data() + reply.size(), length);
  if (length >= 0) {
    auto body = co_await in.read_exactly(static_cast<std::size_t>(length) + 2);
    if (!body) co_return conpool::fail(body.error());
    reply.append(" ").append(body->substr(0, body->size() - 2));
  }
  co_return reply;
}

conpool::task<int> run_example(conpool::endpoint to) {
  auto backends = conpool::pool::create(*conpool::shard::current());
  if (!backends) co_return report(backends.error());
  for (const char* line : {"PING", "SET conpool:example hello", "GET conpool:example"}) {
    auto reply = co_await command(*backends, to, line);
    if (!reply) co_return report(reply.error());
    std::printf("%s -> %s\n", line, reply->c_str());
    if (reply->starts_with('-')) co_return 1;  // Redis understood the command and refused it
  }
  const conpool::pool_stats sum = backends->totals();
  std::printf("%ju requests over %ju connection(s)\n",
              static_cast<std::uintmax_t>(sum.hits + sum.misses),
              static_cast<std::uintmax_t>(sum.created));
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

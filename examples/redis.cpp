// PING, SET and GET against a Redis server, each over a connection that the pool lends.
//
//   redis [ENDPOINT]      default tcp://127.0.0.1:6379; unix:/path works, too
//
// Redis accepts commands as plain lines as long as no argument contains a space. A real client
// sends arrays of bulk strings.
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <conpool/conpool.h>

namespace {

constexpr std::size_t reply_bytes_max = 64 * 1024;

int report(const conpool::error& why) {
  std::fprintf(stderr, "%s\n", why.message().c_str());
  return 1;
}

// Returns the size of the reply at the start of `bytes`, or 0 if it is not known yet. A bulk string
// ("$5\r\nhello\r\n") says how long it is; any other simple reply is one line.
std::size_t reply_size(std::string_view bytes) {
  const std::size_t line = bytes.find("\r\n");
  if (line == bytes.npos) return 0;
  std::int64_t length = -1;
  if (bytes.front() == '$') std::from_chars(bytes.data() + 1, bytes.data() + line, length);
  if (length < 0) return line + 2;
  return line + 2 + static_cast<std::size_t>(length) + 2;
}

// Sends one line and returns the reply without its last line break.
conpool::task<conpool::result<std::string>> command(conpool::pool& backends, conpool::endpoint to,
                                                    std::string line) {
  auto lease = co_await backends.acquire(to);
  if (!lease) co_return conpool::fail(lease.error());
  line += "\r\n";
  auto sent = co_await (*lease)->write(line);
  if (!sent) co_return conpool::fail(sent.error());

  std::string reply(reply_bytes_max, '\0');
  std::size_t filled = 0;
  for (;;) {
    const std::span<char> room = std::span<char>(reply).subspan(filled);
    auto count = co_await (*lease)->read(room);
    if (!count) co_return conpool::fail(count.error());
    filled += *count;
    const std::size_t size = reply_size(std::string_view(reply).substr(0, filled));
    if (size != 0 && size == filled) break;
    if (*count == 0 || filled == reply.size() || (size != 0 && size < filled)) {
      // The stream is out of step, so nobody may use this connection after us.
      lease->discard();
      const auto kind = *count == 0 ? conpool::errc::connection_closed : conpool::errc::io_failed;
      co_return conpool::fail(conpool::error(kind, conpool::phase::read).about(to.text()));
    }
  }
  reply.resize(filled - 2);
  co_return reply;
}

conpool::task<int> run_example(conpool::endpoint to) {
  auto backends = conpool::pool::create(*conpool::shard::current());
  if (!backends) co_return report(backends.error());
  for (const char* line : {"PING", "SET conpool:example hello", "GET conpool:example"}) {
    auto reply = co_await command(*backends, to, line);
    if (!reply) co_return report(reply.error());
    std::replace(reply->begin(), reply->end(), '\n', ' ');
    std::erase(*reply, '\r');
    std::printf("%s -> %s\n", line, reply->c_str());
    if (reply->front() == '-') co_return 1;  // Redis understood the command and refused it
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

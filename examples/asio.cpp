// In a Boost.Asio program, one of Asio's coroutines asks an echo server: asio ADDRESS MESSAGE...
#include <cstdio>
#include <string>

#include <conpool/conpool.h>
#include <conpool/loops/asio.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

using namespace conpool;

task<result<std::string>> echo(connection& peer, std::string text) {
  auto sent = co_await peer.write(text);
  if (!sent) co_return fail(sent.error());
  auto received = co_await peer.read_exactly(std::span<char>(text));
  if (!received) co_return fail(received.error());
  co_return text;
}

boost::asio::awaitable<void> ask(loops::asio_loop& loop, pool& peers, endpoint to, char** words) {
  for (; *words != nullptr; ++words) {
    auto work = peers.with_connection(to, [&](connection& peer) { return echo(peer, *words); });
    auto answer = co_await loops::as_asio(loop, std::move(work));
    std::puts(answer ? answer->c_str() : answer.error().message().c_str());
  }
  loop.home()->stop();  // which ends run()
}

int main(int count, char** words) try {
  if (count < 3) return 2;
  auto to = endpoint::parse(words[1]).value();
  boost::asio::io_context io;
  auto home = shard::create().value();
  auto loop = loops::asio_loop::start(io, *home).value();
  auto peers = pool::create(*home).value();
  co_spawn(io, ask(loop, peers, to, words + 2), boost::asio::detached);
  io.run();
} catch (const std::bad_expected_access<error>& why) {
  return std::fprintf(stderr, "%s\n", why.error().message().c_str()), 1;
}

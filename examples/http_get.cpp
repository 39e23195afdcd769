// The first program of the README: fetches a page over a pooled connection.
//
//   http_get HOST[:PORT]      default port 80
//
// It speaks HTTP/1.0, where the end of the connection is the end of the answer, so this connection
// serves one request only. http_client.cpp uses its connections again.
#include <cstdio>
#include <string>

#include <conpool/conpool.h>

using namespace conpool;

task<result<std::string>> get(connection& peer) {
  const std::string host(peer.peer().host());
  const std::string request = "GET / HTTP/1.0\r\nHost: " + host + "\r\n\r\n";
  auto sent = co_await peer.write(request);
  if (!sent) co_return fail(sent.error());
  std::string page;
  std::string chunk(4096, '\0');
  for (;;) {
    auto count = co_await peer.read(chunk);
    if (!count) co_return fail(count.error());
    if (*count == 0) co_return page;  // the page is complete
    page.append(chunk, 0, *count);
  }
}

task<result<std::string>> fetch(endpoint from) {
  auto backends = pool::create(*shard::current());
  if (!backends) co_return fail(backends.error());
  auto page = co_await backends->with_connection(from, get);
  co_return page;
}

int report(const error& why) {
  std::fprintf(stderr, "%s\n", why.message().c_str());
  return 1;
}

int main(int argc, char** argv) {
  std::string where = argc > 1 ? argv[1] : "localhost";
  if (where.find(':') == where.npos) where += ":80";
  auto server = endpoint::parse(where);
  if (!server) return report(server.error());
  auto threads = runtime::create({.shards = 1});
  if (!threads) return report(threads.error());
  auto page = (*threads)->run(fetch, *server);
  if (!page) return report(page.error());
  std::fwrite(page->data(), 1, page->size(), stdout);
  return 0;
}

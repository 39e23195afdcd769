// The first program of the README: fetches a page over a pooled connection.
//
//   http_get HOST[:PORT]      default port 80
//
// It speaks HTTP/1.0, where the end of the connection is the end of the answer, so this connection
// serves one request only. redis.cpp uses its connections again.
#include <cstdio>
#include <string>

#include <conpool/conpool.h>

conpool::task<conpool::result<std::string>> fetch(conpool::endpoint from) {
  auto backends = conpool::pool::create(*conpool::shard::current());
  if (!backends) co_return conpool::fail(backends.error());
  auto lease = co_await backends->acquire(from);
  if (!lease) co_return conpool::fail(lease.error());

  std::string request = "GET / HTTP/1.0\r\nHost: " + std::string(from.host()) + "\r\n\r\n";
  auto sent = co_await (*lease)->write(request);
  if (!sent) co_return conpool::fail(sent.error());
  std::string page;
  std::string chunk(4096, '\0');
  for (;;) {
    auto count = co_await (*lease)->read(std::span<char>(chunk));
    if (!count) co_return conpool::fail(count.error());
    if (*count == 0) co_return page;  // the page is complete
    page.append(chunk, 0, *count);
  }
}

int report(const conpool::error& why) {
  std::fprintf(stderr, "%s\n", why.message().c_str());
  return 1;
}

int main(int argc, char** argv) {
  std::string where = argc > 1 ? argv[1] : "localhost";
  if (where.find(':') == where.npos) where += ":80";
  auto server = conpool::endpoint::parse(where);
  if (!server) return report(server.error());
  auto runtime = conpool::runtime::create({.shards = 1});
  if (!runtime) return report(runtime.error());
  auto page = (*runtime)->run(fetch, *server);
  if (!page) return report(page.error());
  std::fwrite(page->data(), 1, page->size(), stdout);
  return 0;
}

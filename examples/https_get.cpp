// Fetches a page twice over TLS and prints how each connection came about: the second one resumes
// the session of the first.
//
//   https_get HOST[:PORT] [CA-FILE]      default port 443; roots: CA-FILE's, else the system's
//
// It speaks HTTP/1.0, where the end of the connection is the end of the answer. With TLS that end
// can be trusted: if anyone but the server ended the connection, the error is `truncated`.
#include <cstdio>
#include <string>

#include <conpool/conpool.h>

conpool::task<conpool::result<std::string>> fetch(conpool::pool& backends, conpool::endpoint from) {
  auto lease = co_await backends.acquire(from);
  if (!lease) co_return conpool::fail(lease.error());
  const conpool::tls::connection_info& secured = *(*lease)->tls();
  std::fprintf(stderr, "connection %llu to %s: %s, %s, %s\n",
               static_cast<unsigned long long>((*lease)->id()), from.text().c_str(),
               conpool::tls::to_string(secured.version()), std::string(secured.cipher()).c_str(),
               secured.resumed() ? "resumed" : "a full handshake");

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

conpool::task<conpool::result<std::string>> fetch_twice(conpool::endpoint from) {
  auto backends = conpool::pool::create(*conpool::shard::current());
  if (!backends) co_return conpool::fail(backends.error());
  auto first = co_await fetch(*backends, from);
  if (!first) co_return first;
  auto second = co_await fetch(*backends, from);
  co_return second;
}

int report(const conpool::error& why) {
  std::fprintf(stderr, "%s\n", why.message().c_str());
  return 1;
}

int main(int argc, char** argv) {
  std::string where = argc > 1 ? argv[1] : "localhost";
  if (where.find(':') == where.npos) where += ":443";
  auto server = conpool::endpoint::parse("tls://" + where);
  if (!server) return report(server.error());
  if (argc > 2) {
    conpool::tls::profile_options options;
    options.verify_name = server->host();
    auto roots = conpool::tls::trust_store::from_file(argv[2]);
    if (!roots) return report(roots.error());
    options.trust = *roots;
    auto profile = conpool::tls::profile::make(options);
    if (!profile) return report(profile.error());
    server = server->with_profile(*profile);
    if (!server) return report(server.error());
  }
  auto runtime = conpool::runtime::create({.shards = 1});
  if (!runtime) return report(runtime.error());
  auto page = (*runtime)->run(fetch_twice, *server);
  if (!page) return report(page.error());
  std::fwrite(page->data(), 1, page->size(), stdout);
  return 0;
}

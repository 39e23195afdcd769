// Fetches pages over connections that are kept open: http_client ENDPOINT PATH...
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>

#include <conpool/conpool.h>

using namespace conpool;

struct page {
  std::string status;  // "HTTP/1.1 200 OK"
  std::string body;
};

error malformed(connection& peer) {
  return error(errc::io_failed, phase::read).about(peer.peer().text()).with_detail("no HTTP/1.1");
}

// The value of a header, whose name is given in lower case; empty if it is not there.
std::string_view value_of(std::string_view head, std::string_view name) {
  for (std::size_t at = head.find("\r\n"); at != head.npos; at = head.find("\r\n", at + 2)) {
    const std::string_view line = head.substr(at + 2, head.find("\r\n", at + 2) - at - 2);
    if (line.size() <= name.size() || line[name.size()] != ':') continue;
    const auto same = [](unsigned char c, unsigned char lower) {
      return std::tolower(c) == lower;
    };
    if (!std::ranges::equal(line.substr(0, name.size()), name, same)) continue;
    const std::size_t begin = line.find_first_not_of(" \t", name.size() + 1);
    return begin == line.npos ? std::string_view() : line.substr(begin);
  }
  return {};
}

bool read_number(std::string_view text, int base, std::size_t& into) {
  return std::from_chars(text.data(), text.data() + text.size(), into, base).ec == std::errc();
}

task<result<page>> get(connection& peer, std::string path) {
  const std::string host(peer.peer().host());
  const std::string asked = "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
  auto sent = co_await peer.write(asked);
  if (!sent) co_return fail(sent.error());
  buffered_reader in(peer);
  auto head = co_await in.read_until("\r\n\r\n");
  if (!head) co_return fail(head.error());
  page got{.status = std::string(head->substr(0, head->find("\r\n"))), .body = {}};
  std::size_t size = 0;
  const bool in_chunks = value_of(*head, "transfer-encoding") == "chunked";
  if (!in_chunks && !read_number(value_of(*head, "content-length"), 10, size)) {
    co_return fail(malformed(peer));
  }
  for (;;) {
    if (in_chunks) {
      auto line = co_await in.read_until("\r\n");
      if (!line) co_return fail(line.error());
      if (!read_number(*line, 16, size)) co_return fail(malformed(peer));
    }
    auto bytes = co_await in.read_exactly(size);
    if (!bytes) co_return fail(bytes.error());
    got.body += *bytes;
    if (!in_chunks) co_return got;
    auto end = co_await in.read_exactly(2);
    if (!end) co_return fail(end.error());
    if (size == 0) co_return got;
  }
}

task<result<void>> fetch_all(endpoint from, char** paths) {
  auto servers = pool::create(*shard::current());
  if (!servers) co_return fail(servers.error());
  for (; *paths != nullptr; ++paths) {
    const auto fetch = [&](connection& peer) {
      return get(peer, *paths);
    };
    auto got = co_await retry_if_stale(*servers, from, request::repeatable, fetch);
    if (!got) co_return fail(got.error());
    std::printf("%s: %s, %zu bytes\n", *paths, got->status.c_str(), got->body.size());
  }
  std::printf("%zu connection(s)\n", std::size_t{servers->totals().created});
  co_return result<void>{};
}

int main(int count, char** words) {
  if (count < 3) return std::fprintf(stderr, "usage: http_client ENDPOINT PATH...\n"), 2;
  auto from = endpoint::parse(words[1]);
  if (!from) return std::fprintf(stderr, "%s\n", from.error().message().c_str()), 1;
  auto threads = runtime::create({.shards = 1});
  if (!threads) return std::fprintf(stderr, "%s\n", threads.error().message().c_str()), 1;
  auto done = (*threads)->run(fetch_all, *from, words + 2);
  if (!done) return std::fprintf(stderr, "%s\n", done.error().message().c_str()), 1;
}

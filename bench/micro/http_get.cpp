// conpool-http-get: what a request to an HTTP server costs its client, over TLS or without.
//
//   conpool-http-get ENDPOINT [--ca FILE] [--path /] [--requests N] [--clients N]
//
// N clients on one shard each acquire a connection, GET the path with HTTP/1.1, read the answer by
// its Content-Length, and give the connection back. Each has a connection of its own: the cap is N.
// scripts/figures runs it against nginx. It prints requests, errors, connections, resumed,
// hit_ratio and cpu_us_per_request, which is this thread's CPU time, kernel included. The exit
// status is 1 if a request failed and 2 for bad arguments, and otherwise 0.

#include <sys/resource.h>
#include <CLI/CLI.hpp>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <bench/micro/cpus.h>
#include <bench/micro/pool_client.h>
#include <bench/tls.h>

namespace conpool::micro {
namespace {

struct load {
  endpoint_handle to;
  std::string request;
  std::uint64_t left;
  std::uint64_t failed = 0;
  std::uint32_t running;
};

double cpu_now_us() {
  rusage used{};
  getrusage(RUSAGE_THREAD, &used);
  const auto us = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_usec);
  };
  return us(used.ru_utime) + us(used.ru_stime);
}

// Returns the Content-Length of an answer's header, or nothing if it has none.
std::optional<std::size_t> content_length(std::string_view header) {
  constexpr std::string_view name = "\r\nContent-Length: ";
  const std::size_t at = header.find(name);
  if (at == header.npos) return std::nullopt;
  std::size_t length = 0;
  const char* const begin = header.data() + at + name.size();
  const auto parsed = std::from_chars(begin, header.data() + header.size(), length);
  return parsed.ec == std::errc{} ? std::optional(length) : std::nullopt;
}

// Returns the answer's header once the whole answer has been read, or nothing if the exchange
// failed.
task<std::string_view> exchange(connection& with, const std::string& request, std::string& memory) {
  auto sent = co_await with.write(request);
  if (!sent) co_return std::string_view();
  std::size_t filled = 0;
  for (;;) {
    auto count = co_await with.read(std::span<char>(memory).subspan(filled));
    if (!count || *count == 0) co_return std::string_view();
    filled += *count;
    const std::string_view answer(memory.data(), filled);
    const std::size_t end = answer.find("\r\n\r\n");
    if (end == answer.npos) continue;
    const std::string_view header = answer.substr(0, end);
    const auto length = content_length(header);
    if (!header.starts_with("HTTP/1.1 200 ") || !length) co_return std::string_view();
    if (filled == end + 4 + *length) co_return header;
    if (filled == memory.size()) co_return std::string_view();
  }
}

task<void> get_until_done(pool_client& client, load& work) {
  std::string memory(64 * 1024, '\0');
  while (work.left > 0) {
    --work.left;
    auto lent = co_await client.pool().acquire(work.to);
    if (!lent) {
      ++work.failed;
      std::fprintf(stderr, "conpool-http-get: %s\n", lent.error().message().c_str());
      continue;
    }
    auto header = co_await exchange(**lent, work.request, memory);
    if (header.empty()) ++work.failed;
    // A server ends a connection after a number of requests, and announces it.
    if (header.empty() || header.contains("\r\nConnection: close")) lent->discard();
  }
  if (--work.running == 0) client.end_run();
}

int measure(const endpoint& where, const std::string& path, std::uint64_t requests,
            std::uint32_t clients) {
  pool_config config;
  config.max_connections_per_endpoint = clients;
  pool_client client(config);
  load work{.to = client.pool().handle(where),
            .request = "GET " + path + " HTTP/1.1\r\nHost: " + std::string(where.host()) +
                       "\r\nUser-Agent: conpool\r\n\r\n",
            .left = requests,
            .running = clients};
  const double before_us = cpu_now_us();
  for (std::uint32_t i = 0; i < clients; ++i) {
    client.home().spawn(get_until_done, std::ref(client), std::ref(work));
  }
  client.run();
  const double used_us = cpu_now_us() - before_us;
  const pool_stats totals = client.pool().totals();
  std::printf("requests %llu\n", static_cast<unsigned long long>(requests));
  std::printf("errors %llu\n", static_cast<unsigned long long>(work.failed));
  std::printf("connections %llu\n", static_cast<unsigned long long>(totals.created));
  std::printf("resumed %llu\n", static_cast<unsigned long long>(totals.resumed));
  std::printf("hit_ratio %.5f\n", totals.hit_ratio());
  std::printf("cpu_us_per_request %.3f\n", used_us / static_cast<double>(requests));
  return work.failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace conpool::micro

int main(int argc, char** argv) {
  std::string where;
  std::string ca;
  std::string path = "/";
  std::uint64_t requests = 100'000;
  std::uint32_t clients = 64;
  CLI::App options("What a request to an HTTP server costs its client.");
  options.add_option("endpoint", where, "tcp://host:port or tls://host:port")->required();
  options.add_option("--ca", ca, "file with the certificates to trust");
  options.add_option("--path", path, "path to request");
  options.add_option("--requests", requests)->check(CLI::Range(1U, 100'000'000U));
  options.add_option("--clients", clients)->check(CLI::Range(1U, 10'000U));
  try {
    options.parse(argc, argv);
  } catch (const CLI::ParseError& why) {
    return options.exit(why) == 0 ? 0 : 2;
  }
  auto to = conpool::endpoint::parse(where);
  if (to && to->transport() == conpool::transport::tls) {
    to = conpool::bench::verified_by(*to, ca, false);
  }
  if (!to) {
    std::fprintf(stderr, "conpool-http-get: %s\n", to.error().message().c_str());
    return 2;
  }
  conpool::micro::pin_to_client_cpu();
  return conpool::micro::measure(*to, path, requests, clients);
}

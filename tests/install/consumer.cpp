// A user's program, for install_test.py: a runtime, a pool, a lease, a scope, a deadline and a TLS
// profile, by the public headers alone. The test includes all of these in front of it, so that
// nothing of detail/ is ever named by a user.
#include <cstdio>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <conpool/conpool.h>

#if __has_include(<conpool/tls/profile.h>)
#include <conpool/tls/profile.h>
#endif

namespace {

conpool::task<void> serve_one(conpool::listener& door) {
  auto peer = co_await door.accept();
  if (!peer) co_return;
  std::string buffer(64, '\0');
  for (;;) {
    auto count = co_await (*peer)->read(std::span<char>(buffer));
    if (!count || *count == 0) co_return;
    auto sent = co_await (*peer)->write(std::string_view(buffer).substr(0, *count));
    if (!sent) co_return;
  }
}

conpool::task<conpool::result<std::string>> ask(conpool::pool& backends, conpool::endpoint to) {
  auto lease = co_await backends.acquire(to);
  if (!lease) co_return conpool::fail(lease.error());
  auto sent = co_await (*lease)->write("hello");
  if (!sent) co_return conpool::fail(sent.error());
  std::string answer(5, '\0');
  auto received = co_await (*lease)->read_exactly(std::span<char>(answer));
  if (!received) co_return conpool::fail(received.error());
  co_return answer;
}

conpool::task<conpool::result<std::string>> run_consumer() {
  conpool::shard& home = *conpool::shard::current();
  auto loopback = conpool::socket_address::ip("127.0.0.1", 0);
  auto door = conpool::listener::open(home, loopback.value());
  if (!door) co_return conpool::fail(door.error());
  auto to = conpool::endpoint::parse("tcp://" + door->address().to_string());
  auto backends = conpool::pool::create(home);
  if (!to) co_return conpool::fail(to.error());
  if (!backends) co_return conpool::fail(backends.error());

  conpool::scope server(home);
  server.spawn(serve_one, std::ref(*door));
  auto answer = co_await ask(*backends, *to);
  auto closed = co_await backends->close();
  co_await server.close();
  if (!closed) co_return conpool::fail(closed.error());
  co_return answer;
}

bool has_tls() {
#if __has_include(<conpool/tls/profile.h>)
  conpool::tls::profile_options options;
  options.insecure = true;
  return conpool::tls::profile::make(options).has_value();
#else
  return true;
#endif
}

}  // namespace

int main() {
  auto runtime = conpool::runtime::create({.shards = 1});
  if (!runtime) return 1;
  auto answer = (*runtime)->run(run_consumer);
  std::printf("%s\n", answer ? answer->c_str() : answer.error().message().c_str());
  return answer && *answer == "hello" && has_tls() ? 0 : 1;
}

// What the clients of a server see that closes now and then right after an answer, as many do.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using surprise_close = pool_fixture;

constexpr unsigned requests = 1000;
constexpr unsigned clients = 8;

// Answers each request with itself; one connection in four is closed, or reset, behind its answer.
class hasty_server {
 public:
  explicit hasty_server(shard& home)
      : door_(listener::open(home, socket_address::ip("127.0.0.1", 0).value()).value()),
        at_(endpoint::parse("tcp://" + door_.address().to_string()).value()),
        draws_(20'261'124),
        tasks_(home) {
    tasks_.spawn(&hasty_server::accept_all, this);
  }
  const endpoint& at() const noexcept { return at_; }
  unsigned closed() const noexcept { return closed_; }
  void stop() noexcept { tasks_.cancel(); }
  bool stopped() const noexcept { return tasks_.running() == 0; }

 private:
  task<void> accept_all() {
    for (;;) {
      auto peer = co_await door_.accept();
      if (!peer) break;
      tasks_.spawn(&hasty_server::serve, this, std::make_shared<socket>(std::move(*peer)));
    }
    door_.close();
  }
  task<void> serve(std::shared_ptr<socket> peer) {
    std::array<char, 256> buffer;
    for (;;) {
      auto count = co_await (*peer)->read(std::span<char>(buffer));
      if (!count || *count == 0) co_return;
      auto sent = co_await (*peer)->write(std::string_view(buffer.data(), *count));
      if (!sent) co_return;
      const auto drawn = draws_.below(8);
      if (drawn >= 2) continue;
      ++closed_;
      if (drawn == 0) peer->reset();
      co_return;
    }
  }

  listener door_;
  endpoint at_;
  random_source draws_;
  scope tasks_;
  unsigned closed_ = 0;
};

struct record {
  unsigned good = 0;
  unsigned unseen = 0;  // failed as no pool can prevent: reused, and nothing received
  std::vector<std::string> others;
};

// Whether a request was answered whole, or failed in a way that a caller may repeat.
task<void> ask(pool& backends, endpoint to, std::string text, record& seen) {
  auto lease = co_await backends.acquire(to);
  if (!lease) {
    seen.others.push_back(lease.error().message());
    co_return;
  }
  std::string got(text.size(), '\0');
  auto sent = co_await (*lease)->write(text);
  result<std::size_t> read = fail(error(errc::io_failed));
  if (sent) read = co_await (*lease)->read_exactly(std::span<char>(got));
  if (sent && read && got == text) {
    ++seen.good;
  } else if (lease->reused() && (*lease)->bytes_received() == 0) {
    ++seen.unseen;
  } else {
    seen.others.push_back(sent && read ? "a wrong answer" : "not reused, or partly received");
  }
}

task<void> client(pool& backends, endpoint to, unsigned number, record& seen) {
  for (unsigned i = 0; i < requests / clients; ++i) {
    auto asked = ask(backends, to, std::to_string(number) + ":" + std::to_string(i), seen);
    co_await asked;
  }
}

TEST_F(surprise_close, T27_only_reused_connections_fail_and_only_before_an_answer) {
  hasty_server hasty(home());
  record seen;
  ASSERT_TRUE(run([&]() -> task<void> {
    scope all(home());
    for (unsigned number = 0; number < clients; ++number) {
      all.spawn(&client, std::ref(backends()), hasty.at(), number, std::ref(seen));
    }
    co_await all.join();
  }));
  EXPECT_EQ(seen.good + seen.unseen, requests);
  EXPECT_EQ(seen.others, std::vector<std::string>{});
  EXPECT_GT(hasty.closed(), requests / 8) << "it did what this is about";
  EXPECT_GT(totals().reused, requests / 4);
  EXPECT_LE(seen.unseen, hasty.closed());
  backends().clear_all();
  hasty.stop();
  ASSERT_TRUE(until([&] { return hasty.stopped(); }));
}

}  // namespace
}  // namespace conpool::test

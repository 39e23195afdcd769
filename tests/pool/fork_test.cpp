// A process that forks: what its child may do with the pool, and what the parent still can.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <string>
#include <system_error>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

// What a child has to say, over a pipe; a child that died is named.
class report {
 public:
  report() { EXPECT_EQ(::pipe(ends_.data()), 0); }
  [[noreturn]] void send(const std::string& text) const {
    [[maybe_unused]] const ssize_t written = ::write(ends_[1], text.data(), text.size());
    ::_exit(0);
  }
  std::string of(pid_t child) const {
    ::close(ends_[1]);
    std::string text(4096, '\0');
    const ssize_t count = ::read(ends_[0], text.data(), text.size());
    text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    ::close(ends_[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) text += "; ended by signal " + std::to_string(WTERMSIG(status));
    return text;
  }

 private:
  std::array<int, 2> ends_{};
};

std::string in_child(const std::function<std::string()>& body) {
  const report said;
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    said.send(body());
  }
  return said.of(child);
}

template <typename T>
std::string kind(const result<T>& outcome) {
  if (outcome) return "worked";
  return outcome.error() == errc::forked ? "forked" : outcome.error().message();
}

using forks = pool_fixture;

TEST_F(forks, in_a_child_that_a_task_forks_every_entry_says_so) {
  make_idle(2);
  lease held = hold();
  const report said;
  pid_t child = -1;
  ASSERT_TRUE(run([&]() -> task<void> {
    child = ::fork();
    if (child != 0) co_return;
    ::alarm(20);
    auto lent = co_await backends().acquire(server().at());
    std::string text = "acquire " + kind(lent);
    acquire_options idle_only;
    idle_only.try_only = true;
    auto tried = co_await backends().acquire(server().at(), idle_only);
    text += ", try " + kind(tried);
    auto wrote = co_await held->write("hello");
    text += ", write " + kind(wrote);
    std::array<char, 4> memory;
    auto read = co_await held->read_exactly(std::span<char>(memory));
    text += ", read " + kind(read);
    auto slept = co_await home().sleep_for(1ms);
    text += ", sleep " + kind(slept);
    try {
      home().spawn([]() -> task<void> { co_return; });
      text += ", spawn worked";
    } catch (const std::system_error& why) {
      text += why.code() == errc::forked ? ", spawn forked" : ", spawn threw something else";
    }
    said.send(text);
  }));
  EXPECT_EQ(said.of(child),
            "acquire forked, try forked, write forked, read forked, sleep forked, spawn forked");
  EXPECT_TRUE(works(held));
}

TEST_F(forks, a_child_that_destroys_its_copies_leaves_the_parent_s_connections_alone) {
  make_idle(3);
  lease held = hold();
  bool over = false;
  home().spawn([&]() -> task<void> {
    auto slept = co_await home().sleep_for(1h);
    over = slept.has_value();
  });
  settle();
  const std::string said = in_child([&]() -> std::string {
    const std::size_t before = open_descriptors();
    if (home().run_once(duration::zero())) return "a turn had more to do";
    held.release();
    free_pool();
    owned_home().reset();
    return open_descriptors() < before ? "closed" : "closed nothing";
  });
  EXPECT_EQ(said, "closed");
  settle();
  EXPECT_EQ(totals().idle, 2U);
  EXPECT_TRUE(works(held));
  lease again = hold();
  EXPECT_TRUE(again.reused());
  EXPECT_TRUE(works(again));
  EXPECT_EQ(server().accepted(), 3U);
}

TEST_F(forks, a_child_may_make_a_shard_and_a_pool_of_its_own) {
  make_idle(1);
  const raw_listener door = listen_on_loopback(8);
  const std::string said = in_child([&]() -> std::string {
    auto own = shard::create({});
    if (!own || !(*own)->attach()) return "no shard";
    auto mine = pool::create(**own, {});
    if (!mine) return mine.error().message();
    const auto to = endpoint::parse("127.0.0.1:" + std::to_string(ntohs(door.address.sin_port)));
    std::string outcome = "never ended";
    const auto ask = [](pool& from, const endpoint& at, std::string& into) -> task<void> {
      auto lent = co_await from.acquire(at);
      into = kind(lent);
    };
    test::run_on(**own, ask(*mine, *to, outcome));
    return outcome;
  });
  EXPECT_EQ(said, "worked");
}

TEST_F(forks, a_lease_discarded_while_a_child_lives_still_ends_at_once) {
  lease held = hold();
  ASSERT_TRUE(works(held));
  ASSERT_TRUE(until([&] { return server().open() == 1; }));
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    for (;;) ::pause();
  }
  held.discard();
  EXPECT_TRUE(until([&] { return server().open() == 0; }));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

TEST(fork_of_a_runtime, a_child_is_told_and_may_destroy_its_copy) {
  auto rt = runtime::create({.shards = 2}).value();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    int outcome = 1;
    try {
      rt->run([]() -> task<void> { co_return; });
    } catch (const std::system_error& why) {
      outcome = why.code() == errc::forked ? 0 : 2;
    }
    rt.reset();
    ::_exit(outcome);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(rt->run([]() -> task<int> { co_return 1; }), 1);
}

}  // namespace
}  // namespace conpool::test

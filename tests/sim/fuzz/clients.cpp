// The clients of the fuzz: each acquires in some way, does something, and leaves in some way; and
// each of that may be cut short at any moment.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include <conpool/runtime/deadline.h>

#include <tests/sim/fuzz/run.h>

namespace conpool::sim::fuzz {
namespace {

using namespace std::chrono_literals;

// Awaits an acquire, and knows whether it had to wait.
class asking {
 public:
  asking(pool& from, const endpoint& to, const acquire_options& how)
      : inner_(from.acquire(to, how)) {}

  bool await_ready() noexcept { return inner_.await_ready(); }
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    waited_ = true;
    return inner_.await_suspend(handle);
  }
  result<lease> await_resume() { return inner_.await_resume(); }
  bool waited() const noexcept { return waited_; }

 private:
  acquire_awaiter inner_;
  bool waited_ = false;
};

acquire_options draw_options(run& in, random_source& dice) {
  acquire_options made;
  if (dice.below(3) == 0) made.timeout = 1ms + dice.up_to(50ms);
  if (dice.below(6) == 0) made.deadline = in.here.home().now() + dice.up_to(40ms) - 5ms;
  if (dice.below(4) == 0) made.priority = acquire_priority::high;
  made.try_only = dice.below(10) == 0;
  made.fresh = dice.below(10) == 0;
  return made;
}

// A lease that tells the oracle when it goes.
class held {
 public:
  held(run& in, std::shared_ptr<pool> from, lease taken)
      : in_(&in), from_(std::move(from)), lease_(std::move(taken)), id_(lease_->id()) {}
  held(held&&) noexcept = default;
  held& operator=(held&&) = delete;
  ~held() { release(); }

  void release() {
    if (!from_) return;
    const std::shared_ptr<pool> from = std::exchange(from_, nullptr);
    in_->checks.gives_back(*from, id_);
    if (lease_ && lease_->closed()) in_->checks.saw_closed(*from, id_);
    lease_.release();
  }
  void discard() {
    in_->checks.saw_closed(*from_, id_);
    lease_->mark(connection::discarded);
    release();
  }
  lease& taken() { return lease_; }
  pool& from() { return *from_; }

 private:
  run* in_;
  std::shared_ptr<pool> from_;
  lease lease_;
  std::uint64_t id_;
};

task<std::optional<held>> acquire(run& in, random_source& dice, endpoint to) {
  const std::shared_ptr<pool> from = in.current;
  const acquire_options how = draw_options(in, dice);
  const wish one = in.checks.asks(*from, to.text(), how);
  asking asked(*from, to, how);
  auto taken = co_await asked;
  if (!taken) {
    in.checks.failed(one, taken.error());
    co_return std::nullopt;
  }
  in.checks.got(one, *from, *taken, asked.waited());
  co_return held(in, from, std::move(*taken));
}

std::string draw_request(random_source& dice) {
  std::string made = std::to_string(dice.next());
  const std::size_t most = dice.below(20) == 0 ? 9'000 : 300;
  made.resize(made.size() + dice.below(most), static_cast<char>('a' + dice.below(26)));
  return made;
}

enum class after : std::uint8_t {
  again,  // it may be used for more
  enough,
  never,  // the pool cannot know what is wrong with it
};

task<after> exchange(run& in, random_source& dice, connection& over) {
  const std::string request = draw_request(dice);
  auto sent = co_await over.write(request);
  if (!sent) co_return after::enough;
  if (dice.below(8) == 0) co_return after::enough;  // never looks at the answer
  std::string answer(request.size(), '\0');
  auto read = co_await over.read_exactly(std::span<char>(answer));
  if (!read) co_return after::enough;
  if (!in.drawn.checks_content()) co_return after::again;
  // A stray byte may have been on its way when the connection was lent.
  const auto strays = std::erase(answer, '!');
  EXPECT_TRUE(request.starts_with(answer)) << "another's answer on " << over.fd() << ": "
                                           << answer.substr(0, 40) << "; " << in.here.trouble();
  co_return strays == 0 ? after::again : after::never;
}

task<void> hand_over(run& in, random_source& dice, held& mine, bool answered) {
  const endpoint peer = mine.taken()->peer();
  const std::uint64_t id = mine.taken()->id();
  auto out = co_await mine.taken().detach();
  if (!out) co_return;
  in.checks.saw_closed(mine.from(), id);
  mine.release();
  const bool clean = answered && out->unread().empty() && in.drawn.server.greeting.empty();
  const int fd = out->release();
  // Nothing can be adopted any more when the shard stops: then it is simply closed.
  const bool again = clean && dice.below(2) == 0 && in.current->adopt(peer, fd).has_value();
  if (!again) in.here.net().sockets().close(fd);
}

task<void> leave(run& in, random_source& dice, held& mine, after what) {
  if (what == after::never || dice.below(16) == 0) {
    mine.discard();
  } else if (dice.below(16) == 0) {
    co_await hand_over(in, dice, mine, what == after::again);
  } else if (dice.below(40) == 0) {
    mine.taken()->begin_close();
  }
}

task<bool> visit(run& in, random_source& dice, unsigned depth) {
  const endpoint to = in.draw_endpoint(dice);
  auto mine = co_await acquire(in, dice, to);
  if (!mine) co_return false;
  after next = after::again;
  const std::uint64_t exchanges = dice.below(3);
  for (std::uint64_t i = 0; next == after::again && i < exchanges; ++i) {
    next = co_await exchange(in, dice, *mine->taken());
  }
  if (dice.below(4) == 0) {
    const duration pause = dice.up_to(30ms);
    [[maybe_unused]] auto rested = co_await in.here.home().sleep_for(pause);
  }
  if (depth == 0 && dice.below(6) == 0) {
    auto nested = visit(in, dice, 1);
    [[maybe_unused]] auto got = co_await nested;
  }
  co_await leave(in, dice, *mine, next);
  co_return true;
}

}  // namespace

task<void> client(run& in, random_source dice) {
  while (!in.ending) {
    auto work = visit(in, dice, 0);
    if (dice.below(3) == 0) {
      // Cut short at any moment.
      const duration most = dice.up_to(20ms);
      [[maybe_unused]] auto got = co_await with_timeout(in.here.home(), most, std::move(work));
    } else {
      [[maybe_unused]] auto got = co_await work;
    }
    if (dice.below(2) == 0) continue;
    auto rested = co_await in.here.home().sleep_for(dice.up_to(20ms));
    if (!rested) break;
  }
}

}  // namespace conpool::sim::fuzz

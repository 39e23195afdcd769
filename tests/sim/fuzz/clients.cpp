// The clients of the fuzz: each acquires in some way, does something, and leaves in some way; and
// each of that may be cut short at any moment.
#include <algorithm>
#include <array>
#include <functional>
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
  asking(pool& from, const endpoint_handle& to, const acquire_options& how)
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
    in_->checks.gives_back(*from, id_, clean);
    if (lease_ && lease_->closed()) in_->checks.saw_closed(*from, id_);
    lease_.release();
  }
  void discard() {
    clean = false;
    in_->checks.saw_closed(*from_, id_);
    lease_->mark(connection::discarded);
    release();
  }
  lease& taken() { return lease_; }
  pool& from() { return *from_; }

  // Nothing was left in the middle, as far as its user knows.
  bool clean = true;

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
  result<lease> taken = fail(error(errc::cancelled));
  bool waited = false;
  if (!from->closed() && dice.below(3) == 0) {
    const endpoint_handle known = from->handle(to);
    asking asked(*from, known, how);
    taken = co_await asked;
    waited = asked.waited();
  } else {
    asking asked(*from, to, how);
    taken = co_await asked;
    waited = asked.waited();
  }
  if (!taken) {
    in.checks.failed(one, *from, taken.error());
    co_return std::nullopt;
  }
  in.checks.got(one, *from, **taken, waited);
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

// Waits for what nobody has asked for. True if nothing came: then the connection is as it was.
task<bool> listen_in_vain(connection& over, duration time) {
  std::array<std::byte, 16> into{};
  auto got = co_await over.read_some(into, 1, time);
  co_return !got;
}

task<void> leave(run& in, random_source& dice, held& mine, after what) {
  if (what == after::never || dice.below(16) == 0) {
    mine.discard();
  } else if (dice.below(16) == 0) {
    co_await hand_over(in, dice, mine, what == after::again);
  } else if (dice.below(40) == 0) {
    mine.clean = false;
    mine.taken()->begin_close();
  } else if (dice.below(60) == 0) {
    mine.taken()->retire();
  }
}

// By with_connection(), which acquires, uses and releases in one.
task<bool> visit_with(run& in, random_source& dice) {
  const std::shared_ptr<pool> from = in.current;
  const endpoint to = in.draw_endpoint(dice);
  wish one = in.checks.asks(*from, to.text(), {});
  one.others_waited = false;  // whether it waited is not seen
  bool got = false;
  const auto use = [&](connection& over) -> task<result<void>> {
    got = true;
    const std::uint64_t id = over.id();
    in.checks.got(one, *from, over, false);
    auto talk = exchange(in, dice, over);
    auto what = co_await talk;
    const bool clean = what == after::again;
    in.checks.gives_back(*from, id, clean);
    if (over.closed() || !clean) in.checks.saw_closed(*from, id);
    if (!clean) co_return fail(error(errc::io_failed));
    co_return result<void>{};
  };
  auto work = from->with_connection(to, std::ref(use));
  auto done = co_await work;
  if (!got) in.checks.failed(one, *from, done.error());
  co_return got;
}

task<bool> visit(run& in, random_source& dice, unsigned depth) {
  const endpoint to = in.draw_endpoint(dice);
  auto mine = co_await acquire(in, dice, to);
  if (!mine) co_return false;
  after next = after::again;
  const std::uint64_t exchanges = dice.below(3);
  for (std::uint64_t i = 0; next == after::again && i < exchanges; ++i) {
    mine->clean = false;
    next = co_await exchange(in, dice, *mine->taken());
    mine->clean = next == after::again;
  }
  if (exchanges == 0 && !in.drawn.shares() && dice.below(4) == 0) {
    auto vain = listen_in_vain(*mine->taken(), 1ms + dice.up_to(10ms));
    mine->clean = co_await vain;
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
    auto work =
        dice.below(in.drawn.shares() ? 2 : 8) == 0 ? visit_with(in, dice) : visit(in, dice, 0);
    if (dice.below(3) == 0) {
      // Cut short at any moment.
      const duration most = dice.up_to(20ms);
      [[maybe_unused]] auto got = co_await with_timeout(in.here.home(), most, std::move(work));
    } else {
      [[maybe_unused]] auto got = co_await work;
    }
    if (dice.below(2) == 0) continue;
    auto rested = co_await in.here.home().sleep_for(dice.up_to(in.drawn.rest_most));
    if (!rested) break;
  }
}

}  // namespace conpool::sim::fuzz

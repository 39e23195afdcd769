#include <conpool/runtime/shard.h>

#include <random>

namespace conpool {
namespace {

// The budgets of a turn: when they are spent, the loop submits and looks at the kernel again. They
// are generous beside what a submission costs: the kernel takes 31 us for a connect and 5 us for a
// send, so a burst of 256 connects that is prepared in 2 ms keeps it busy for 8 ms.
constexpr unsigned ready_nodes_max = 1024;
constexpr auto ready_time_max = std::chrono::milliseconds(2);
constexpr unsigned clock_every_nodes = 32;
constexpr std::size_t mails_max = 64;
// A completion costs less than a microsecond, and what it makes ready comes under the budgets
// above.
constexpr unsigned completions_max = 1024;

// Leaves the core's resources to its other hardware thread while this one spins.
void relax_cpu() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

std::uint64_t seed_of_the_system() {
  std::random_device source;
  return (std::uint64_t{source()} << 32) | source();
}

}  // namespace

result<std::unique_ptr<shard>> shard::create(const shard_options& options) {
  result<std::unique_ptr<conpool::ring>> made_ring = ring::create(options.ring);
  if (!made_ring) return fail(made_ring.error());
  std::unique_ptr<shard> made(new shard(options));
  made->ring_ = std::move(*made_ring);
  return made;
}

shard::shard(const shard_options& options) noexcept
    : shard_core(options.clock != nullptr ? *options.clock : monotonic_clock(),
                 options.seed != 0 ? options.seed : seed_of_the_system()),
      options_(options),
      wake_read_(*this),
      tasks_(*this) {}

shard::~shard() {
  if (ring_->forked()) {
    run_stop_hooks();
    extensions_.close_all();
  } else if (attached() && !stopped()) {
    stop();
    run();
  }
  root_context_.cancel(errc::shard_stopped);  // scopes that outlive the shard let go of it
}

result<void> shard::attach() {
  if (ring_->forked()) [[unlikely]]
    return fail(error(errc::forked, phase::start));
  if (is_owner()) return {};
  CONPOOL_ASSERT(!attached(), "a shard belongs to the first thread that turned it");
  if (result<void> enabled = ring_->enable(); !enabled) return enabled;
  owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  now_ = clock_->now();
  arm_wake_read();
  return {};
}

void shard::arm_wake_read() noexcept {
  ring_->read(wake_read_, ring_->waker().event_fd(),
              std::as_writable_bytes(std::span<std::uint64_t>(&wake_read_.count, 1)));
}

void shard::woken(operation& op) noexcept {
  shard& home = *static_cast<wake_read&>(op).home;
  if (op.returned() > 0) home.arm_wake_read();  // otherwise it was cancelled by the stop
}

void shard::post(mail& item) noexcept {
  if (ring_->forked()) return;  // nobody will take it
  // The mail may be the last that the shard waits for: once it is in the inbox, the shard may end
  // and be freed at any moment, so nothing of it is touched from then on.
  wake_target& target = ring_->waker();
  shard* const sender = current_;
  const bool own = sender == this;
  target.keep();
  // Exactly one sender is told to wake a sleeper. A shard does it through its own ring, without a
  // system call of its own; any other thread writes to the eventfd. So does a shard whose target is
  // watched by a foreign loop: the kernel does not promise that a message which is posted while the
  // target falls asleep is seen there, or signalled.
  if (inbox_.push(item) && !own) {
    if (sender != nullptr && !target.watched()) {
      sender->ring_->wake(target);
    } else {
      target.signal();
    }
  }
  target.let_go();
}

// For a foreign loop, whatever is done between this turn and the next has to ring the bell.
void shard::end_watched_turn() noexcept {
  ring_->unmute_signal();
  ready_.announce_to(&ring_->bell());
  next_turn_.announce_to(&ring_->bell());
  timers_.announce_to(&ring_->bell());
}

void shard::begin_watched_turn() noexcept {
  ring_->mute_signal();
  ready_.announce_to(nullptr);
  next_turn_.announce_to(nullptr);
  timers_.announce_to(nullptr);
}

bool shard::run_once(duration max_wait) {
  if (!attach()) return false;
  // These thread-local marks say whose turn this is. They are put back at the end, so that one
  // thread may turn several shards, even one within another's turn.
  shard* const outer_shard = std::exchange(current_, this);
  ready_queue* const outer_queue = std::exchange(ready_queue::current_, &ready_);

  if (ring_->has_signal_fd()) [[unlikely]]
    begin_watched_turn();
  ++turn_;
  inbox_.awake();
  now_ = clock_->now();
  if (ring_->completions_pending()) ring_->harvest(completions_max);
  timers_.advance(now_);
  inbox_.drain(mails_max);
  ready_.take_all(next_turn_);
  run_ready();
  if (ring_->forked()) [[unlikely]] {
    // A task has forked, and this is the child: the rest of the turn is the parent's.
    ready_queue::current_ = outer_queue;
    current_ = outer_shard;
    return false;
  }
  if (stopping_) {
    extensions_.close_all();  // a task that ended may have opened more
    if (when_at_rest_ == at_rest::ends && only_wake_read_left()) ring_->cancel(wake_read_);
  }
  // Then there is nothing to wait for any more.
  const bool over = when_at_rest_ == at_rest::returns ? only_wake_read_left() : stopped();

  // A turn ends by submitting everything that was prepared, and by waiting if there is nothing to
  // do.
  duration wait = duration::zero();
  bool more = !ready_.empty() || !next_turn_.empty() || !inbox_.prepare_to_sleep();
  if (!more && !over && max_wait > duration::zero() && !ring_->completions_pending()) {
    wait = max_wait;
    if (const std::optional<time_point> next = timers_.next_deadline()) {
      // By the clock as it is now: the wait begins here, and the turn may have been a long one.
      wait = std::min(wait, *next - clock_->now());
      more = wait <= duration::zero();
    }
  }
  if (wait > duration::zero()) {
    wait_for_work(wait);
  } else if (ring_->needs_enter()) {
    ring_->enter(duration::zero());
  }
  if (ring_->has_signal_fd()) [[unlikely]]
    end_watched_turn();
  more = more || ring_->completions_pending();

  ready_queue::current_ = outer_queue;
  current_ = outer_shard;
  return more;
}

void shard::wait_for_work(duration wait) noexcept {
  if (options_.busy_poll > duration::zero()) {
    if (ring_->needs_enter()) ring_->enter(duration::zero());
    const time_point started = clock_->now();
    const time_point give_up =
        saturating_add(started, std::min<duration>(options_.busy_poll, wait));
    time_point before;
    time_point reading = started;
    do {
      for (unsigned spin = 0; spin < 64; ++spin) {
        if (ring_->completions_pending()) return;
        relax_cpu();
      }
      before = reading;
      reading = clock_->now();
    } while (reading < give_up && reading != before);  // a clock set by hand may stand still
    wait -= reading - started;
    if (wait <= duration::zero()) return;
  }
  ring_->enter(wait);
}

void shard::run_ready() noexcept {
  const time_point started = now_;
  for (unsigned nodes = 0; nodes < ready_nodes_max && !ready_.empty() && !ring_->forked();
       ++nodes) {
    ready_.run_one();
    if ((nodes + 1) % clock_every_nodes == 0 && clock_->now() - started > ready_time_max) return;
  }
}

void shard::run() {
  if (!attach()) return;
  while (!ring_->forked() && !stopped()) run_once(std::chrono::seconds(1));
}

void shard::deliver_leftovers() noexcept {
  inbox_.awake();
  while (inbox_.drain(mails_max) > 0) {
  }
}

void shard::stop() noexcept {
  if (stopping_ || ring_->forked()) return;
  stopping_ = true;
  if (current_ != this) ring_->bell().ring();
  if (attached()) assert_owner();
  root_context_.cancel(errc::shard_stopped);
  if (!attached()) return;  // never turned: nothing was started
  run_stop_hooks();
  extensions_.close_all();
}

bool shard::only_wake_read_left() const noexcept {
  const std::size_t wake_read = wake_read_.in_flight() ? 1U : 0U;
  return stopping_ && tasks_running_ == 0 && ready_.empty() && next_turn_.empty() &&
         extensions_.all_closed() && ring_->in_flight() == wake_read;
}

bool shard::stopped() const noexcept {
  return only_wake_read_left() && !wake_read_.in_flight();
}

}  // namespace conpool

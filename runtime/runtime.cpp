#include <conpool/runtime/runtime.h>

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <csignal>
#include <new>
#include <string>
#include <system_error>

#include <conpool/runtime/kernel.h>

namespace conpool {
namespace {

unsigned usable_cores() noexcept {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (sched_getaffinity(0, sizeof usable, &usable) != 0) return 1;
  return std::max(1U, static_cast<unsigned>(CPU_COUNT(&usable)));
}

// While one lives, this thread has all signals blocked but those that a thread causes itself, and
// so have the threads that it makes. Else the kernel would deliver the process's signals to any of
// them, and their handlers would run in the middle of a turn.
class signals_blocked {
 public:
  signals_blocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) {
      sigdelset(&all, own);
    }
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~signals_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  signals_blocked(const signals_blocked&) = delete;
  signals_blocked& operator=(const signals_blocked&) = delete;

 private:
  sigset_t before_{};
};

void pin_to_core(unsigned index) noexcept {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (sched_getaffinity(0, sizeof usable, &usable) != 0) return;
  const int count = CPU_COUNT(&usable);
  if (count == 0) return;
  int to_skip = static_cast<int>(index % static_cast<unsigned>(count));
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(static_cast<std::size_t>(cpu), &usable) || to_skip-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(cpu), &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
    return;
  }
}

}  // namespace

// What the runtime itself posts to a shard. Made with the shard, so that ending needs no memory.
struct runtime::letters {
  explicit letters(shard& home) noexcept : stop(home), leave(home) {}

  // The shard is stopped on its own thread.
  struct stop_mail : mail {
    explicit stop_mail(shard& home) noexcept : mail(&stop_mail::deliver), target(&home) {}
    static void deliver(mail& item) noexcept { static_cast<stop_mail&>(item).target->stop(); }
    shard* target;
  };
  // All shards have ended what they ran.
  struct leave_mail : mail {
    explicit leave_mail(shard& home) noexcept : mail(&leave_mail::deliver), target(&home) {}
    static void deliver(mail& item) noexcept {
      static_cast<leave_mail&>(item).target->when_at_rest_ = shard::at_rest::ends;
    }
    shard* target;
  };

  stop_mail stop;
  leave_mail leave;
  bool attached = false;  // the thread's answer, which reported_ publishes
};

runtime::runtime() = default;

result<std::unique_ptr<runtime>> runtime::create(const runtime_options& options) {
  const unsigned count = options.shards != 0 ? options.shards : usable_cores();
  if (count > 1024) {
    return fail(error(errc::invalid_config, phase::start)
                    .about("runtime_options.shards")
                    .with_detail("it is " + std::to_string(count) + "; it must be at most 1024"));
  }
  make_room_for_descriptors(options.descriptors);
  std::unique_ptr<runtime> made(new runtime());
  for (unsigned index = 0; index < count; ++index) {
    shard_options mine = options.shard;
    mine.id = index;
    result<std::unique_ptr<shard>> one = shard::create(mine);
    if (!one) return fail(std::move(one.error()));
    made->shards_.push_back(std::move(*one));
    made->letters_.push_back(std::make_unique<letters>(*made->shards_.back()));
  }
  if (result<void> started = made->start_threads(options.pin); !started) {
    return fail(std::move(started.error()));
  }
  return made;
}

// Returns when all threads have tried to attach their shard, with the first failure. Those that run
// then are ended by end().
result<void> runtime::start_threads(bool pin) {
  threads_.reserve(size());
  int refused = 0;
  std::exception_ptr thrown;
  {
    const signals_blocked quiet;
    try {
      for (unsigned index = 0; index < size(); ++index) {
        threads_.emplace_back([this, index, pin] { thread_main(index, pin); });
      }
    } catch (const std::system_error& why) {
      refused = why.code().value();
    } catch (...) {
      thrown = std::current_exception();
    }
  }
  for (unsigned seen = reported_.load(); seen < threads_.size(); seen = reported_.load()) {
    reported_.wait(seen);
  }
  // Nothing can have stopped a shard yet.
  unsigned attached = 0;
  for (const auto& to : letters_) attached += to->attached ? 1 : 0;
  running_ = attached + 1;
  if (thrown) std::rethrow_exception(thrown);
  if (failure_) return fail(std::move(*failure_));
  if (refused != 0) {
    return fail(error(errc::too_many_threads, phase::start, refused)
                    .about("thread " + std::to_string(threads_.size() + 1) + " of " +
                           std::to_string(size()))
                    .with_detail("the limits are RLIMIT_NPROC (ulimit -u), the cgroup's pids.max "
                                 "and the sysctl kernel.threads-max"));
  }
  return {};
}

// An exception that left a task nobody awaited is lost here. To get it, call stop() first.
runtime::~runtime() {
  end();
}

void runtime::note_failure(error why) noexcept {
  const std::lock_guard hold(failure_mutex_);
  if (!failure_) failure_ = std::move(why);
}

void runtime::thread_main(unsigned index, bool pin) noexcept {
  pthread_setname_np(pthread_self(), ("conpool-" + std::to_string(index)).c_str());
  if (pin) pin_to_core(index);
  shard& home = *shards_[index];
  letters& own = *letters_[index];
  home.when_at_rest_ = shard::at_rest::returns;
  result<void> attached = home.attach();
  own.attached = attached.has_value();
  if (!attached) note_failure(std::move(attached.error()));
  reported_.fetch_add(1);
  reported_.notify_one();
  if (!own.attached) return;

  while (!home.only_wake_read_left()) home.run_once(std::chrono::seconds(1));
  one_has_ended();
  // Other shards may still wait for an answer from this one. It sleeps, and answers (that it has
  // stopped), until all have come this far and end() has been called; a shard that was stopped by a
  // task of its own may be here long before that. Then a letter tells it to end.
  home.when_at_rest_ = shard::at_rest::waits;
  home.run();
}

// The last of them tells all to leave.
void runtime::one_has_ended() noexcept {
  if (running_.fetch_sub(1) != 1) return;
  for (unsigned index = 0; index < size(); ++index) {
    if (letters_[index]->attached) shards_[index]->post(letters_[index]->leave);
  }
}

void runtime::post_jobs(unsigned first, std::span<mail* const> items) {
  CONPOOL_ASSERT(shard::current() == nullptr, "run() blocks: use submit_to() on a shard's thread");
  // The count tells end() when no thread can be between this look at ended_ and its posts any more.
  if (forked()) throw std::system_error(make_error_code(errc::forked));
  posting_.fetch_add(1);
  const bool refused = ended_;
  if (!refused) {
    for (mail* const item : items) shards_[first++]->post(*item);
  }
  posting_.fetch_sub(1);
  if (refused) throw std::system_error(make_error_code(errc::shard_stopped));
}

void runtime::stop() {
  end();
  if (exception_) std::rethrow_exception(std::exchange(exception_, nullptr));
}

bool runtime::forked() const noexcept {
  return !shards_.empty() && shards_.front()->ring().forked();
}

// In a child of fork(): the threads are not here, and what they were about to change may be half
// done. So nothing of it is touched but the rings' descriptors.
void runtime::abandon() noexcept {
  for (auto& home : shards_) home.release()->ring().waker().let_go();
  for (auto& to : letters_) {
    [[maybe_unused]] letters* const left = to.release();
  }
  static_cast<void>(new (std::nothrow) std::vector<std::thread>(std::move(threads_)));
  shards_.clear();
}

void runtime::end() noexcept {
  if (ended_.exchange(true)) return;
  if (forked()) return abandon();
  CONPOOL_ASSERT(shard::current() == nullptr, "a runtime cannot be stopped by its own shard");
  if (!threads_.empty()) {
    for (const auto& to : letters_) {
      if (to->attached) to->stop.target->post(to->stop);
    }
    one_has_ended();
  }
  for (std::thread& thread : threads_) thread.join();
  // A shard may have ended before its mail came; then a call from outside is told so here.
  while (posting_.load() != 0) std::this_thread::yield();
  for (auto& home : shards_) home->deliver_leftovers();
  stopped_flag_->store(true, std::memory_order_release);
  for (auto& home : shards_) {
    if (std::exception_ptr what = home->take_exception(); what && !exception_) exception_ = what;
  }
}

}  // namespace conpool

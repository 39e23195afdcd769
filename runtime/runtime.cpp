#include <conpool/runtime/runtime.h>

#include <pthread.h>
#include <sched.h>

#include <semaphore>
#include <system_error>

namespace conpool {
namespace {

std::vector<int> usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) cpus.push_back(cpu);
  }
  return cpus;
}

// end() sends it, so that the shard is stopped on its own thread.
struct stop_mail : mail {
  explicit stop_mail(shard& home) noexcept : mail(&stop_mail::deliver), target(&home) {}
  static void deliver(mail& item) noexcept { static_cast<stop_mail&>(item).target->stop(); }
  shard* target;
};

}  // namespace

result<std::unique_ptr<runtime>> runtime::create(const runtime_options& options) {
  unsigned count = options.shards;
  if (count == 0) count = std::max<unsigned>(1, static_cast<unsigned>(usable_cpus().size()));
  if (count > 1024) {
    return fail(error(errc::invalid_config, phase::start)
                    .about("runtime_options.shards")
                    .with_detail("it is " + std::to_string(count) + "; it must be at most 1024"));
  }
  std::unique_ptr<runtime> made(new runtime());
  made->attaching_ = count;
  for (unsigned index = 0; index < count; ++index) {
    shard_options mine = options.shard;
    mine.id = index;
    result<std::unique_ptr<shard>> one = shard::create(mine);
    if (!one) {
      made->ended_ = true;
      return fail(std::move(one.error()));
    }
    made->shards_.push_back(std::move(*one));
  }
  for (unsigned index = 0; index < count; ++index) {
    runtime* const self = made.get();
    made->threads_.emplace_back(
        [self, index, pin = options.pin] { self->thread_main(index, pin); });
  }
  made->attached_.acquire();
  if (made->failure_) return fail(std::move(*made->failure_));
  return made;
}

// An exception that left a task nobody awaited is lost here. To get it, call stop() first.
runtime::~runtime() {
  end();
}

void runtime::thread_main(unsigned index, bool pin) {
  pthread_setname_np(pthread_self(), ("conpool-" + std::to_string(index)).c_str());
  if (pin) {
    const std::vector<int> cpus = usable_cpus();
    if (!cpus.empty()) {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(static_cast<std::size_t>(cpus[index % cpus.size()]), &set);
      pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    }
  }
  shard& home = *shards_[index];
  // create() returns when all threads have tried, and reports the first failure.
  if (result<void> attached = home.attach(); !attached) {
    const std::lock_guard hold(failure_mutex_);
    if (!failure_) failure_ = std::move(attached.error());
  }
  if (attaching_.fetch_sub(1) == 1) attached_.release();
  if (!home.is_owner()) {
    quiescent_.fetch_add(1);
    return;
  }
  home.run();
  // Other shards may still wait for an answer from this one. It goes on answering (that it has
  // stopped) until all have come this far and end() has sent its mails; a shard that was stopped by
  // a task of its own may be here long before that.
  quiescent_.fetch_add(1);
  while (quiescent_.load() <= size()) home.run_once(std::chrono::milliseconds(1));
  home.run_once(duration::zero());
}

void runtime::post_job(unsigned index, mail& item) {
  CONPOOL_ASSERT(shard::current() == nullptr, "run() blocks: use submit_to() on a shard's thread");
  // The count tells end() when no thread can be between this look at ended_ and its post any more.
  posting_.fetch_add(1);
  const bool refused = ended_;
  if (!refused) shards_[index]->post(item);
  posting_.fetch_sub(1);
  if (refused) throw std::system_error(make_error_code(errc::shard_stopped));
}

void runtime::stop() {
  end();
  if (exception_) std::rethrow_exception(std::exchange(exception_, nullptr));
}

void runtime::end() {
  if (ended_.exchange(true)) return;
  CONPOOL_ASSERT(shard::current() == nullptr, "a runtime cannot be stopped by its own shard");
  std::vector<std::unique_ptr<stop_mail>> mails;
  for (auto& home : shards_) {
    if (!home->attached()) continue;
    mails.push_back(std::make_unique<stop_mail>(*home));
    home->post(*mails.back());
  }
  quiescent_.fetch_add(1);
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

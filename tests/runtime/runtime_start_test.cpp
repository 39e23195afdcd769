// How a runtime starts: threads that cannot be made, the signals of the process, room for
// descriptors.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <string>

#include <conpool/runtime/runtime.h>

#include <tests/support/descriptors.h>
#include <tests/support/expect.h>

namespace {

// Which thread of the program cannot be made: 1 is the next one, 0 is none.
std::atomic<int> thread_refused = 0;

}  // namespace

// In place of the C library's, for the whole program.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*start)(void*), void* argument) noexcept {
  if (thread_refused > 0 && --thread_refused == 0) return EAGAIN;
  using create_fn = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto real = reinterpret_cast<create_fn>(::dlsym(RTLD_NEXT, "pthread_create"));
  return real(thread, attributes, start, argument);
}

namespace conpool::test {
namespace {

TEST(runtime_start, a_thread_that_cannot_be_made_is_an_error_and_the_others_are_ended) {
  for (int which = 1; which <= 4; ++which) {
    const std::size_t before = open_descriptors();
    thread_refused = which;
    auto made = runtime::create({.shards = 4});
    thread_refused = 0;
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error(), errc::too_many_threads);
    EXPECT_EQ(made.error().system_errno(), EAGAIN);
    EXPECT_TRUE(says(made.error(), "thread " + std::to_string(which) + " of 4"));
    EXPECT_TRUE(says(made.error(), "RLIMIT_NPROC"));
    EXPECT_EQ(open_descriptors(), before);
  }
}

TEST(runtime_start, the_process_s_signals_go_to_the_program_s_own_threads) {
  sigset_t before;
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &before), 0);
  auto rt = runtime::create({.shards = 2}).value();
  rt->run_on_all([](shard&) -> task<void> {
    sigset_t here;
    EXPECT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &here), 0);
    for (const int blocked : {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1, SIGALRM, SIGRTMIN}) {
      EXPECT_EQ(sigismember(&here, blocked), 1) << blocked;
    }
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) {
      EXPECT_EQ(sigismember(&here, own), 0) << own;
    }
    co_return;
  });
  sigset_t after;
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &after), 0);
  for (int number = 1; number < SIGRTMAX; ++number) {
    EXPECT_EQ(sigismember(&after, number), sigismember(&before, number)) << number;
  }
}

// How many descriptors the table of this process has room for.
unsigned table_size() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    unsigned size = 0;
    if (word == "FDSize:" && status >> size) return size;
  }
  return 0;
}

TEST(runtime_start, there_is_room_for_descriptors_before_the_threads_start) {
  const std::size_t open_before = open_descriptors();
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  auto rt = runtime::create({.shards = 1}).value();
  EXPECT_GE(table_size(), std::min<rlim_t>(limit.rlim_cur, 65536));
  rt.reset();
  EXPECT_EQ(open_descriptors(), open_before);
}

TEST(runtime_start, room_is_made_for_what_is_asked_and_for_what_is_allowed) {
  const std::size_t open_before = open_descriptors();
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(make_room_for_descriptors(100), std::min<rlim_t>(limit.rlim_cur, 100));
  rlimit low = limit;
  low.rlim_cur = std::min<rlim_t>(limit.rlim_cur, 300);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(make_room_for_descriptors(100'000), low.rlim_cur);
  EXPECT_EQ(make_room_for_descriptors(), low.rlim_cur);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(open_descriptors(), open_before);
}

}  // namespace
}  // namespace conpool::test

// Creating a ring: options out of their range, descriptors used up, io_uring forbidden.
#include <errno.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <conpool/runtime/detail/ring.h>
#include <conpool/runtime/shard.h>

#include <tests/support/descriptors.h>
#include <tests/support/expect.h>

namespace conpool::test {
namespace {

void expect_invalid(const ring_options& options, std::string_view field) {
  const std::size_t before = open_descriptors();
  auto made = ring::create(options);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error(), errc::invalid_config);
  EXPECT_EQ(made.error().subject(), field);
  EXPECT_FALSE(made.error().detail().empty());
  EXPECT_EQ(open_descriptors(), before);
}

TEST(ring_create, options_out_of_their_range_are_refused_by_name) {
  expect_invalid({.sq_entries = 0}, "ring_options.sq_entries");
  expect_invalid({.sq_entries = 32769}, "ring_options.sq_entries");
  expect_invalid({.receive_buffers = 0}, "ring_options.receive_buffers");
  expect_invalid({.receive_buffers = 3}, "ring_options.receive_buffers");
  expect_invalid({.receive_buffers = 65536}, "ring_options.receive_buffers");
  expect_invalid({.receive_buffer_bytes = 63}, "ring_options.receive_buffer_bytes");
  expect_invalid({.receive_buffer_bytes = (1U << 20) + 1}, "ring_options.receive_buffer_bytes");
}

TEST(ring_create, the_smallest_options_work) {
  const std::size_t before = open_descriptors();
  {
    auto made = ring::create(
        {.sq_entries = 1, .cq_entries = 1, .receive_buffers = 1, .receive_buffer_bytes = 64});
    ASSERT_OK(made);
    EXPECT_TRUE((*made)->enable());
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(ring_create, a_completion_queue_smaller_than_the_submission_queue_is_made_as_large) {
  auto made = ring::create({.sq_entries = 64, .cq_entries = 0});
  EXPECT_OK(made);
}

TEST(ring_create, a_ring_that_was_never_enabled_can_be_destroyed) {
  const std::size_t before = open_descriptors();
  ASSERT_TRUE(ring::create({}));
  EXPECT_EQ(open_descriptors(), before);
}

TEST(check_kernel, reports_that_this_machine_is_usable_when_a_ring_can_be_made) {
  const std::size_t before = open_descriptors();
  const kernel_report report = check_kernel();
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_FALSE(report.kernel.empty());
  EXPECT_TRUE(report.usable) << report.cause;
  EXPECT_EQ(report.system_errno, 0);
  EXPECT_EQ(report.missing, "");
  EXPECT_EQ(report.cause, "");
}

TEST(ring_create, without_free_descriptors_says_too_many_files) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 3;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  auto made = ring::create({});
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error(), errc::too_many_files);
  EXPECT_EQ(made.error().system_errno(), EMFILE);
}

// From now on this system call fails with `code` in this process.
bool forbid(long call, int code) {
  std::array<sock_filter, 4> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(code)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// What `body` says in a child of this process.
std::string in_child(const std::function<std::string()>& body) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);  // it must come to an end
    const std::string text = body();
    [[maybe_unused]] const ssize_t written = ::write(ends[1], text.data(), text.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string text(4096, '\0');
  const ssize_t count = ::read(ends[0], text.data(), text.size());
  text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return text;
}

// What a child in which io_uring_setup is forbidden gets from ring::create, in words.
std::string create_where_forbidden(int code) {
  return in_child([code]() -> std::string {
    if (!forbid(SYS_io_uring_setup, code)) return "no filter";
    auto made = ring::create({});
    if (made) return "created";
    const kernel_report report = check_kernel();
    const errc kind = code == ENOMEM ? errc::out_of_memory : errc::ring_unavailable;
    const bool right = made.error() == kind && made.error().system_errno() == code &&
                       !report.usable && report.system_errno == code &&
                       report.missing == "io_uring_setup";
    return (right ? "right: " : "wrong: ") + made.error().message();
  });
}

TEST(ring_create, where_io_uring_is_forbidden_the_error_says_why_and_what_to_do) {
  const std::string forbidden = create_where_forbidden(EPERM);
  EXPECT_TRUE(forbidden.starts_with("right: ")) << forbidden;
  EXPECT_NE(forbidden.find("EPERM"), std::string::npos) << forbidden;
  EXPECT_TRUE(forbidden.find("seccomp") != std::string::npos ||
              forbidden.find("io_uring_disabled") != std::string::npos)
      << forbidden;
}

TEST(ring_create, where_io_uring_is_missing_the_error_says_which_kernel_it_takes) {
  const std::string missing = create_where_forbidden(ENOSYS);
  EXPECT_TRUE(missing.starts_with("right: ")) << missing;
  EXPECT_NE(missing.find("6.1"), std::string::npos) << missing;
  EXPECT_NE(missing.find("ENOSYS"), std::string::npos) << missing;
}

TEST(ring_create, where_memory_may_not_be_locked_the_error_names_the_limit) {
  const std::string scarce = create_where_forbidden(ENOMEM);
  EXPECT_TRUE(scarce.starts_with("right: ")) << scarce;
  EXPECT_NE(scarce.find("RLIMIT_MEMLOCK"), std::string::npos) << scarce;
}

// A profile decides on each call, and one that allows io_uring_setup alone lets a ring be made.
TEST(ring_create, a_kernel_that_forbids_entering_or_registering_is_not_usable) {
  for (const auto& [call, name] : {std::pair(SYS_io_uring_enter, "io_uring_enter"),
                                   std::pair(SYS_io_uring_register, "io_uring_register")}) {
    const std::string said = in_child([&]() -> std::string {
      if (!forbid(call, EPERM)) return "no filter";
      const kernel_report report = check_kernel();
      if (report.usable || report.missing != name || report.system_errno != EPERM) {
        return "reported as missing: " + report.missing;
      }
      auto home = shard::create({});
      if (!home) return home.error().message();
      const result<void> attached = (*home)->attach();
      return attached ? "attached" : attached.error().message();
    });
    EXPECT_NE(said.find("io_uring is not available"), std::string::npos) << said;
    EXPECT_NE(said.find(std::string(name) + " is forbidden"), std::string::npos) << said;
    EXPECT_NE(said.find("seccomp"), std::string::npos) << said;
  }
}

// Nothing can be done about it, and the loop would spin for ever.
TEST(ring_create, a_kernel_that_forbids_entering_later_ends_the_process_with_a_message) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        ::alarm(20);
        auto home = shard::create({}).value();
        home->run_once(duration::zero());
        if (!forbid(SYS_io_uring_enter, EPERM)) ::_exit(1);
        for (;;) home->run_once(std::chrono::milliseconds(1));
      },
      ::testing::KilledBySignal(SIGABRT), "io_uring_enter.*EPERM");
}

TEST(ring_create, where_the_user_may_lock_no_more_memory_the_error_says_how_much_it_takes) {
  const std::string said = in_child([]() -> std::string {
    const rlimit little{512 * 1024, 512 * 1024};
    if (::setrlimit(RLIMIT_MEMLOCK, &little) != 0) return "no limit";
    // Root may lock what it likes.
    if (::geteuid() == 0 && ::setuid(65534) != 0) return "no other user";
    std::vector<std::unique_ptr<ring>> made;
    while (made.size() < 16) {
      auto one = ring::create({});
      if (!one) return one.error().message();
      made.push_back(std::move(*one));
    }
    return "this kernel does not count it";
  });
  if (said == "this kernel does not count it" || said == "no other user") GTEST_SKIP() << said;
  EXPECT_NE(said.find("out of memory"), std::string::npos) << said;
  EXPECT_NE(said.find("locks at least 200 KiB"), std::string::npos) << said;
  EXPECT_NE(said.find("may be 512 KiB"), std::string::npos) << said;
  EXPECT_NE(said.find("RLIMIT_MEMLOCK"), std::string::npos) << said;
}

}  // namespace
}  // namespace conpool::test

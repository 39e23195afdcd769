// The key log: written only by explicit choice, and readable by nobody else.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include <conpool/tls/keylog.h>

#include <tests/support/temporary_file.h>
#include <tests/tls/tls_fixture.h>

namespace conpool::test {
namespace {

class tls_keylog : public tls_test {};

TEST_F(tls_keylog, is_written_only_when_asked_for_and_readable_by_its_owner_only) {
  const temporary_file file;
  ::setenv("SSLKEYLOGFILE", file.path().c_str(), 1);
  session silent(client(), server());
  ASSERT_TRUE(silent.shake());
  struct ::stat status{};
  EXPECT_NE(::stat(file.path().c_str(), &status), 0) << "the environment alone switched it on";

  auto options = client_options();
  options.keys = tls::keylog::from_env().value();
  ::unsetenv("SSLKEYLOGFILE");
  ASSERT_TRUE(options.keys);
  session logged(client(options), server());
  ASSERT_TRUE(logged.shake());
  ASSERT_EQ(::stat(file.path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  std::istringstream lines(file.text());
  std::string line;
  int count = 0;
  while (std::getline(lines, line)) {
    ++count;
    EXPECT_TRUE(line.find("TRAFFIC_SECRET") != std::string::npos ||
                line.find("EXPORTER_SECRET") != std::string::npos)
        << line;
  }
  EXPECT_EQ(count, 5);
  EXPECT_EQ(options.keys->failures(), 0U);
}

TEST_F(tls_keylog, is_nothing_without_the_variable_and_an_error_without_the_folder) {
  ::unsetenv("SSLKEYLOGFILE");
  EXPECT_FALSE(tls::keylog::from_env().value());
  const auto made = tls::keylog::open("/nonexistent/keys");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().system_errno(), ENOENT);
}

// Whoever can read it can read the traffic, and where a link leads may be somebody else's choice.
TEST_F(tls_keylog, is_not_written_to_a_file_that_others_may_read) {
  for (const mode_t mode : {0644U, 0640U, 0602U, 0610U}) {
    const temporary_file file;
    std::ofstream(file.path()) << "of another program\n";
    ASSERT_EQ(::chmod(file.path().c_str(), mode), 0);
    const auto made = tls::keylog::open(file.path());
    ASSERT_FALSE(made) << mode;
    EXPECT_EQ(made.error(), errc::io_failed);
    EXPECT_NE(made.error().message().find(file.path()), std::string::npos);
    EXPECT_NE(made.error().detail().find("chmod 600"), std::string_view::npos)
        << made.error().message();
    ASSERT_EQ(::chmod(file.path().c_str(), 0600), 0);
    EXPECT_TRUE(tls::keylog::open(file.path()));
    EXPECT_EQ(file.text(), "of another program\n");
  }
}

TEST_F(tls_keylog, follows_no_link) {
  const temporary_file target;
  std::ofstream(target.path()) << "mine\n";
  ASSERT_EQ(::chmod(target.path().c_str(), 0600), 0);
  const temporary_file link;
  ASSERT_EQ(::symlink(target.path().c_str(), link.path().c_str()), 0);
  const auto made = tls::keylog::open(link.path());
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().system_errno(), ELOOP);
  EXPECT_NE(made.error().detail().find("symbolic link"), std::string_view::npos)
      << made.error().message();
  // Nor does it make what a dangling one names.
  const temporary_file missing;
  ::unlink(link.path().c_str());
  ASSERT_EQ(::symlink(missing.path().c_str(), link.path().c_str()), 0);
  EXPECT_FALSE(tls::keylog::open(link.path()));
  EXPECT_NE(::access(missing.path().c_str(), F_OK), 0);
  ::unlink(link.path().c_str());
}

TEST_F(tls_keylog, is_a_file_and_nothing_else) {
  const temporary_file pipe;
  ASSERT_EQ(::mkfifo(pipe.path().c_str(), 0600), 0);
  const auto unread = tls::keylog::open(pipe.path());  // must not wait for a reader
  EXPECT_FALSE(unread);
  const int reader = ::open(pipe.path().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  const auto read = tls::keylog::open(pipe.path());
  ::close(reader);
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().detail().find("not a file"), std::string_view::npos)
      << read.error().message();
}

}  // namespace
}  // namespace conpool::test

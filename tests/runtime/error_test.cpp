// Errors as values: what they say, how they compare, that copies do not share changes.
#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>
#include <system_error>
#include <type_traits>

#include <conpool/runtime/error.h>

namespace conpool {
namespace {

TEST(error, carries_kind_phase_and_a_positive_errno) {
  const error made(errc::connect_failed, phase::connect, -ECONNREFUSED);
  EXPECT_EQ(made.kind(), errc::connect_failed);
  EXPECT_EQ(made.where(), phase::connect);
  EXPECT_EQ(made.system_errno(), ECONNREFUSED);
  EXPECT_EQ(made.attempts(), 0U);
  EXPECT_EQ(made.subject(), "");
  EXPECT_EQ(made.detail(), "");
  EXPECT_EQ(made, errc::connect_failed);
  EXPECT_FALSE(made == errc::connect_timeout);
}

TEST(error, message_names_phase_subject_kind_attempts_errno_and_detail) {
  const error made = error(errc::connect_failed, phase::connect, ECONNREFUSED)
                         .about("tcp://10.0.0.7:6379")
                         .with_detail("the last address of two")
                         .after_attempts(2);
  EXPECT_EQ(made.message(),
            "connect tcp://10.0.0.7:6379: connect failed (2 attempts): Connection refused "
            "(ECONNREFUSED): the last address of two");
}

TEST(error, message_leaves_out_what_is_not_known) {
  EXPECT_EQ(error(errc::cancelled).message(), "cancelled");
  EXPECT_EQ(error(errc::read_timeout, phase::read).message(), "read: read timed out");
  EXPECT_EQ(error(errc::invalid_config).about("max_idle").message(),
            "max_idle: invalid configuration");
  EXPECT_EQ(error(errc::connect_timeout).after_attempts(1).message(),
            "connect timed out (1 attempt)");
}

TEST(error, changing_a_copy_leaves_the_original) {
  const error original = error(errc::io_failed).about("first").with_detail("one");
  error changed = error(original).about("second");
  EXPECT_EQ(original.subject(), "first");
  EXPECT_EQ(changed.subject(), "second");
  EXPECT_EQ(changed.detail(), "one");
}

TEST(error, every_kind_has_a_text_of_its_own_and_every_phase_a_name) {
  std::set<std::string> texts;
  const int last = static_cast<int>(errc::message_too_long);
  for (int value = 1; value <= last; ++value) {
    const std::string text = error_category().message(value);
    EXPECT_NE(text, "unknown error") << value;
    EXPECT_TRUE(texts.insert(text).second) << text;
  }
  EXPECT_EQ(error_category().message(last + 1), "unknown error");
  std::set<std::string> names;
  for (int value = 0; value <= static_cast<int>(phase::drain); ++value) {
    EXPECT_TRUE(names.insert(to_string(static_cast<phase>(value))).second) << value;
  }
  EXPECT_EQ(names.count("unknown"), 0U);
  std::set<std::string> kinds;
  for (int value = 1; value <= last; ++value) {
    EXPECT_TRUE(kinds.insert(to_string(static_cast<errc>(value))).second) << value;
  }
  EXPECT_EQ(kinds.count("unknown"), 0U);
  EXPECT_STREQ(to_string(errc::acquire_timeout), "acquire_timeout");
  EXPECT_STREQ(to_string(errc::message_too_long), "message_too_long");
  EXPECT_STREQ(to_string(static_cast<errc>(last + 1)), "unknown");
  EXPECT_STREQ(to_string(errc{}), "unknown");
}

TEST(error, codes_compare_against_the_standard_conditions) {
  EXPECT_EQ(error(errc::read_timeout).code(), std::errc::timed_out);
  EXPECT_EQ(error(errc::deadline_exceeded).code(), std::errc::timed_out);
  EXPECT_EQ(error(errc::cancelled).code(), std::errc::operation_canceled);
  EXPECT_EQ(error(errc::connection_reset).code(), std::errc::connection_reset);
  EXPECT_EQ(error(errc::too_many_files).code(), std::errc::too_many_files_open);
  EXPECT_NE(error(errc::pool_closed).code(), std::errc::timed_out);
  const std::error_code implicit = errc::queue_full;
  EXPECT_EQ(implicit.category().name(), std::string("conpool"));
  EXPECT_EQ(implicit, make_error_code(errc::queue_full));
}

TEST(error, errno_values_have_their_names) {
  EXPECT_EQ(errno_name(ECONNREFUSED), "ECONNREFUSED");
  EXPECT_EQ(errno_name(99999), "errno 99999");
}

TEST(error, is_small_and_moves_without_throwing) {
  EXPECT_LE(sizeof(error), 40U);
  EXPECT_TRUE(std::is_nothrow_move_constructible_v<error>);
  const result<int> failed = fail(error(errc::cancelled));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error(), errc::cancelled);
}

TEST(error, is_permanent_if_it_was_said_or_if_its_kind_is) {
  EXPECT_FALSE(error(errc::io_failed).is_permanent());
  const error said = error(errc::io_failed).with_detail("wrong password").permanent();
  EXPECT_TRUE(said.is_permanent());
  const error copied = said;  // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_TRUE(copied.is_permanent());
  EXPECT_EQ(copied.detail(), "wrong password");
  EXPECT_TRUE(error(errc::certificate_expired).is_permanent());
  EXPECT_TRUE(error(errc::pin_mismatch).is_permanent());
  EXPECT_FALSE(error(errc::connect_failed).is_permanent());
  EXPECT_FALSE(error(errc::handshake_timeout).is_permanent());
}

}  // namespace
}  // namespace conpool

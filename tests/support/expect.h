// What tests assert about results and errors.
//
//   ASSERT_OK(pool::create(home, config));        // says the error's message if there is one
//   auto lent = co_await backends.acquire(to);    // in a coroutine, which ASSERT_* cannot leave:
//   CO_ASSERT_OK(lent);
//   EXPECT_TRUE(says(why, "ECONNREFUSED"));
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include <conpool/runtime/error.h>

#define ASSERT_OK(outcome) ASSERT_TRUE(::conpool::test::is_ok(outcome))
#define EXPECT_OK(outcome) EXPECT_TRUE(::conpool::test::is_ok(outcome))

// In a coroutine: fails the test and returns if a result is an error.
#define CO_ASSERT_OK(outcome)                                         \
  if (!(outcome)) {                                                   \
    ADD_FAILURE() << #outcome << ": " << (outcome).error().message(); \
    co_return;                                                        \
  }                                                                   \
  static_assert(true)

namespace conpool::test {

// Whether a result is a value; the failure has the error's message.
template <typename T>
::testing::AssertionResult is_ok(const result<T>& outcome) {
  if (outcome) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << outcome.error().message();
}

// Whether the message of an error has this part.
inline ::testing::AssertionResult says(const error& what, std::string_view part) {
  const std::string message = what.message();
  if (message.find(part) != std::string::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "\"" << part << "\" is not in: " << message;
}

}  // namespace conpool::test

// The version, as the preprocessor and as a running program sees it.
#include <gtest/gtest.h>

#include <string>

#include <conpool/runtime/version.h>
#include <conpool/tls/profile.h>

namespace conpool::test {
namespace {

TEST(version, is_that_of_the_headers_in_a_program_built_with_them) {
  EXPECT_EQ(version().number, CONPOOL_VERSION);
  EXPECT_EQ(version().text, std::to_string(CONPOOL_VERSION_MAJOR) + "." +
                                std::to_string(CONPOOL_VERSION_MINOR) + "." +
                                std::to_string(CONPOOL_VERSION_PATCH));
}

TEST(version, says_which_boringssl_was_built_in_or_that_none_was) {
  if (tls::available()) {
    EXPECT_TRUE(version().tls.starts_with("BoringSSL, API ")) << version().tls;
  } else {
    EXPECT_EQ(version().tls, "none");
  }
}

}  // namespace
}  // namespace conpool::test

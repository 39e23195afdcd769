// Which library is bound: in a program as it should be, and in programs that also link OpenSSL, in
// the way that breaks a BoringSSL with the same names (openssl_clash.cpp).
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <string>

#include <sys/wait.h>

#include <conpool/tls/detail/symbol_check.h>

namespace conpool::test {
namespace {

struct outcome {
  std::string printed;
  int status = -1;  // as waitpid() has it
};

// Of a program beside this one.
std::filesystem::path path_of(const char* name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
}

bool is_built(const char* name) {
  return std::filesystem::exists(path_of(name));
}

outcome run_program(const char* name) {
  outcome seen;
  // Whatever is set on this machine: the system's own bundle is looked for.
  const std::string command = "env -u SSL_CERT_FILE -u SSL_CERT_DIR " + path_of(name).string();
  std::FILE* const output = ::popen(command.c_str(), "re");
  if (output == nullptr) return seen;
  std::array<char, 512> chunk{};
  while (const std::size_t count = std::fread(chunk.data(), 1, chunk.size(), output)) {
    seen.printed.append(chunk.data(), count);
  }
  seen.status = ::pclose(output);
  return seen;
}

// With names of its own BoringSSL works there.
#ifdef BORINGSSL_PREFIX
void expect_nothing_clashes(const outcome& seen) {
  EXPECT_TRUE(WIFEXITED(seen.status) && WEXITSTATUS(seen.status) == 0) << seen.printed;
  for (const char* way : {"symbol_check: works\n", "profile: works\n", "resources: works\n"}) {
    EXPECT_NE(seen.printed.find(way), seen.printed.npos) << seen.printed;
  }
  EXPECT_EQ(seen.printed.find("OpenSSL"), seen.printed.npos) << seen.printed;
}

TEST(symbol_check, a_boringssl_with_prefixed_names_works_beside_openssl) {
  expect_nothing_clashes(run_program("openssl-beside"));
  expect_nothing_clashes(run_program("libssl-beside"));
}
#endif

// These have Debian's BoringSSL as it is. They are not built where it is not installed.
void expect_each_way_is_refused(const outcome& seen, const std::string& why) {
  EXPECT_TRUE(WIFEXITED(seen.status) && WEXITSTATUS(seen.status) == 0) << seen.printed;
  std::size_t lines = 0;
  for (std::size_t at = 0; at < seen.printed.size(); ++lines) {
    const std::size_t end = seen.printed.find('\n', at);
    const std::string line = seen.printed.substr(at, end - at);
    EXPECT_NE(line.find("BoringSSL"), line.npos) << line;
    EXPECT_NE(line.find(why), line.npos) << line;
    at = end == seen.printed.npos ? seen.printed.size() : end + 1;
  }
  EXPECT_EQ(lines, 6U) << seen.printed;
}

// docs/TLS.md: "the error names the function and both files".
void expect_function_and_both_files(const outcome& seen) {
  for (const char* part : {"SSL_new is bound to ", "libssl.so.3, but TLS_with_buffers_method to ",
                           "android/libssl.so.0: the program"}) {
    EXPECT_NE(seen.printed.find(part), seen.printed.npos) << seen.printed;
  }
}

TEST(symbol_check, names_the_function_and_both_files_if_it_is_openssl_that_is_bound) {
  if (!is_built("openssl-clash")) GTEST_SKIP() << "android-libboringssl-dev is not used";
  const outcome seen = run_program("openssl-clash");
  expect_each_way_is_refused(seen, "the program also links OpenSSL");
  expect_function_and_both_files(seen);
}

// libssl of the one and libcrypto of the other: the name alone does not tell.
TEST(symbol_check, names_the_function_and_both_files_if_half_is_openssl) {
  if (!is_built("libssl-clash")) GTEST_SKIP() << "android-libboringssl-dev is not used";
  const outcome seen = run_program("libssl-clash");
  expect_each_way_is_refused(seen, "the program also links OpenSSL");
  expect_function_and_both_files(seen);
}

TEST(symbol_check, passes_where_only_boringssl_is_bound) {
  const auto bound = tls::symbol_check();
  EXPECT_TRUE(bound) << bound.error().message();
}

}  // namespace
}  // namespace conpool::test

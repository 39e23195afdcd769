// https_get against nginx: the page, and what it says of the two connections it makes.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include <tests/examples/program.h>
#include <tests/support/nginx_server.h>
#include <tests/tls/certificates.h>

namespace conpool::test {
namespace {

constexpr std::int64_t long_ago_s = 1'577'836'800;  // 2020

class https_get : public ::testing::Test {
 protected:
  void SetUp() override {
    const certificate own = root_.issue({.ip = {"127.0.0.1"}, .from_s = long_ago_s});
    server_ = run_nginx(files_,
                        "server { listen 127.0.0.1:" + std::to_string(port_) +
                            " ssl;\nssl_protocols TLSv1.2 TLSv1.3; ssl_certificate " +
                            files_.file("own.pem", own.chain_pem()) + "; ssl_certificate_key " +
                            files_.file("own.key", own.key_pem) +
                            ";\nlocation / { return 200 \"a page over $ssl_protocol\\n\"; } }\n",
                        port_);
  }

  const authority root_{"examples' root", long_ago_s};
  const temporary_folder files_;
  const std::uint16_t port_ = free_port();
  const std::string at_ = "127.0.0.1:" + std::to_string(port_);

 private:
  std::unique_ptr<server_process> server_;
};

TEST_F(https_get, prints_the_page_and_both_connections_the_second_one_resumed) {
  program get("https_get", {at_, files_.file("root.pem", root_.pem())});
  EXPECT_EQ(get.finish(), 0) << get.printed();
  EXPECT_TRUE(get.prints("HTTP/1.1 200 OK")) << get.printed();
  EXPECT_TRUE(get.prints("a page over TLSv1.3")) << get.printed();
  const std::string how = " to tls://" + at_ + ": TLS 1.3, TLS_AES_";
  const std::size_t first = get.printed().find("connection 1" + how);
  const std::size_t second = get.printed().find("connection 2" + how);
  ASSERT_NE(first, std::string::npos) << get.printed();
  ASSERT_NE(second, std::string::npos) << get.printed();
  const auto rest_of_line = [&](std::size_t at) {
    return get.printed().substr(at, get.printed().find('\n', at) - at);
  };
  EXPECT_TRUE(rest_of_line(first).ends_with(", a full handshake")) << rest_of_line(first);
  EXPECT_TRUE(rest_of_line(second).ends_with(", resumed")) << rest_of_line(second);
}

TEST_F(https_get, says_why_it_does_not_trust_the_server) {
  const authority another("another root", long_ago_s);
  program get("https_get", {at_, files_.file("another.pem", another.pem())});
  EXPECT_EQ(get.finish(), 1);
  EXPECT_TRUE(get.prints("tls://" + at_)) << get.printed();
  EXPECT_TRUE(get.prints("issuer")) << get.printed();
  EXPECT_FALSE(get.prints("a page")) << get.printed();
}

}  // namespace
}  // namespace conpool::test

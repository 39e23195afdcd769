#include <conpool/runtime/address.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace conpool {
namespace {

void expect_ip(std::string_view literal, int family, const std::string& text) {
  const result<socket_address> made = socket_address::ip(literal, 80);
  ASSERT_TRUE(made) << literal;
  EXPECT_EQ(made->family(), family);
  EXPECT_EQ(made->data()->sa_family, family);
  EXPECT_EQ(made->port(), 80);
  EXPECT_EQ(made->to_string(), text);
}

TEST(socket_address, parses_ip_literals) {
  expect_ip("127.0.0.1", AF_INET, "127.0.0.1:80");
  expect_ip("0.0.0.0", AF_INET, "0.0.0.0:80");
  expect_ip("::1", AF_INET6, "[::1]:80");
  expect_ip("2001:DB8:0:0::0001", AF_INET6, "[2001:db8::1]:80");
  expect_ip("::ffff:10.0.0.1", AF_INET6, "[::ffff:10.0.0.1]:80");
}

TEST(socket_address, has_the_length_of_its_family) {
  EXPECT_EQ(socket_address::ip("10.0.0.1", 1)->size(), sizeof(sockaddr_in));
  EXPECT_EQ(socket_address::ip("::1", 1)->size(), sizeof(sockaddr_in6));
  EXPECT_EQ(socket_address::unix_path("/a")->size(), offsetof(sockaddr_un, sun_path) + 3);
  EXPECT_EQ(socket_address::unix_path("@a")->size(), offsetof(sockaddr_un, sun_path) + 2);
}

TEST(socket_address, keeps_the_scope_of_a_link_local_address) {
  const auto by_number = socket_address::ip("fe80::1%1", 80);
  ASSERT_TRUE(by_number);
  EXPECT_EQ(by_number->to_string(), "[fe80::1%1]:80");
  EXPECT_NE(*by_number, *socket_address::ip("fe80::1%2", 80));
  EXPECT_NE(*by_number, *socket_address::ip("fe80::1", 80));
  const auto by_name = socket_address::ip("fe80::1%lo", 80);
  ASSERT_TRUE(by_name);
  EXPECT_NE(by_name->to_string().find('%'), std::string::npos);
}

TEST(socket_address, refuses_what_is_no_ip_literal) {
  using namespace std::literals;
  for (const std::string_view text :
       {""sv, "localhost"sv, "127.0.0"sv, "127.0.0.256"sv, "127.0.0.1 "sv, "[::1]"sv, ":::"sv,
        "1:2:3:4:5:6:7:8:9"sv, "127.0.0.1%lo"sv, "fe80::1%"sv, "fe80::1%no-such-interface"sv,
        "127.0.0.1\0"sv, "0000:0000:0000:0000:0000:0000:0000:0000:0000:0001:0002:0003"sv}) {
    const result<socket_address> made = socket_address::ip(text, 80);
    ASSERT_FALSE(made) << text;
    EXPECT_EQ(made.error(), errc::invalid_argument);
    EXPECT_EQ(made.error().where(), phase::configure);
    EXPECT_EQ(made.error().subject(), text);
  }
}

TEST(socket_address, takes_a_unix_path) {
  const result<socket_address> made = socket_address::unix_path("/run/redis.sock");
  ASSERT_TRUE(made);
  EXPECT_EQ(made->family(), AF_UNIX);
  EXPECT_EQ(made->port(), 0);
  EXPECT_EQ(made->to_string(), "unix:/run/redis.sock");
}

TEST(socket_address, takes_an_abstract_name) {
  const result<socket_address> made = socket_address::unix_path("@redis");
  ASSERT_TRUE(made);
  EXPECT_EQ(made->to_string(), "unix:@redis");
  EXPECT_EQ(reinterpret_cast<const sockaddr_un*>(made->data())->sun_path[0], '\0');
  EXPECT_NE(*made, *socket_address::unix_path("redis"));
}

TEST(socket_address, takes_the_longest_unix_path_and_refuses_a_longer_one) {
  EXPECT_TRUE(socket_address::unix_path(std::string(107, 'a')));
  EXPECT_TRUE(socket_address::unix_path('@' + std::string(106, 'a')));
  EXPECT_EQ(socket_address::unix_path(std::string(108, 'a')).error(), errc::invalid_argument);
  EXPECT_EQ(socket_address::unix_path("").error(), errc::invalid_argument);
  EXPECT_EQ(socket_address::unix_path("@").error(), errc::invalid_argument);
  EXPECT_EQ(socket_address::unix_path(std::string("/a\0b", 4)).error(), errc::invalid_argument);
}

TEST(socket_address, copies_what_the_kernel_returned) {
  for (const socket_address& original :
       {*socket_address::ip("10.1.2.3", 443), *socket_address::ip("2001:db8::7", 443),
        *socket_address::unix_path("/tmp/s"), *socket_address::unix_path("@s")}) {
    const auto copy = socket_address::from(original.data(), original.size());
    ASSERT_TRUE(copy);
    EXPECT_EQ(*copy, original);
    EXPECT_EQ(copy->size(), original.size());
    EXPECT_EQ(copy->to_string(), original.to_string());
  }
}

TEST(socket_address, compares_unix_paths_up_to_their_final_zero) {
  // getpeername(2) may count the final zero of a path or not, depending on who bound it.
  const socket_address with_zero = *socket_address::unix_path("/tmp/s");
  const auto without = socket_address::from(with_zero.data(), with_zero.size() - 1);
  ASSERT_TRUE(without);
  EXPECT_EQ(*without, with_zero);
}

TEST(socket_address, knows_a_unix_socket_without_a_name) {
  sockaddr_un unnamed{};
  unnamed.sun_family = AF_UNIX;
  const auto made = socket_address::from(reinterpret_cast<const sockaddr*>(&unnamed),
                                         offsetof(sockaddr_un, sun_path));
  ASSERT_TRUE(made);
  EXPECT_EQ(made->to_string(), "unix:");
}

TEST(socket_address, refuses_a_raw_address_it_cannot_hold) {
  sockaddr_storage raw{};
  const auto* const address = reinterpret_cast<const sockaddr*>(&raw);
  raw.ss_family = AF_INET;
  EXPECT_FALSE(socket_address::from(address, sizeof(sockaddr_in) - 1));
  EXPECT_FALSE(socket_address::from(address, sizeof(sockaddr_in6)));
  EXPECT_FALSE(socket_address::from(address, 1));
  EXPECT_FALSE(socket_address::from(address, 0));
  EXPECT_FALSE(socket_address::from(nullptr, sizeof(sockaddr_in)));
  raw.ss_family = AF_UNIX;
  EXPECT_FALSE(socket_address::from(address, sizeof(sockaddr_un) + 1));
  raw.ss_family = AF_PACKET;
  EXPECT_FALSE(socket_address::from(address, sizeof raw));
}

TEST(socket_address, changes_its_port) {
  for (const std::string_view literal : {"127.0.0.1", "::1"}) {
    socket_address address = *socket_address::ip(literal, 1);
    address.set_port(65535);
    EXPECT_EQ(address.port(), 65535);
    EXPECT_EQ(address, *socket_address::ip(literal, 65535));
    EXPECT_NE(address, *socket_address::ip(literal, 1));
  }
}

TEST(socket_address, compares_family_address_and_port) {
  EXPECT_EQ(*socket_address::ip("127.0.0.1", 1), *socket_address::ip("127.0.0.1", 1));
  EXPECT_NE(*socket_address::ip("127.0.0.1", 1), *socket_address::ip("127.0.0.2", 1));
  EXPECT_NE(*socket_address::ip("::1", 1), *socket_address::ip("::2", 1));
  EXPECT_NE(*socket_address::ip("127.0.0.1", 1), *socket_address::ip("::ffff:127.0.0.1", 1));
  EXPECT_EQ(*socket_address::unix_path("/a"), *socket_address::unix_path("/a"));
  EXPECT_NE(*socket_address::unix_path("/a"), *socket_address::unix_path("/b"));
}

TEST(socket_address, is_no_address_at_first) {
  const socket_address none;
  EXPECT_EQ(none.family(), AF_UNSPEC);
  EXPECT_EQ(none.size(), 0U);
  EXPECT_EQ(none.port(), 0);
  EXPECT_EQ(none.to_string(), "none");
  EXPECT_EQ(none, socket_address());
}

}  // namespace
}  // namespace conpool

#include <bench/resp.h>
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

namespace {

using namespace std::string_view_literals;
using conpool::bench::append_command;
using conpool::bench::parse_command;
using conpool::bench::parse_reply;
using conpool::bench::resp_command;
using conpool::bench::resp_reply;
using conpool::bench::resp_status;

TEST(resp, reads_a_command_that_it_wrote) {
  std::string text;
  const std::array<std::string_view, 3> set{"SET", "key", "\0\r\n$\xFF"sv};
  append_command(text, set);
  text += "*1\r\n$4\r\nPING\r\n";
  const resp_command first = parse_command(text);
  ASSERT_EQ(first.status, resp_status::complete);
  ASSERT_EQ(first.count, 3U);
  EXPECT_EQ(first.arguments[0], "SET");
  EXPECT_EQ(first.arguments[1], "key");
  EXPECT_EQ(first.arguments[2], set[2]);
  const resp_command second = parse_command(std::string_view(text).substr(first.size));
  ASSERT_EQ(second.status, resp_status::complete);
  EXPECT_EQ(second.arguments[0], "PING");
  EXPECT_EQ(first.size + second.size, text.size());
}

TEST(resp, asks_for_more_at_every_cut_of_a_command_or_reply) {
  constexpr std::string_view command = "*2\r\n$3\r\nGET\r\n$5\r\nk\r\ney\r\n";
  for (std::size_t size = 0; size < command.size(); ++size) {
    EXPECT_EQ(parse_command(command.substr(0, size)).status, resp_status::incomplete) << size;
  }
  EXPECT_EQ(parse_command(command).size, command.size());
  constexpr std::string_view reply = "$5\r\nab\r\nc\r\n";
  for (std::size_t size = 0; size < reply.size(); ++size) {
    EXPECT_EQ(parse_reply(reply.substr(0, size)).status, resp_status::incomplete) << size;
  }
  EXPECT_EQ(parse_reply(reply).text, "ab\r\nc");
}

TEST(resp, refuses_what_can_never_become_a_command) {
  for (const std::string_view text :
       {"PING\r\n"sv, "*0\r\n"sv, "*-1\r\n"sv, "*9\r\n"sv, "*x\r\n"sv, "*1\r\n:1\r\n"sv,
        "*1\r\n$-1\r\n"sv, "*1\r\n$4\r\nPINGxx"sv, "*1\r\n$999999999999\r\n"sv, "*1\r\n\r\n"sv}) {
    EXPECT_EQ(parse_command(text).status, resp_status::malformed) << text;
  }
  EXPECT_EQ(parse_command(std::string(2000, '*')).status, resp_status::malformed);
}

TEST(resp, reads_replies_of_each_kind) {
  const resp_reply simple = parse_reply("+OK\r\nrest");
  EXPECT_EQ(simple.status, resp_status::complete);
  EXPECT_EQ(simple.kind, '+');
  EXPECT_EQ(simple.text, "OK");
  EXPECT_EQ(simple.size, 5U);
  EXPECT_EQ(parse_reply("-ERR no\r\n").text, "ERR no");
  EXPECT_EQ(parse_reply(":42\r\n").text, "42");
  const resp_reply nothing = parse_reply("$-1\r\n");
  EXPECT_EQ(nothing.status, resp_status::complete);
  EXPECT_TRUE(nothing.null);
  const resp_reply empty = parse_reply("$0\r\n\r\n");
  EXPECT_EQ(empty.status, resp_status::complete);
  EXPECT_FALSE(empty.null);
  EXPECT_EQ(empty.text, "");
}

TEST(resp, refuses_what_can_never_become_a_reply) {
  for (const std::string_view text :
       {"HTTP/1.1 400\r\n"sv, "\r\n"sv, "$-2\r\n"sv, "$1\r\nabc"sv, "$x\r\n"sv, "*1\r\n"sv}) {
    EXPECT_EQ(parse_reply(text).status, resp_status::malformed) << text;
  }
}

}  // namespace

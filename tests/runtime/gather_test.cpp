// Writes of several pieces, and timeouts of single calls, over real sockets: plain and with a
// codec.
#include <array>
#include <chrono>
#include <climits>
#include <string>
#include <vector>

#include <tests/runtime/wire_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class gathered : public wire_fixture {
 protected:
  static task<result<void>> write_pieces(socket& to, std::vector<const_buffer> pieces) {
    auto sent = co_await to->write(pieces);
    co_return sent;
  }
  // What arrives of them, in one; they must all be there.
  std::string write_and_receive(const std::vector<const_buffer>& pieces, std::size_t bytes) {
    const auto writing = start_on(home(), write_pieces(near(), pieces));
    EXPECT_TRUE(far_receives(bytes));
    EXPECT_TRUE(until([&] { return writing->has_value(); }));
    EXPECT_OK(**writing);
    return far_received();
  }
};

TEST_P(gathered, several_pieces_arrive_as_one) {
  const std::string head = "head ";
  const std::vector<char> body{'b', 'o', 'd', 'y'};
  const std::array<std::byte, 2> tail{std::byte{'!'}, std::byte{'?'}};
  EXPECT_EQ(write_and_receive({head, body, " literal ", std::string_view("view"), tail}, 24),
            "head body literal view!?");
  EXPECT_EQ(near()->bytes_sent(), 24U);
}

TEST_P(gathered, pieces_leave_in_one_send) {
  settle();
  const std::uint64_t before = home().ring().statistics().submissions;
  EXPECT_EQ(write_and_receive({"a", "b", "c", "d", "e"}, 5), "abcde");
  EXPECT_EQ(home().ring().statistics().submissions, before + 1);
}

TEST_P(gathered, empty_pieces_say_nothing_wherever_they_stand) {
  EXPECT_EQ(write_and_receive({"", "", "a", "", "b", "", ""}, 2), "ab");
  const auto nothing = run_on(home(), write_pieces(near(), {"", ""}));
  ASSERT_TRUE(nothing);
  EXPECT_OK(*nothing);
  const auto none = run_on(home(), write_pieces(near(), {}));
  ASSERT_TRUE(none);
  EXPECT_OK(*none);
  EXPECT_EQ(near()->bytes_sent(), 2U);
}

TEST_P(gathered, more_pieces_than_the_kernel_takes_at_once_arrive_in_order) {
  const std::string all = pattern(3 * IOV_MAX + 5);
  std::vector<const_buffer> pieces;
  for (const char& each : all) pieces.emplace_back(&each, 1);
  EXPECT_TRUE(write_and_receive(pieces, all.size()) == all);
}

// The sizes are on both sides of what one send may have.
TEST_P(gathered, large_pieces_into_a_small_buffer_are_completed_piece_by_piece) {
  connect(true);
  const std::string all = pattern(2'000'000);
  std::vector<const_buffer> pieces;
  std::size_t at = 0;
  for (const std::size_t size : {1U, 300'000U, 7U, 600'000U, 524'288U, 1U, 100'000U}) {
    pieces.emplace_back(all.data() + at, size);
    at += size;
  }
  pieces.emplace_back(all.data() + at, all.size() - at);
  EXPECT_TRUE(write_and_receive(pieces, all.size()) == all);
  EXPECT_EQ(near()->bytes_sent(), all.size());
}

TEST_P(gathered, a_timeout_tells_how_far_all_of_them_came) {
  connect(true);
  const std::string large = pattern(1 << 20);
  const auto writing = start_on(home(), write_pieces(near(), {"12345", large, "67890"}));
  settle();
  pass(30s);
  ASSERT_TRUE(until([&] { return writing->has_value(); }));
  ASSERT_FALSE(**writing);
  EXPECT_EQ((*writing)->error(), errc::write_timeout);
  const std::string sent = std::to_string(near()->bytes_sent());
  EXPECT_EQ((*writing)->error().detail(), "after " + sent + " of 1048586 bytes");
  EXPECT_NE(near()->conditions() & stream::torn, 0U);
}

TEST_P(gathered, a_call_has_a_timeout_of_its_own) {
  connect(true);
  std::vector<errc> how;
  bool ended = false;
  start(
      [&]() -> task<void> {
        std::array<char, 4> memory;
        auto count = co_await near()->read(memory, 5ms);
        how.push_back(count ? errc{} : count.error().kind());
        auto all = co_await near()->read_exactly(memory, 5ms);
        how.push_back(all ? errc{} : all.error().kind());
        const std::string large(1 << 20, 'x');
        auto sent = co_await near()->write(large, 5ms);
        how.push_back(sent ? errc{} : sent.error().kind());
        const std::array<const_buffer, 2> pieces{large, large};
        auto gone = co_await near()->write(pieces, 5ms);
        how.push_back(gone ? errc{} : gone.error().kind());
      },
      ended);
  for (std::size_t calls = 0; calls < 4; ++calls) {
    settle();
    pass(4ms);
    EXPECT_EQ(how.size(), calls);
    clock().advance(1ms);
    ASSERT_TRUE(until([&] { return how.size() == calls + 1; }));
  }
  EXPECT_EQ(how, (std::vector{errc::read_timeout, errc::read_timeout, errc::write_timeout,
                              errc::write_timeout}));
}

TEST_P(gathered, a_timeout_that_is_longer_than_the_streams_counts_too) {
  bool ended = false;
  start(
      [&]() -> task<void> {
        std::array<char, 4> memory;
        auto count = co_await near()->read_exactly(memory, 1h);
        CO_ASSERT_OK(count);
      },
      ended);
  settle();
  pass(59min);
  EXPECT_FALSE(ended);
  far_sends("late");
  EXPECT_TRUE(until([&] { return ended; }));
}

INSTANTIATE_TEST_SUITE_P(wire, gathered, over_both, name_of_wire);

// What streams take as memory.
static_assert(std::is_trivially_copyable_v<const_buffer> &&
              std::is_trivially_copyable_v<mutable_buffer>);
static_assert(std::is_convertible_v<std::string&, mutable_buffer> &&
              std::is_convertible_v<std::span<char>, mutable_buffer> &&
              std::is_convertible_v<char (&)[8], mutable_buffer> &&
              std::is_convertible_v<std::vector<std::byte>&, mutable_buffer>);
static_assert(!std::is_convertible_v<std::string, mutable_buffer> &&
                  !std::is_convertible_v<const std::string&, mutable_buffer> &&
                  !std::is_convertible_v<std::span<const char>, mutable_buffer>,
              "memory that is const, or gone when the read ends");
static_assert(!std::is_convertible_v<std::vector<int>&, mutable_buffer> &&
              !std::is_convertible_v<std::vector<int>&, const_buffer>);

TEST(buffers, are_the_bytes_of_what_they_are_made_of) {
  EXPECT_EQ(const_buffer("abc").size(), 3U) << "without the zero";
  EXPECT_EQ(const_buffer().size(), 0U);
  std::string text = "text";
  EXPECT_EQ(const_buffer(text).data(), text.data());
  EXPECT_EQ(mutable_buffer(text).data(), text.data());
  EXPECT_EQ(mutable_buffer(text).size(), 4U);
  const std::vector<unsigned char> bytes{1, 2, 3};
  EXPECT_EQ(const_buffer(bytes).bytes()[2], std::byte{3});
  char room[16];
  EXPECT_EQ(mutable_buffer(room).size(), 16U);
}

}  // namespace
}  // namespace conpool::test

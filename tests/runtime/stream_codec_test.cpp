// Streams with a codec, over real sockets: what arrives in which pieces makes no difference, nor
// does a missing receive buffer; and a half-written record is never followed by anything.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <conpool/runtime/buffered_reader.h>
#include <conpool/runtime/scope.h>
#include <conpool/runtime/socket.h>

#include <tests/support/pair_fixture.h>
#include <tests/support/raw_sockets.h>
#include <tests/support/toy_codec.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class stream_codec : public pair_fixture {
 protected:
  void connect(bool small_buffers = false) override {
    pair_fixture::connect(small_buffers);
    if (small_buffers) make_small(far(), SO_RCVBUF);
    use_codec();
  }
  void use_codec(std::string_view early = {}) {
    auto made = std::make_unique<toy_codec>();
    codec_ = made.get();
    near()->use_codec(std::move(made), std::as_bytes(std::span(early)));
  }
  // A shard with one receive buffer, which another stream holds.
  void take_the_buffers() {
    shard_options options;
    options.ring.receive_buffers = 1;
    connect_on(options);
    socket_pair pair = tcp_pair();
    hoarder_far_ = std::move(pair.far);
    hoarder_.emplace(adopt(pair.near));
    (*hoarder_)->post_receive();
    send_all(hoarder_far_, "mine");
    ASSERT_TRUE(until([&] { return ((*hoarder_)->conditions() & stream::has_data) != 0; }));
  }
  void give_the_buffers_back() {
    hoarder_.reset();
    hoarder_far_.reset();
    settle();
  }

  toy_codec& coder() { return *codec_; }

  static task<result<std::string>> read_text(socket& from, std::size_t bytes, std::size_t minimum) {
    std::string text(bytes, '\0');
    const std::span<char> into(text);
    auto count = co_await from->read_some(std::as_writable_bytes(into), minimum, 30s);
    if (!count) co_return fail(count.error());
    text.resize(*count);
    co_return text;
  }
  static task<result<void>> write_text(socket& to, std::string text) {
    auto sent = co_await to->write(text);
    co_return sent;
  }
  std::shared_ptr<std::optional<result<std::string>>> start_read(std::size_t bytes,
                                                                 std::size_t minimum = 1) {
    return start_on(home(), read_text(near(), bytes, minimum));
  }
  result<std::string> read(std::size_t bytes = 4096, std::size_t minimum = 1) {
    const auto got = start_read(bytes, minimum);
    EXPECT_TRUE(until([&] { return got->has_value(); }));
    return got->has_value() ? **got : fail(error(errc::read_timeout));
  }
  std::shared_ptr<std::optional<result<void>>> start_write(const std::string& text) {
    return start_on(home(), write_text(near(), text));
  }
  // Turns until the kernel takes no more of what is being written.
  void until_blocked() {
    for (std::uint64_t before = ~std::uint64_t{0}; before != near()->bytes_sent();) {
      before = near()->bytes_sent();
      settle();
    }
  }
  // Everything that has come to the far end, and whether it has ended.
  std::string drain_far(bool* ended = nullptr) {
    std::string all;
    std::array<char, 65536> memory;
    for (;;) {
      const ssize_t count = ::recv(far().get(), memory.data(), memory.size(), MSG_DONTWAIT);
      if (ended != nullptr) *ended = count == 0;
      if (count <= 0) return all;
      all.append(memory.data(), static_cast<std::size_t>(count));
    }
  }

 private:
  std::optional<socket> hoarder_;
  unique_fd hoarder_far_;
  toy_codec* codec_ = nullptr;
};

TEST_F(stream_codec, carries_plain_bytes_both_ways_and_counts_them) {
  send_all(far(), toy_codec::frames("hello"));
  EXPECT_EQ(read().value(), "hello");
  EXPECT_EQ(near()->bytes_received(), 5U);
  const auto sent = start_write("answer");
  ASSERT_TRUE(until([&] { return sent->has_value(); }));
  EXPECT_TRUE(**sent);
  EXPECT_EQ(near()->bytes_sent(), 6U);
  EXPECT_EQ(drain_far(), toy_codec::frames("answer"));
  EXPECT_EQ(near()->conditions() & ~std::uint32_t{stream::wrote_last}, 0U);
}

TEST_F(stream_codec, what_arrives_split_at_any_point_reads_the_same) {
  const std::string wire = toy_codec::frame('N', "ticket") + toy_codec::frames("hello") +
                           toy_codec::frame('N', "") + toy_codec::frames(" world");
  for (std::size_t cut = 0; cut <= wire.size(); ++cut) {
    SCOPED_TRACE(cut);
    const auto got = start_read(11, 11);
    send_all(far(), wire.substr(0, cut));
    settle();
    EXPECT_FALSE(got->has_value() && cut < wire.size());
    send_all(far(), wire.substr(cut));
    ASSERT_TRUE(until([&] { return got->has_value(); }));
    EXPECT_EQ((*got)->value(), "hello world");
    EXPECT_EQ(near()->conditions() & stream::has_data, 0U);
  }
}

TEST_F(stream_codec, what_does_not_fit_waits_for_the_next_reads) {
  send_all(far(), toy_codec::frames("hello") + toy_codec::frames("world"));
  EXPECT_EQ(read(3).value(), "hel");
  EXPECT_NE(near()->conditions() & stream::has_data, 0U);
  EXPECT_EQ(read(3).value(), "low");
  EXPECT_EQ(read(100).value(), "orld");
  EXPECT_EQ(near()->conditions() & stream::has_data, 0U);
}

TEST_F(stream_codec, bytes_from_behind_the_setup_are_read_first) {
  socket_pair pair = tcp_pair();
  socket peer = adopt(pair.near);
  const std::string early = toy_codec::frames("greeting") + toy_codec::frame('D', "and");
  peer->use_codec(std::make_unique<toy_codec>(),
                  std::as_bytes(std::span(early)).first(early.size() - 2));
  send_all(pair.far, early.substr(early.size() - 2));
  const auto got = run_on(home(), read_text(peer, 11, 11));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->value(), "greetingand");
}

// What the codec is for may have come with the words in the clear that agreed on it.
TEST_F(stream_codec, bytes_that_wait_in_the_stream_or_in_a_reader_go_through_it) {
  for (const bool posted : {false, true}) {
    for (const bool reads_ahead : {false, true}) {
      SCOPED_TRACE(posted);
      SCOPED_TRACE(reads_ahead);
      socket_pair pair = tcp_pair();
      socket peer = adopt(pair.near);
      if (posted) peer->post_receive();
      send_all(pair.far, "go ahead\n" + toy_codec::frames("first"));
      ASSERT_TRUE(until([&] { return !posted || (peer->conditions() & stream::has_data) != 0; }));
      ASSERT_TRUE(run([&]() -> task<void> {
        buffered_reader in(*peer);
        if (reads_ahead) {
          auto line = co_await in.read_until("\n");
          CO_ASSERT_OK(line);
        } else {
          std::array<char, 9> words{};
          auto read = co_await peer->read_exactly(words);
          CO_ASSERT_OK(read);
        }
        peer->use_codec(std::make_unique<toy_codec>(),
                        std::as_bytes(std::span(std::string_view(toy_codec::frames("early")))));
        EXPECT_TRUE(in.buffered().empty());
        send_all(pair.far, toy_codec::frames("last"));
        std::string plain(14, '\0');
        auto read = co_await peer->read_exactly(plain);
        CO_ASSERT_OK(read);
        EXPECT_EQ(plain, "earlyfirstlast");
      }));
    }
  }
}

TEST_F(stream_codec, an_end_in_its_own_words_is_the_end) {
  send_all(far(), toy_codec::frames("last") + toy_codec::frame('E', ""));
  EXPECT_EQ(read(4).value(), "last");
  EXPECT_EQ(read().value(), "");
  EXPECT_EQ(read().value(), "");
  EXPECT_NE(near()->conditions() & stream::ended, 0U);
  EXPECT_EQ(near()->conditions() & stream::failed, 0U);
}

TEST_F(stream_codec, an_end_without_words_is_a_failure_that_stays) {
  send_all(far(), toy_codec::frames("last"));
  far().reset();
  EXPECT_EQ(read(4, 4).value(), "last");
  for (int again = 0; again < 2; ++again) {
    const auto got = read();
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error(), errc::truncated);
    EXPECT_NE(near()->conditions() & stream::failed, 0U);
  }
}

TEST_F(stream_codec, what_came_before_garbage_is_read_first) {
  send_all(far(), toy_codec::frames("good") + toy_codec::frame('?', ""));
  EXPECT_EQ(read().value(), "good");
  const auto got = read();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::tls_protocol);
}

TEST_F(stream_codec, a_failure_to_encode_is_the_writes_error) {
  coder().refuses_to_write = true;
  const auto sent = start_write("x");
  ASSERT_TRUE(until([&] { return sent->has_value(); }));
  ASSERT_FALSE(**sent);
  EXPECT_EQ((*sent)->error(), errc::record_limit);
  EXPECT_NE(near()->conditions() & stream::failed, 0U);
  EXPECT_EQ(near()->conditions() & stream::writing, 0U);
}

TEST_F(stream_codec, large_messages_go_through_small_buffers_both_ways) {
  connect(true);
  std::string text(1 << 20, '\0');
  std::uint32_t state = 1;
  for (char& each : text) each = static_cast<char>((state = state * 1664525U + 1013904223U) >> 24);
  const std::string wire = toy_codec::frames(text);
  const auto sent = start_write(text);
  std::string seen;
  ASSERT_TRUE(run_until(
      home(), [&] { return sent->has_value() && seen.size() >= wire.size(); },
      [&] { seen += drain_far(); }));
  EXPECT_TRUE(seen == wire);
  EXPECT_EQ(near()->bytes_sent(), text.size());

  const auto got = start_read(text.size(), text.size());
  std::size_t done = 0;
  ASSERT_TRUE(run_until(
      home(), [&] { return got->has_value(); },
      [&] {
        const ssize_t count = ::send(far().get(), wire.data() + done, wire.size() - done,
                                     MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count > 0) done += static_cast<std::size_t>(count);
      }));
  EXPECT_TRUE((*got)->value() == text);
}

TEST_F(stream_codec, without_a_free_buffer_a_read_gets_its_bytes_all_the_same) {
  take_the_buffers();
  const std::string text(9000, 'x');
  const auto got = start_read(text.size(), text.size());
  settle();
  send_all(far(), toy_codec::frames(text));
  ASSERT_TRUE(until([&] { return got->has_value(); }));
  EXPECT_TRUE((*got)->value() == text);
  EXPECT_GT(home().ring().statistics().buffer_misses, 0U);
  give_the_buffers_back();
  EXPECT_EQ(near()->take_idle_input(false), idle_input::nothing);
  EXPECT_EQ(near()->conditions(), 0U);
}

TEST_F(stream_codec, without_a_free_buffer_the_end_is_seen_too) {
  take_the_buffers();
  const auto got = start_read(10);
  settle();
  send_all(far(), toy_codec::frame('E', ""));
  far().reset();
  ASSERT_TRUE(until([&] { return got->has_value(); }));
  EXPECT_EQ((*got)->value(), "");
  give_the_buffers_back();
}

TEST_F(stream_codec, without_a_free_buffer_what_is_idle_is_looked_at) {
  take_the_buffers();
  near()->post_receive();
  send_all(far(), toy_codec::frame('N', "ticket"));
  ASSERT_TRUE(until([&] { return !near()->receive_posted(); }));
  EXPECT_NE(near()->conditions() & stream::more_data, 0U);
  EXPECT_EQ(near()->take_idle_input(false), idle_input::nothing);
  EXPECT_EQ(near()->conditions(), 0U);
  give_the_buffers_back();
}

TEST_F(stream_codec, idle_noise_is_kept_data_is_not_and_welcome_data_waits) {
  const auto arrive = [this](const std::string& bytes, bool welcome) {
    near()->post_receive();
    send_all(far(), bytes);
    EXPECT_TRUE(until([&] { return !near()->receive_posted(); }));
    return near()->take_idle_input(welcome);
  };
  EXPECT_EQ(arrive(toy_codec::frame('N', "ticket"), false), idle_input::nothing);
  EXPECT_EQ(arrive(toy_codec::frame('N', "ticket").substr(0, 4), false), idle_input::nothing);
  EXPECT_EQ(arrive(toy_codec::frame('N', "ticket").substr(4) + toy_codec::frames("hi") +
                       toy_codec::frames(" there"),
                   true),
            idle_input::data);
  EXPECT_EQ(near()->take_idle_input(true), idle_input::data);
  EXPECT_EQ(read().value(), "hi there");
  EXPECT_EQ(arrive(toy_codec::frames("stray"), false), idle_input::refused);
  EXPECT_NE(near()->conditions() & stream::failed, 0U);
}

TEST_F(stream_codec, idle_ends_are_told_apart_from_data) {
  near()->post_receive();
  send_all(far(), toy_codec::frame('E', ""));
  ASSERT_TRUE(until([&] { return !near()->receive_posted(); }));
  EXPECT_EQ(near()->take_idle_input(false), idle_input::end);
  connect();
  near()->post_receive();
  far().reset();
  ASSERT_TRUE(until([&] { return !near()->receive_posted(); }));
  EXPECT_EQ(near()->take_idle_input(false), idle_input::end);
}

TEST_F(stream_codec, noise_behind_the_last_byte_read_does_not_make_it_dirty) {
  send_all(far(), toy_codec::frames("answer") + toy_codec::frame('N', "ticket"));
  EXPECT_EQ(read(6).value(), "answer");
  EXPECT_NE(near()->conditions() & stream::has_data, 0U);
  EXPECT_EQ(near()->take_idle_input(false), idle_input::nothing);
  EXPECT_EQ(near()->conditions(), 0U);
}

TEST_F(stream_codec, half_of_something_behind_the_last_byte_read_counts_as_unread) {
  const std::string next = toy_codec::frames("more");
  send_all(far(), toy_codec::frames("answer") + next.substr(0, 2));
  EXPECT_EQ(read(100).value(), "answer");
  EXPECT_NE(near()->conditions() & stream::has_data, 0U);
  send_all(far(), next.substr(2));
  EXPECT_EQ(read(4).value(), "more");
  EXPECT_EQ(near()->conditions(), 0U);
}

TEST_F(stream_codec, a_close_says_farewell_and_ends_the_receive) {
  near()->post_receive();
  settle();
  near().close();
  settle();
  bool ended = false;
  EXPECT_EQ(drain_far(&ended), toy_codec::frame('E', ""));
  EXPECT_TRUE(ended);
}

TEST_F(stream_codec, a_close_in_the_middle_of_a_write_says_nothing_more) {
  connect(true);
  const std::string text(1 << 20, 'x');
  const auto sent = start_write(text);
  until_blocked();
  ASSERT_FALSE(sent->has_value());
  near()->begin_close();
  ASSERT_TRUE(until([&] { return sent->has_value(); }));
  ASSERT_FALSE(**sent);
  EXPECT_EQ((*sent)->error(), errc::connection_closed);
  bool ended = false;
  std::string seen = drain_far(&ended);
  ASSERT_TRUE(run_until(home(), [&] { return ended; }, [&] { seen += drain_far(&ended); }));
  EXPECT_TRUE(toy_codec::frames(text).starts_with(seen));
  EXPECT_LT(seen.size(), text.size());
}

TEST_F(stream_codec, a_deadline_in_the_middle_of_a_write_leaves_a_half_record_and_no_farewell) {
  connect(true);
  const std::string text(1 << 20, 'x');
  const auto sent = start_write(text);
  until_blocked();
  pass(31s);
  ASSERT_TRUE(until([&] { return sent->has_value(); }));
  ASSERT_FALSE(**sent);
  EXPECT_EQ((*sent)->error(), errc::write_timeout);
  EXPECT_NE(near()->conditions() & stream::interrupted, 0U);
  near().close();
  bool ended = false;
  std::string seen = drain_far(&ended);
  ASSERT_TRUE(run_until(home(), [&] { return ended; }, [&] { seen += drain_far(&ended); }));
  EXPECT_TRUE(toy_codec::frames(text).starts_with(seen));
}

TEST_F(stream_codec, a_write_after_one_that_was_broken_off_goes_on_behind_its_record) {
  connect(true);
  const std::string text(200'000, 'x');
  const auto sent = start_write(text);
  until_blocked();
  pass(31s);
  ASSERT_TRUE(until([&] { return sent->has_value(); }));
  const std::uint64_t before = near()->bytes_sent();
  const auto next = start_write("next");
  std::string seen;
  ASSERT_TRUE(run_until(home(), [&] { return next->has_value(); }, [&] { seen += drain_far(); }));
  settle();
  seen += drain_far();
  EXPECT_TRUE(**next);
  EXPECT_EQ(near()->bytes_sent(), before + 4);
  EXPECT_TRUE(seen == toy_codec::frames(text.substr(0, before)) + toy_codec::frames("next"));
}

// What was encoded before the cancel will be sent, whatever the kernel had taken of it.
TEST_F(stream_codec, a_write_cancelled_before_anything_was_sent_tears_the_stream) {
  connect(true);
  const auto first = start_write(std::string(1 << 20, 'x'));
  until_blocked();
  pass(31s);
  ASSERT_TRUE(until([&] { return first->has_value(); }));
  near()->clear(stream::torn);
  near()->clear(stream::interrupted);
  const std::uint64_t before = near()->bytes_sent();
  const auto second = start_write("second");
  settle();
  pass(31s);
  ASSERT_TRUE(until([&] { return second->has_value(); }));
  EXPECT_EQ((*second)->error(), errc::write_timeout);
  EXPECT_EQ(near()->bytes_sent(), before);
  EXPECT_NE(near()->conditions() & stream::torn, 0U);
}

// Its plain bytes are nobody's any more, and must not count for the next write.
TEST_F(stream_codec, a_write_after_one_of_which_nothing_was_sent_counts_its_own_bytes) {
  connect(true);
  const std::string filling(65536, '.');
  while (::send(near()->fd(), filling.data(), filling.size(), MSG_DONTWAIT) > 0) {
  }
  const auto second = start_write("second");
  settle();
  pass(31s);
  ASSERT_TRUE(until([&] { return second->has_value(); }));
  ASSERT_EQ((*second)->error(), errc::write_timeout);
  const std::uint64_t before = near()->bytes_sent();
  const auto third = start_write("one");
  std::string seen;
  ASSERT_TRUE(run_until(home(), [&] { return third->has_value(); }, [&] { seen += drain_far(); }));
  EXPECT_TRUE(**third);
  EXPECT_EQ(near()->bytes_sent(), before + 3);
  const std::string last = "." + toy_codec::frames("second") + toy_codec::frames("one");
  EXPECT_TRUE(until([&] { return (seen += drain_far()).ends_with(last); }));
}

TEST_F(stream_codec, a_read_cancelled_at_each_turn_loses_nothing) {
  const std::string wire = toy_codec::frames("hello") + toy_codec::frames("world");
  for (unsigned turns = 0; turns < 6; ++turns) {
    for (std::size_t cut = 0; cut < wire.size(); cut += 3) {
      scope readers(home());
      std::optional<result<std::string>> got;
      readers.spawn([&]() -> task<void> {
        auto work = read_text(near(), 10, 10);
        got = co_await work;
      });
      home().run_once(0ms);
      send_all(far(), wire.substr(0, cut));
      for (unsigned i = 0; i < turns; ++i) home().run_once(0ms);
      readers.cancel();
      ASSERT_TRUE(until([&] { return got.has_value(); }));
      ASSERT_FALSE(*got);
      EXPECT_EQ(got->error(), errc::cancelled);
      ASSERT_TRUE(until([&] { return readers.running() == 0; }));
      send_all(far(), wire.substr(cut) + toy_codec::frames("!"));
      // Bytes that were decoded for the read that was broken off went with it, as without a codec.
      std::string rest;
      while (!rest.ends_with('!')) {
        const auto more = read();
        ASSERT_TRUE(more);
        rest += *more;
      }
      EXPECT_TRUE(std::string("helloworld!").ends_with(rest)) << rest;
      near()->clear(stream::interrupted);
    }
  }
}

TEST_F(stream_codec, is_closed_with_a_read_and_a_write_under_way) {
  connect(true);
  const auto got = start_read(10);
  const auto sent = start_write(std::string(1 << 20, 'x'));
  settle();
  near()->begin_close();
  ASSERT_TRUE(until([&] { return got->has_value() && sent->has_value(); }));
  EXPECT_EQ((*got)->error(), errc::connection_closed);
  EXPECT_EQ((*sent)->error(), errc::connection_closed);
  EXPECT_TRUE(until([&] { return near()->closed(); }));
  EXPECT_FALSE(near()->has_codec());
}

TEST_F(stream_codec, cannot_be_detached) {
  std::optional<errc> why;
  ASSERT_TRUE(run([&]() -> task<void> {
    auto gone = co_await near()->detach();
    if (!gone) why = gone.error().kind();
  }));
  EXPECT_EQ(why, errc::unsupported);
  EXPECT_FALSE(near()->closed());
}

}  // namespace
}  // namespace conpool::test

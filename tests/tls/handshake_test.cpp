// Handshakes of both versions: whole, cut anywhere, without room, with a peer that is none.
#include <tests/tls/tls_fixture.h>

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace conpool::test {
namespace {

using tls::channel_state;
using tls::handshake_step;

class tls_handshake : public tls_test, public ::testing::WithParamInterface<tls::version> {
 protected:
  tls::profile_on_shard& client_of_version() {
    auto options = client_options();
    options.min_version = options.max_version = GetParam();
    return client(std::move(options));
  }
};

TEST_P(tls_handshake, both_ends_open_and_hear_each_other) {
  session both(client_of_version(), server());
  ASSERT_TRUE(both.shake()) << both.client.why() << both.server.why();
  EXPECT_EQ(both.client.channel.version(), GetParam());
  EXPECT_FALSE(both.client.channel.cipher().empty());
  EXPECT_FALSE(both.client.channel.resumed());
  EXPECT_EQ(both.server.channel.requested_name(), host);
  EXPECT_FALSE(both.client.channel.peer_certificate().empty());
  both.expect_echo();
  EXPECT_TRUE(both.client.channel.reusable());
  EXPECT_EQ(client_resources().counters().handshakes, 1U);
  EXPECT_EQ(client_resources().counters().insecure, 0U);
}

// Each flight cut in two at every offset, both ways: the machine does not care where.
TEST_P(tls_handshake, flights_may_be_cut_at_every_offset) {
  tls::profile_on_shard& client_side = client_of_version();
  tls::server_profile& server_side = server();
  std::size_t longest = 1;
  for (std::size_t cut = 1; cut <= longest; ++cut) {
    session both(client_side, server_side, "tls://cut" + std::to_string(cut));
    for (int round = 0; round < 8; ++round) {
      for (end* one : {&both.client, &both.server}) {
        if (one->channel.state() != channel_state::handshaking) continue;
        bytes flight = std::exchange(one->inbox, {});
        longest = std::max(longest, flight.size());
        const std::size_t first = std::min(cut, flight.size());
        one->inbox.assign(flight.begin(), flight.begin() + static_cast<std::ptrdiff_t>(first));
        one->step();
        append(one->inbox, std::span(flight).subspan(first));
        if (one->channel.state() == channel_state::handshaking && first < flight.size())
          one->step();
        both.deliver();
      }
    }
    ASSERT_TRUE(both.open()) << "cut at " << cut << ": " << both.client.why();
    both.expect_echo();
  }
  EXPECT_GT(longest, 400U);
}

TEST_P(tls_handshake, one_byte_at_a_time) {
  session both(client_of_version(), server());
  while (!both.open()) {
    for (end* one : {&both.client, &both.server}) {
      bytes flight = std::exchange(one->inbox, {});
      if (one->channel.state() == channel_state::handshaking) one->step();
      for (const std::byte byte : flight) {
        one->inbox.push_back(byte);
        if (one->channel.state() == channel_state::handshaking) one->step();
        ASSERT_NE(one->channel.state(), channel_state::failed) << one->why();
      }
      both.deliver();
    }
  }
  both.expect_echo();
}

// A record buffer of a few bytes is filled again and again, and nothing is lost.
TEST_P(tls_handshake, works_with_a_record_buffer_that_is_too_small) {
  session both(client_of_version(), server());
  for (int round = 0; round < 4000 && !both.open(); ++round) {
    for (end* one : {&both.client, &both.server}) {
      if (one->channel.state() == channel_state::handshaking) one->step(7);
      ASSERT_NE(one->channel.state(), channel_state::failed) << one->why();
    }
    both.deliver();
  }
  ASSERT_TRUE(both.open());
  both.expect_echo();
}

TEST_P(tls_handshake, large_data_goes_both_ways_in_whole_records) {
  session both(client_of_version(), server());
  ASSERT_TRUE(both.shake());
  std::string large(300'000, 'x');
  for (std::size_t at = 0; at < large.size(); ++at)
    large[at] = static_cast<char>(at * 7 + at / 251);
  ASSERT_TRUE(both.client.write(large));
  both.deliver();
  std::string got;
  while (!both.server.inbox.empty() || both.server.channel.has_plain()) {
    got += both.server.read(1000).value();
  }
  EXPECT_EQ(got, large);
}

TEST_P(tls_handshake, small_parts_become_one_record) {
  session both(client_of_version(), server());
  ASSERT_TRUE(both.shake());
  const bytes part(64, std::byte{'p'});
  const std::vector<std::span<const std::byte>> parts(32, std::span<const std::byte>(part));
  std::vector<std::byte> memory(tls::record_buffer_size);
  tls::record_buffer out(memory);
  ASSERT_EQ(both.client.channel.write(parts, out).value(), 2048U);
  EXPECT_LE(out.size(), 2048U + 29);
  append(both.server.inbox, out.filled());
  EXPECT_EQ(both.server.read().value(), std::string(2048, 'p'));
}

TEST_P(tls_handshake, a_record_is_never_written_in_part) {
  session both(client_of_version(), server());
  ASSERT_TRUE(both.shake());
  const bytes large(40'000, std::byte{'x'});
  std::vector<std::byte> memory(tls::record_buffer_size);
  for (const std::size_t room : {std::size_t{0}, std::size_t{100}, tls::record_bytes_max}) {
    tls::record_buffer out{std::span(memory).first(room)};
    EXPECT_EQ(both.client.channel.write(large, out).value(), 0U);
    EXPECT_TRUE(out.empty());
  }
  tls::record_buffer one{std::span(memory).first(tls::record_bytes_max + tls::record_overhead_max)};
  EXPECT_EQ(both.client.channel.write(large, one).value(), tls::record_bytes_max);
  append(both.server.inbox, one.filled());
  EXPECT_EQ(both.server.read().value().size(), tls::record_bytes_max);
}

TEST_P(tls_handshake, a_partial_record_is_taken_at_once) {
  session both(client_of_version(), server());
  ASSERT_TRUE(both.shake());
  ASSERT_EQ(both.client.read().value(), "");  // tickets
  ASSERT_TRUE(both.server.write("a whole record"));
  const bytes record = std::exchange(both.server.outbox, {});
  for (std::size_t at = 0; at + 1 < record.size(); ++at) {
    both.client.inbox = {record[at]};
    ASSERT_EQ(both.client.read().value(), "") << at;
    ASSERT_TRUE(both.client.inbox.empty());
    ASSERT_FALSE(both.client.channel.reusable()) << at;
  }
  both.client.inbox = {record.back()};
  EXPECT_EQ(both.client.read().value(), "a whole record");
  EXPECT_TRUE(both.client.channel.reusable());
}

INSTANTIATE_TEST_SUITE_P(versions, tls_handshake,
                         ::testing::Values(tls::version::tls_1_2, tls::version::tls_1_3),
                         [](const auto& info) {
                           return info.param == tls::version::tls_1_2 ? "tls_1_2" : "tls_1_3";
                         });

class tls_odd_peer : public tls_test {
 protected:
  // What a client makes of these bytes in answer to its ClientHello.
  error answer(std::span<const std::byte> bytes_sent, bool alert_expected = true) {
    const std::string peer = "tls://odd:443";
    end one(client(), peer);
    one.step();
    EXPECT_FALSE(one.outbox.empty());
    one.outbox.clear();
    append(one.inbox, bytes_sent);
    EXPECT_EQ(one.step(), handshake_step::failed);
    EXPECT_EQ(!one.outbox.empty(), alert_expected);
    if (one.channel.state() != channel_state::failed) return error(errc{});
    return one.channel.failure();
  }
};

TEST_F(tls_odd_peer, plaintext_is_not_tls) {
  EXPECT_EQ(answer(bytes_of("HTTP/1.1 400 Bad Request\r\n\r\n")), errc::not_tls);
  EXPECT_EQ(answer(bytes_of("220 mail.example.com ESMTP ready\r\n")), errc::not_tls);
  EXPECT_EQ(answer(bytes_of("+OK POP3 server ready and waiting\r\n")), errc::not_tls);
}

TEST_F(tls_odd_peer, an_sslv2_hello_and_garbage_are_errors) {
  const std::array<unsigned char, 16> sslv2{0x80, 0x2e, 0x01, 0x00, 0x02, 0x00, 0x15, 0x00,
                                            0x00, 0x00, 0x10, 0x01, 0x00, 0x80, 0x03, 0x00};
  EXPECT_EQ(answer(std::as_bytes(std::span(sslv2))), errc::not_tls);
  std::uint32_t state = 1;
  for (int round = 0; round < 200; ++round) {
    bytes garbage(600);
    for (std::byte& one : garbage) {
      state = state * 1664525 + 1013904223;
      one = static_cast<std::byte>(state >> 24);
    }
    const error why = answer(garbage);
    EXPECT_TRUE(why == errc::not_tls || why == errc::tls_protocol) << why.message();
  }
}

TEST_F(tls_odd_peer, an_oversized_record_is_refused_by_its_header) {
  session both(client(), server());
  ASSERT_TRUE(both.shake());
  const std::array<unsigned char, 5> header{23, 3, 3, 0x41, 0x41};
  append(both.client.inbox, std::as_bytes(std::span(header)));
  const auto got = both.client.read();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error(), errc::tls_protocol);
  EXPECT_TRUE(both.client.channel.has_output());
}

TEST_F(tls_odd_peer, an_alert_is_named_with_peer_and_server_name) {
  const std::array<unsigned char, 7> alert{21, 3, 3, 0, 2, 2, 70};
  const error why = answer(std::as_bytes(std::span(alert)), false);
  EXPECT_EQ(why, errc::alert_received);
  EXPECT_EQ(why.where(), phase::handshake);
  EXPECT_EQ(why.subject(), "tls://odd:443");
  EXPECT_NE(why.detail().find("70"), std::string::npos) << why.message();
  EXPECT_NE(why.detail().find(host), std::string::npos) << why.message();
  const std::array<unsigned char, 7> failure{21, 3, 3, 0, 2, 2, 40};
  EXPECT_EQ(answer(std::as_bytes(std::span(failure)), false), errc::alert_received);
}

TEST_F(tls_odd_peer, endless_records_that_say_nothing_end_with_a_reason) {
  struct flood {
    std::vector<unsigned char> record;
    const char* reason;
    errc why;
  };
  const flood floods[] = {
      {{21, 3, 1, 0, 2, 1, 90}, "TOO_MANY_WARNING_ALERTS", errc::tls_protocol},
      {{21, 3, 3, 0, 2, 1, 112}, "TOO_MANY_WARNING_ALERTS", errc::tls_protocol},
      {{21, 3, 3, 0, 2, 1, 0}, "close notify", errc::alert_received},
      {{21, 3, 3, 0, 2, 2, 0}, "close notify", errc::alert_received},
      {{21, 3, 3, 0, 2, 9, 90}, "UNKNOWN_ALERT_TYPE", errc::tls_protocol},
      {{22, 3, 3, 0, 0}, "TOO_MANY_EMPTY_FRAGMENTS", errc::tls_protocol},
  };
  for (const flood& one : floods) {
    SCOPED_TRACE(one.reason);
    const std::string peer = "tls://odd:443";
    end asking(client(), peer);
    asking.step();
    for (int i = 0; i < 1000; ++i) append(asking.inbox, std::as_bytes(std::span(one.record)));
    ASSERT_EQ(asking.step(), handshake_step::failed);
    const error& why = asking.channel.failure();
    EXPECT_EQ(why, one.why) << why.message();
    EXPECT_NE(why.detail().find(one.reason), std::string_view::npos) << why.message();
  }
}

// In the middle of a handshake of TLS 1.2, behind all that the server says at first.
TEST_F(tls_odd_peer, a_close_notify_in_the_handshake_is_named) {
  auto options = client_options();
  options.max_version = tls::version::tls_1_2;
  session both(client(std::move(options)), server());
  both.client.step();
  both.deliver();
  both.server.step();
  both.deliver();
  both.client.step();
  const std::array<unsigned char, 7> close_notify{21, 3, 3, 0, 2, 1, 0};
  append(both.client.inbox, std::as_bytes(std::span(close_notify)));
  ASSERT_EQ(both.client.step(), handshake_step::failed);
  const error& why = both.client.channel.failure();
  EXPECT_EQ(why, errc::alert_received) << why.message();
  EXPECT_NE(why.detail().find("close notify"), std::string_view::npos) << why.message();
}

TEST_F(tls_odd_peer, a_handshake_has_a_bound) {
  limits.handshake_bytes_max = 400;
  auto options = client_options();
  options.groups = "X25519";  // a hybrid one would reach the server's bound
  const error why = refused(client(std::move(options)), server());
  EXPECT_EQ(why, errc::record_limit);
}

TEST_F(tls_odd_peer, versions_without_overlap_are_refused_on_both_sides) {
  auto old = server_options();
  old.max_version = tls::version::tls_1_2;
  auto options = client_options();
  options.min_version = tls::version::tls_1_3;
  session both(client(std::move(options)), server(std::move(old)));
  EXPECT_FALSE(both.shake());
  EXPECT_EQ(both.client.channel.failure(), errc::alert_received);
  EXPECT_EQ(both.server.channel.failure(), errc::tls_protocol);
}

}  // namespace
}  // namespace conpool::test
